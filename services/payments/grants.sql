-- The rights of the API. The rights of the worker are in chassis/grants.sql.
GRANT SELECT ON payments TO payments_api;
GRANT UPDATE (status, changed_at) ON payments TO payments_api;
GRANT INSERT ON movements, outbox TO payments_api;
GRANT SELECT (id) ON movements TO payments_api;
GRANT SELECT (id) ON outbox TO payments_api;
GRANT SELECT, INSERT ON idempotency_keys TO payments_api;
GRANT UPDATE (status, body) ON idempotency_keys TO payments_api;
