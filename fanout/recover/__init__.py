"""Takes over from Kafka the events that a service published and its restored database lacks."""
