"""One order's life across services: what was said about it, and who heard it how soon."""
