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

-- fact: placed
SELECT order_id FROM orders;

-- fact: confirmed
SELECT order_id FROM orders WHERE status IN ('confirmed', 'shipped');

-- fact: cancelled
SELECT order_id FROM orders WHERE status = 'cancelled';

-- fact: shipped
SELECT order_id FROM orders WHERE status = 'shipped';
