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

-- fact: placed
SELECT order_id FROM steps WHERE step = 'placed';

-- fact: confirmed
SELECT order_id FROM steps WHERE step = 'confirmed';

-- fact: shipped
SELECT order_id FROM steps WHERE step = 'shipped';
