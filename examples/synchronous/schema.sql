CREATE TABLE IF NOT EXISTS payments (
    order_id    text PRIMARY KEY,
    payment_id  uuid NOT NULL DEFAULT gen_random_uuid(),
    customer_id text NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    currency    text NOT NULL,
    paid_at     timestamptz NOT NULL DEFAULT now(),
    told_at     timestamptz
);
COMMENT ON COLUMN payments.told_at IS 'When all listeners had been told; until then a repeated POST tells them again.';
