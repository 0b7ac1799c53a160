"""Every test of the repository, also that of a new consumer in its own folder, may ask for the same things."""

pytest_plugins = ["tests.support.stack_fixtures"]
