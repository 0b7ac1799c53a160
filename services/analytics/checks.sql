-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

-- check: every sale is a confirmation, and every confirmation a sale
SELECT order_id AS id
FROM sales
FULL JOIN (SELECT order_id, at FROM steps WHERE step = 'confirmed') AS confirmed USING (order_id)
WHERE sales.at IS DISTINCT FROM confirmed.at;

-- check: a sale is worth its lines
SELECT order_id AS id
FROM sales
JOIN order_lines USING (order_id)
GROUP BY order_id
HAVING sales.revenue_cents <> sum(order_lines.revenue_cents);

-- check: each step is the event that says it
SELECT order_id AS id
FROM (SELECT * FROM steps WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN (
    SELECT order_id, 'placed' AS step, occurred_at FROM order_placed
    UNION ALL
    SELECT order_id, CASE outcome WHEN 'authorized' THEN 'paid' ELSE outcome END, occurred_at FROM payment_processed
    UNION ALL
    SELECT order_id, 'confirmed', occurred_at FROM order_confirmed
    UNION ALL
    SELECT order_id, 'cancelled', occurred_at FROM order_cancelled
    UNION ALL
    SELECT order_id, 'shipped', occurred_at FROM order_shipped
) AS said USING (order_id, step)
WHERE stored.at IS DISTINCT FROM said.occurred_at;

-- check: each line is the one that OrderPlaced says
SELECT order_id AS id
FROM (SELECT * FROM order_lines WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN order_placed_lines AS said USING (order_id, product_id)
WHERE (stored.units, stored.revenue_cents) IS DISTINCT FROM (said.quantity, said.quantity * said.unit_price_cents);

-- check: each sale is the one that OrderConfirmed says
SELECT order_id AS id
FROM (SELECT * FROM sales WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN order_confirmed AS said USING (order_id)
WHERE (stored.at, stored.currency, stored.revenue_cents)
    IS DISTINCT FROM (said.occurred_at, said.currency, said.total_cents);

-- fact: placed
SELECT order_id FROM steps WHERE step = 'placed';

-- fact: confirmed
SELECT order_id FROM steps WHERE step = 'confirmed';

-- fact: shipped
SELECT order_id FROM steps WHERE step = 'shipped';
