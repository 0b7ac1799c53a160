-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

-- check: nothing was shipped before it was confirmed
SELECT order_id AS id FROM shipments WHERE shipped_at IS NOT NULL AND confirmed_at IS NULL;

-- check: nothing was shipped that had been cancelled
SELECT order_id AS id FROM shipments WHERE shipped_at IS NOT NULL AND cancelled_at IS NOT NULL;

-- check: every order that is known and confirmed was shipped
SELECT order_id AS id FROM shipments
WHERE placed_at IS NOT NULL AND confirmed_at IS NOT NULL AND cancelled_at IS NULL AND shipped_at IS NULL;

-- check: each order has the shipment that its events say
SELECT order_id AS id
FROM (SELECT * FROM shipments WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN (
    SELECT order_id, coalesce(placed.customer_id, confirmed.customer_id, cancelled.customer_id) AS customer_id,
        placed.occurred_at AS placed_at, confirmed.occurred_at AS confirmed_at, cancelled.occurred_at AS cancelled_at,
        CASE WHEN placed.order_id IS NOT NULL AND confirmed.order_id IS NOT NULL AND cancelled.order_id IS NULL
            THEN greatest(placed.occurred_at, confirmed.occurred_at) END AS shipped_at
    FROM order_placed AS placed
    FULL JOIN order_confirmed AS confirmed USING (order_id)
    FULL JOIN order_cancelled AS cancelled USING (order_id)
) AS said USING (order_id)
WHERE (stored.customer_id, stored.placed_at, stored.confirmed_at, stored.cancelled_at, stored.shipped_at)
    IS DISTINCT FROM (said.customer_id, said.placed_at, said.confirmed_at, said.cancelled_at, said.shipped_at);

-- check: the contents of each shipment are the lines of OrderPlaced
SELECT order_id AS id
FROM shipments
LEFT JOIN (
    SELECT order_id,
        jsonb_agg(jsonb_build_object('product_id', product_id, 'quantity', quantity) ORDER BY position) AS contents
    FROM order_placed_lines GROUP BY order_id
) AS said USING (order_id)
WHERE pg_temp.is_complete(order_id) AND shipments.contents::jsonb IS DISTINCT FROM said.contents;

-- check: OrderShipped says each shipment that left, with the label of its id
SELECT order_id AS id
FROM (SELECT * FROM shipments WHERE pg_temp.is_complete(order_id) AND shipped_at IS NOT NULL) AS stored
FULL JOIN order_shipped AS said USING (order_id)
WHERE (stored.customer_id, stored.shipment_id, stored.tracking_code, stored.shipped_at)
        IS DISTINCT FROM (said.customer_id, said.shipment_id, said.tracking_code, said.occurred_at)
    OR said.tracking_code <> 'FAN-' || upper(left(replace(said.shipment_id, '-', ''), 12));

-- check: what has not left has no label
SELECT order_id AS id FROM shipments
WHERE shipped_at IS NULL AND (shipment_id IS NOT NULL OR tracking_code IS NOT NULL);

-- fact: shipped
SELECT order_id FROM shipments WHERE shipped_at IS NOT NULL;
