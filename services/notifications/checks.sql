-- check: no customer got the same message about an order twice
SELECT order_id AS id FROM messages GROUP BY order_id, kind HAVING count(*) > 1;

-- check: no customer was told that a payment went through and that it was declined
SELECT order_id AS id FROM messages
WHERE kind IN ('payment_authorized', 'payment_declined') GROUP BY order_id HAVING count(DISTINCT kind) > 1;

-- check: no customer was told that an order is cancelled and that it is on its way
SELECT order_id AS id FROM messages
WHERE kind IN ('order_cancelled', 'order_shipped') GROUP BY order_id HAVING count(DISTINCT kind) > 1;
