"""`fanout dlq`: dead letters, looked at, sent back, corrected or discarded, through their service's API."""
