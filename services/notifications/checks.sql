-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

-- check: no order has the same message twice
SELECT order_id AS id FROM messages GROUP BY order_id, kind HAVING count(*) > 1;

-- check: no order has messages that its payment was both authorized and declined
SELECT order_id AS id FROM messages
WHERE kind IN ('payment_authorized', 'payment_declined') GROUP BY order_id HAVING count(DISTINCT kind) > 1;

-- check: no order has messages that it was both cancelled and shipped
SELECT order_id AS id FROM messages
WHERE kind IN ('order_cancelled', 'order_shipped') GROUP BY order_id HAVING count(DISTINCT kind) > 1;

-- check: each event that a customer should know of has its message, and each message its event
WITH amounts AS (
    SELECT 'order_placed' AS kind, order_id, customer_id, occurred_at, total_cents AS amount, currency FROM order_placed
    UNION ALL
    SELECT 'payment_authorized', order_id, customer_id, occurred_at, amount_cents, currency
    FROM payment_processed WHERE outcome = 'authorized'
), money AS (
    SELECT kind, order_id, customer_id, occurred_at, amount * CASE
        WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV',
            'XAF', 'XOF', 'XPF') THEN 1
        WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 0.001
        WHEN currency IN ('CLF', 'UYW') THEN 0.0001
        ELSE 0.01
    END || ' ' || currency AS sum
    FROM amounts
)
SELECT order_id AS id
FROM (SELECT * FROM messages WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN (
    SELECT order_id, kind, customer_id, occurred_at, CASE kind
        WHEN 'order_placed' THEN format('Thank you! We have your order %s over %s.', order_id, sum)
        ELSE format('Your payment of %s for order %s went through.', sum, order_id)
    END AS body
    FROM money
    UNION ALL
    SELECT order_id, 'payment_declined', customer_id, occurred_at,
        format('Your payment for order %s was declined: %s.', order_id,
            replace(coalesce(nullif(decline_reason, ''), 'no reason given'), '_', ' '))
    FROM payment_processed WHERE outcome = 'declined'
    UNION ALL
    SELECT order_id, 'order_cancelled', customer_id, occurred_at,
        format('Your order %s was cancelled because %s.', order_id, CASE reason
            WHEN 'payment_declined' THEN 'your payment was declined'
            WHEN 'out_of_stock' THEN 'we have run out of something you ordered'
            WHEN 'customer_request' THEN 'you asked us to'
        END)
    FROM order_cancelled
    UNION ALL
    SELECT order_id, 'order_shipped', customer_id, occurred_at,
        format('Your order %s is on its way. Track it with %s.', order_id, tracking_code)
    FROM order_shipped
) AS said USING (order_id, kind)
WHERE (stored.customer_id, stored.body, stored.created_at) IS DISTINCT FROM (said.customer_id, said.body, said.occurred_at);

-- check: what was sent or refused was tried, and what was refused says why
SELECT order_id AS id
FROM messages
WHERE attempts < (sent_at IS NOT NULL OR refused_at IS NOT NULL)::int
    OR (sent_at IS NULL AND refused_at IS NOT NULL AND last_error IS NULL)
    OR (sent_at IS NOT NULL AND last_error IS NOT NULL);

-- check: no two messages have the same message id, by which a mail server drops repeats
SELECT min(order_id) AS id FROM messages GROUP BY message_id HAVING count(*) > 1;
