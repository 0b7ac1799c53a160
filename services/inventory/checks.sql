-- check: stock on hand plus reserved is the initial stock
SELECT product_id AS id
FROM stock
LEFT JOIN (
    SELECT product_id, sum(quantity) AS units
    FROM reservation_lines JOIN reservations USING (order_id)
    WHERE status = 'reserved' GROUP BY product_id
) AS reserved USING (product_id)
WHERE on_hand + coalesce(units, 0) <> initial;

-- check: no product has less than nothing on hand
SELECT product_id AS id FROM stock WHERE on_hand < 0;

-- check: reserved or released orders have lines, others have none
SELECT order_id AS id
FROM reservations
LEFT JOIN reservation_lines USING (order_id)
GROUP BY order_id
HAVING (count(product_id) > 0) <> (status IN ('reserved', 'released'));

-- fact: reserved
SELECT order_id FROM reservations WHERE status = 'reserved';

-- fact: rejected
SELECT order_id FROM reservations WHERE status = 'rejected';

-- fact: released
SELECT order_id FROM reservations WHERE status = 'released';
