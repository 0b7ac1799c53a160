"""The containers of docker-compose.yml: their secrets, their permissions, and the set-up of their servers."""
