"""Has sent outbox rows sent once more, after Kafka has lost them."""
