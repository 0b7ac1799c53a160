-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

-- check: every payment has the movements of its status: one authorization, one refund if refunded, otherwise none
SELECT order_id AS id
FROM payments
LEFT JOIN (
    SELECT order_id,
           count(*) FILTER (WHERE kind = 'authorization') AS authorizations,
           count(*) FILTER (WHERE kind = 'refund') AS refunds
    FROM movements GROUP BY order_id
) AS moved USING (order_id)
WHERE (coalesce(authorizations, 0)::int, coalesce(refunds, 0)::int) <>
    CASE status WHEN 'authorized' THEN (1, 0) WHEN 'refunded' THEN (1, 1) ELSE (0, 0) END;

-- check: no more money was refunded than was authorized, and each movement is the whole amount of its payment
SELECT order_id AS id
FROM movements
LEFT JOIN payments USING (order_id)
GROUP BY order_id
HAVING count(*) FILTER (WHERE kind = 'refund') > count(*) FILTER (WHERE kind = 'authorization')
    OR bool_or(movements.amount_cents IS DISTINCT FROM payments.amount_cents);

-- check: each order has the payment that its events say
SELECT order_id AS id
FROM (SELECT * FROM payments WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN (
    SELECT order_id, coalesce(placed.customer_id, cancelled.customer_id) AS customer_id, placed.payment_method,
        placed.total_cents, placed.currency, processed.payment_id, processed.decline_reason,
        CASE
            WHEN processed.outcome = 'authorized' AND cancelled.order_id IS NOT NULL THEN 'refunded'
            WHEN processed.outcome IS NOT NULL THEN processed.outcome
            WHEN cancelled.order_id IS NOT NULL THEN 'voided'
            ELSE 'pending'
        END AS status,
        CASE
            WHEN processed.outcome = 'declined' THEN processed.occurred_at
            ELSE coalesce(cancelled.occurred_at, processed.occurred_at, placed.occurred_at)
        END AS changed_at
    FROM order_placed AS placed
    FULL JOIN order_cancelled AS cancelled USING (order_id)
    LEFT JOIN payment_processed AS processed USING (order_id)
) AS said USING (order_id)
WHERE (stored.customer_id, stored.payment_method, stored.amount_cents, stored.currency, stored.status, stored.changed_at,
        stored.decline_reason, stored.payment_id)
    IS DISTINCT FROM (said.customer_id, said.payment_method, said.total_cents, said.currency, said.status, said.changed_at,
        said.decline_reason, coalesce(said.payment_id, stored.payment_id));

-- check: each card was authorized or declined by its token, unless its order was cancelled before
SELECT order_id AS id
FROM (
    SELECT order_id, occurred_at, CASE
        WHEN card_token IN ('tok_visa', 'tok_mastercard') THEN 'authorized'
        WHEN card_token = 'tok_declined' THEN 'declined: card_declined'
        WHEN card_token = 'tok_insufficient_funds' THEN 'declined: insufficient_funds'
        ELSE 'declined: unknown_card'
    END AS outcome
    FROM order_placed WHERE payment_method = 'card'
) AS card
LEFT JOIN payment_processed AS said USING (order_id)
LEFT JOIN order_cancelled USING (order_id)
WHERE CASE
    WHEN said.order_id IS NULL THEN order_cancelled.order_id IS NULL
    ELSE (concat_ws(': ', said.outcome, said.decline_reason), said.occurred_at) <> (card.outcome, card.occurred_at)
END;

-- check: PaymentProcessed says what was to be paid for the order
SELECT order_id AS id
FROM payment_processed AS said
LEFT JOIN order_placed AS placed USING (order_id)
WHERE (said.payment_version, said.customer_id, said.payment_method, said.amount_cents, said.currency)
    IS DISTINCT FROM (1, placed.customer_id, placed.payment_method, placed.total_cents, placed.currency)
    OR (said.outcome, said.payment_method) = ('declined', 'invoice');

-- check: PaymentRefunded gives back what was authorized for each order that was cancelled, and for no other
SELECT order_id AS id
FROM payment_refunded AS said
FULL JOIN (
    SELECT order_id, payment_id, processed.customer_id, amount_cents, currency, cancelled.occurred_at
    FROM payment_processed AS processed JOIN order_cancelled AS cancelled USING (order_id)
    WHERE outcome = 'authorized'
) AS owed USING (order_id)
WHERE (said.payment_version, said.payment_id, said.customer_id, said.amount_cents, said.currency, said.occurred_at)
    IS DISTINCT FROM (2, owed.payment_id, owed.customer_id, owed.amount_cents, owed.currency, owed.occurred_at);

-- check: each movement is the money that PaymentProcessed or PaymentRefunded says
SELECT order_id AS id
FROM (SELECT * FROM movements WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN (
    SELECT order_id, 'authorization' AS kind, amount_cents, occurred_at FROM payment_processed WHERE outcome = 'authorized'
    UNION ALL
    SELECT order_id, 'refund', amount_cents, occurred_at FROM payment_refunded
) AS said USING (order_id, kind)
WHERE (stored.amount_cents, stored.moved_at) IS DISTINCT FROM (said.amount_cents, said.occurred_at);

-- check: no two payments have the same id
SELECT min(order_id) AS id FROM payments GROUP BY payment_id HAVING count(*) > 1;

-- fact: authorized
SELECT order_id FROM movements WHERE kind = 'authorization';

-- fact: refunded
SELECT order_id FROM movements WHERE kind = 'refund';

-- fact: declined
SELECT order_id FROM payments WHERE status = 'declined';

-- fact: voided
SELECT order_id FROM payments WHERE status = 'voided';

-- fact: unpaid
SELECT order_id FROM payments WHERE status = 'pending' AND payment_method = 'invoice';
