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
