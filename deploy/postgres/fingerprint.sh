# Sourced once, when the data folder is made: by this, `secrets` knows whether .secrets belongs to the data.
sha256sum < /run/secrets/postgres_password > /var/lib/postgresql/password.sha256
