"""What services share: events, outbox and relay, consumer, dead letters, HTTP. Contains no business logic."""
