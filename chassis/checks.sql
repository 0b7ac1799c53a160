-- Checks of the tables that every service has; `fanout verify` runs them in each database.

-- check: each outbox row is named as its event is in Kafka
SELECT aggregate_id AS id
FROM outbox
WHERE aggregate_id IS NOT NULL AND (
    key IS DISTINCT FROM convert_to(aggregate_id, 'UTF8')
    OR strpos(headers, '"ce_id", "' || event_id || '"') = 0
    OR strpos(headers, '"ce_type", "' || type || '"') = 0
);
