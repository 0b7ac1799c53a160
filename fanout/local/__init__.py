"""The local stack: real Kafka, schema registry and Postgres as plain processes under supervisor."""
