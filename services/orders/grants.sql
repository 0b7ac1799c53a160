-- The rights of the API. The rights of the worker are in chassis/grants.sql.
GRANT SELECT ON products TO orders_api;
GRANT SELECT, INSERT ON orders, order_lines TO orders_api;
GRANT UPDATE (order_id, customer_id, currency, total_cents, status, version, cancel_reason, payment, payment_version,
    payment_at, stock, stock_version, stock_at, decided_at, shipped_at) ON orders TO orders_api;
GRANT INSERT ON outbox TO orders_api;
GRANT SELECT (id) ON outbox TO orders_api;
GRANT SELECT, INSERT ON idempotency_keys TO orders_api;
GRANT UPDATE (status, body) ON idempotency_keys TO orders_api;
