"""The plumbing every service runs on: outbox, relay, inbox, consumer. There is no business in it."""
