-- check: nothing was shipped before it was confirmed
SELECT order_id AS id FROM shipments WHERE shipped_at IS NOT NULL AND confirmed_at IS NULL;

-- check: nothing was shipped that had been cancelled
SELECT order_id AS id FROM shipments WHERE shipped_at IS NOT NULL AND cancelled_at IS NOT NULL;

-- check: every order that is known and confirmed was shipped
SELECT order_id AS id FROM shipments
WHERE placed_at IS NOT NULL AND confirmed_at IS NOT NULL AND cancelled_at IS NULL AND shipped_at IS NULL;

-- fact: shipped
SELECT order_id FROM shipments WHERE shipped_at IS NOT NULL;
