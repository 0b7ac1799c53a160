-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

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

-- check: the initial stock is what the migration brought
SELECT product_id AS id
FROM stock
FULL JOIN (VALUES
    ('mug', 1000000), ('beans-1kg', 1000000), ('beans-250g', 1000000), ('filter-100', 1000000), ('notebook', 1000000),
    ('pencil', 1000000), ('espresso-machine', 1000000), ('limited-print', 20), ('sold-out-poster', 0)
) AS brought (product_id, units) USING (product_id)
WHERE initial IS DISTINCT FROM units;

-- check: each order has the reservation that its events say
SELECT order_id AS id
FROM (SELECT * FROM reservations WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN (
    SELECT order_id,
        CASE
            WHEN reserved.order_id IS NOT NULL AND cancelled.order_id IS NOT NULL THEN 'released'
            WHEN reserved.order_id IS NOT NULL THEN 'reserved'
            WHEN rejected.order_id IS NOT NULL THEN 'rejected'
            WHEN cancelled.order_id IS NOT NULL THEN 'void'
            ELSE 'without an answer'
        END AS status,
        CASE
            WHEN rejected.order_id IS NOT NULL THEN placed.occurred_at
            ELSE coalesce(cancelled.occurred_at, placed.occurred_at)
        END AS changed_at
    FROM order_placed AS placed
    FULL JOIN order_cancelled AS cancelled USING (order_id)
    LEFT JOIN stock_reserved AS reserved USING (order_id)
    LEFT JOIN stock_rejected AS rejected USING (order_id)
) AS said USING (order_id)
WHERE (stored.status, stored.changed_at) IS DISTINCT FROM (said.status, said.changed_at);

-- check: the lines of each reservation are those of StockReserved
SELECT order_id AS id
FROM (SELECT * FROM reservation_lines WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN stock_reserved_lines AS said USING (order_id, product_id)
WHERE stored.quantity IS DISTINCT FROM said.quantity;

-- check: StockReserved holds what was ordered
SELECT order_id AS id
FROM (
    SELECT order_id, product_id, sum(quantity) AS quantity
    FROM stock_reserved JOIN order_placed_lines USING (order_id)
    GROUP BY order_id, product_id
) AS ordered
FULL JOIN stock_reserved_lines AS said USING (order_id, product_id)
WHERE ordered.quantity IS DISTINCT FROM said.quantity;

-- check: StockReserved and StockRejected have the time of their order, and each order has one of them at most
SELECT order_id AS id
FROM (
    SELECT order_id, reservation_version, occurred_at FROM stock_reserved
    UNION ALL
    SELECT order_id, reservation_version, occurred_at FROM stock_rejected
) AS said
LEFT JOIN order_placed AS placed USING (order_id)
GROUP BY order_id
HAVING count(*) > 1 OR bool_or((reservation_version, said.occurred_at) IS DISTINCT FROM (1, placed.occurred_at));

-- check: StockRejected names what was ordered and not there
SELECT order_id AS id
FROM stock_rejected
LEFT JOIN stock_rejected_shortages AS said USING (order_id)
LEFT JOIN (
    SELECT order_id, product_id, sum(quantity) AS quantity
    FROM stock_rejected JOIN order_placed_lines USING (order_id)
    GROUP BY order_id, product_id
) AS ordered USING (order_id, product_id)
WHERE requested IS NULL OR requested IS DISTINCT FROM ordered.quantity OR available NOT BETWEEN 0 AND requested - 1;

-- check: StockReleased gives back what was reserved for each order that was cancelled, and nothing else
SELECT order_id AS id
FROM (
    SELECT order_id, product_id, quantity, reservation_version, occurred_at
    FROM stock_released LEFT JOIN stock_released_lines USING (order_id)
) AS said
FULL JOIN (
    SELECT order_id, product_id, quantity, cancelled.occurred_at
    FROM stock_reserved_lines JOIN order_cancelled AS cancelled USING (order_id)
) AS held USING (order_id, product_id)
WHERE (said.reservation_version, said.quantity, said.occurred_at) IS DISTINCT FROM (2, held.quantity, held.occurred_at);

-- fact: reserved
SELECT order_id FROM reservations WHERE status = 'reserved';

-- fact: rejected
SELECT order_id FROM reservations WHERE status = 'rejected';

-- fact: released
SELECT order_id FROM reservations WHERE status = 'released';
