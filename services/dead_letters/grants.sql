-- The rights of the API. The rights of the worker are in chassis/grants.sql.
GRANT SELECT ON dead_letters TO dead_letters_api;
GRANT UPDATE (status, redrive) ON dead_letters TO dead_letters_api;
GRANT SELECT, INSERT ON actions TO dead_letters_api;
GRANT INSERT ON outbox TO dead_letters_api;
GRANT SELECT (id) ON outbox TO dead_letters_api;
GRANT SELECT, INSERT ON idempotency_keys TO dead_letters_api;
GRANT UPDATE (status, body) ON idempotency_keys TO dead_letters_api;
