-- check: no order has the same message twice
SELECT order_id AS id FROM messages GROUP BY order_id, kind HAVING count(*) > 1;

-- check: no order has messages that its payment was both authorized and declined
SELECT order_id AS id FROM messages
WHERE kind IN ('payment_authorized', 'payment_declined') GROUP BY order_id HAVING count(DISTINCT kind) > 1;

-- check: no order has messages that it was both cancelled and shipped
SELECT order_id AS id FROM messages
WHERE kind IN ('order_cancelled', 'order_shipped') GROUP BY order_id HAVING count(DISTINCT kind) > 1;
