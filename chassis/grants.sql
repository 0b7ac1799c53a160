-- The rights of every worker on the chassis' tables. It has all rights on its own tables, but may not alter them.
GRANT SELECT, INSERT, DELETE ON outbox TO {worker};
GRANT UPDATE (published_at, kafka_partition, kafka_offset, topic_id, set_aside_at, error_type, error_message) ON outbox TO {worker};
GRANT SELECT, INSERT, DELETE ON relay_terms TO {worker};
GRANT UPDATE (renewed_at) ON relay_terms TO {worker};
GRANT SELECT, INSERT, DELETE ON inbox TO {worker};
GRANT UPDATE (status, redrive, received_at) ON inbox TO {worker};
GRANT SELECT, INSERT, UPDATE ON consumer_offsets TO {worker};
GRANT SELECT, INSERT ON topic_ids TO {worker};
GRANT SELECT, INSERT, DELETE ON parked TO {worker};
GRANT SELECT, INSERT, UPDATE, DELETE ON crash_markers TO {worker};
GRANT SELECT, INSERT, UPDATE, DELETE ON held_partitions TO {worker};
GRANT SELECT, INSERT, UPDATE, DELETE ON ignored_events TO {worker};
GRANT SELECT, INSERT, UPDATE ON purges TO {worker};
GRANT SELECT, DELETE ON idempotency_keys TO {worker};
-- Retention locks the rows that it deletes, and Postgres lets nobody lock a row of which he may update no column.
GRANT UPDATE (created_at) ON idempotency_keys TO {worker};
GRANT UPDATE (last_failed_at) ON parked TO {worker};
GRANT SELECT ON subscriptions TO {worker};
