-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

-- check: confirmed orders have an authorized payment and reserved stock
SELECT order_id AS id FROM orders
WHERE status IN ('confirmed', 'shipped') AND (payment, stock) <> ('authorized', 'reserved');

-- check: refused orders are cancelled
SELECT order_id AS id FROM orders
WHERE (payment = 'declined' OR stock = 'rejected') AND status <> 'cancelled';

-- check: no order is undecided although payment and stock are both known
SELECT order_id AS id FROM orders
WHERE status = 'placed' AND payment <> 'pending' AND stock <> 'pending';

-- check: each order published once that it was placed, and once how it was decided
SELECT order_id AS id
FROM orders
LEFT JOIN outbox ON aggregate_id = order_id AND topic = 'orders'
WHERE placed_at >= coalesce((SELECT before FROM purges WHERE what = 'outbox'), '-infinity')
GROUP BY order_id
HAVING count(*) FILTER (WHERE type = 'OrderPlaced') <> 1
    OR count(*) FILTER (WHERE type = 'OrderConfirmed') <> (status IN ('confirmed', 'shipped'))::int
    OR count(*) FILTER (WHERE type = 'OrderCancelled') <> (status = 'cancelled')::int;

-- check: an order's total is the sum of its lines
SELECT order_id AS id
FROM orders
LEFT JOIN order_lines USING (order_id)
GROUP BY order_id
HAVING total_cents IS DISTINCT FROM sum(quantity * unit_price_cents);

-- check: each order is the one that OrderPlaced says
SELECT order_id AS id
FROM (SELECT * FROM orders WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN order_placed AS said USING (order_id)
WHERE (stored.customer_id, stored.currency, stored.total_cents, stored.payment_method, stored.placed_at)
    IS DISTINCT FROM (said.customer_id, said.currency, said.total_cents, said.payment_method, said.occurred_at);

-- check: the lines of each order are those of OrderPlaced
SELECT order_id AS id
FROM (SELECT * FROM order_lines WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN order_placed_lines AS said USING (order_id, product_id)
WHERE (stored.quantity, stored.unit_price_cents) IS DISTINCT FROM (said.quantity, said.unit_price_cents);

-- check: each order has the payment that PaymentProcessed says, or none yet
SELECT order_id AS id
FROM orders
LEFT JOIN payment_processed AS said USING (order_id)
WHERE pg_temp.is_complete(order_id)
    AND (orders.payment, orders.payment_version, orders.payment_at)
    IS DISTINCT FROM (coalesce(said.outcome, 'pending'), coalesce(said.payment_version, 0), said.occurred_at);

-- check: each order has the stock that StockReserved or StockRejected says, or none yet
SELECT order_id AS id
FROM orders
LEFT JOIN (
    SELECT order_id, 'reserved' AS stock, reservation_version, occurred_at FROM stock_reserved
    UNION ALL
    SELECT order_id, 'rejected', reservation_version, occurred_at FROM stock_rejected
) AS said USING (order_id)
WHERE pg_temp.is_complete(order_id)
    AND (orders.stock, orders.stock_version, orders.stock_at)
    IS DISTINCT FROM (coalesce(said.stock, 'pending'), coalesce(said.reservation_version, 0), said.occurred_at);

-- check: each order has the score and the flag of the latest FraudAssessed
SELECT order_id AS id
FROM orders
LEFT JOIN (SELECT order_id, max(assessment_version) AS latest FROM fraud_assessed GROUP BY order_id) AS versions
    USING (order_id)
LEFT JOIN fraud_assessed AS said USING (order_id, assessment_version)
WHERE pg_temp.is_complete(order_id)
    AND (orders.assessment_version, orders.fraud_score, orders.flagged)
    IS DISTINCT FROM (coalesce(latest, 0), said.score, said.suspicious);

-- check: each order is decided as OrderConfirmed or OrderCancelled says
SELECT order_id AS id
FROM orders
LEFT JOIN (
    SELECT order_id, order_version, 'confirmed' AS status, NULL AS reason, occurred_at, customer_id, total_cents, currency
    FROM order_confirmed
    UNION ALL
    SELECT order_id, order_version, 'cancelled', reason, occurred_at, customer_id, NULL, NULL
    FROM order_cancelled
) AS said USING (order_id)
WHERE pg_temp.is_complete(order_id) AND (
    (CASE orders.status WHEN 'shipped' THEN 'confirmed' ELSE orders.status END, orders.cancel_reason, orders.decided_at)
        IS DISTINCT FROM (coalesce(said.status, 'placed'), said.reason, said.occurred_at)
    OR (said.order_version, said.customer_id) <> (2, orders.customer_id)
    OR (said.total_cents, said.currency) <> (orders.total_cents, orders.currency)
);

-- check: each order is shipped if OrderShipped says so, and at its time
SELECT order_id AS id
FROM orders
LEFT JOIN order_shipped AS said USING (order_id)
WHERE pg_temp.is_complete(order_id) AND (
    (orders.status = 'shipped', orders.shipped_at) IS DISTINCT FROM (said.order_id IS NOT NULL, said.occurred_at)
    OR said.customer_id <> orders.customer_id
);

-- check: each decision has the time of the payment or the stock that it follows from
SELECT order_id AS id
FROM orders
WHERE decided_at IS DISTINCT FROM CASE
    WHEN status = 'placed' THEN NULL
    WHEN cancel_reason IS NULL THEN greatest(payment_at, stock_at)
    WHEN cancel_reason = 'payment_declined' AND payment = 'declined' THEN payment_at
    WHEN cancel_reason = 'out_of_stock' AND stock = 'rejected' THEN stock_at
    WHEN cancel_reason = 'customer_request' THEN decided_at
END;

-- check: an order's version is 1 when placed, 2 when decided and 3 when shipped
SELECT order_id AS id FROM orders WHERE version <> CASE status WHEN 'placed' THEN 1 WHEN 'shipped' THEN 3 ELSE 2 END;

-- fact: placed
SELECT order_id FROM orders;

-- fact: confirmed
SELECT order_id FROM orders WHERE status IN ('confirmed', 'shipped');

-- fact: cancelled
SELECT order_id FROM orders WHERE status = 'cancelled';

-- fact: shipped
SELECT order_id FROM orders WHERE status = 'shipped';
