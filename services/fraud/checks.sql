-- Tables named after events (order_placed, order_placed_lines) hold what this service applied or published: docs/ledger.md

-- check: every order that was seen was assessed
SELECT order_id AS id FROM orders_seen LEFT JOIN assessments USING (order_id) WHERE assessments.order_id IS NULL;

-- check: an order is suspicious exactly when its score says so
SELECT order_id AS id FROM assessments WHERE suspicious <> (score >= 60) OR score NOT BETWEEN 0 AND 100;

-- check: each version of an assessment was published once
SELECT order_id AS id
FROM assessments
JOIN orders_seen USING (order_id)
LEFT JOIN outbox ON aggregate_id = order_id AND topic = 'fraud'
WHERE placed_at >= coalesce((SELECT before FROM purges WHERE what = 'outbox'), '-infinity')
GROUP BY order_id
HAVING count(outbox.id) <> assessment_version;

-- check: each order was seen as OrderPlaced says
SELECT order_id AS id
FROM (SELECT * FROM orders_seen WHERE pg_temp.is_complete(order_id)) AS stored
FULL JOIN order_placed AS said USING (order_id)
WHERE (stored.customer_id, stored.placed_at) IS DISTINCT FROM (said.customer_id, said.occurred_at);

-- check: each assessment is the one that FraudAssessed says
SELECT order_id AS id
FROM assessments AS stored
LEFT JOIN fraud_assessed AS said USING (order_id, assessment_version)
WHERE pg_temp.is_complete(order_id)
    AND (stored.score, stored.suspicious, stored.rules) IS DISTINCT FROM (said.score, said.suspicious, said.rules);

-- check: each FraudAssessed follows from its order: the rules on amounts, the points of all rules, and the time
SELECT order_id AS id
FROM (
    SELECT *, 'many_orders' = ANY (rules) AS many, 'large_amount' = ANY (rules) AS large,
        'very_large_amount' = ANY (rules) AS very_large
    FROM fraud_assessed
) AS said
LEFT JOIN order_placed AS placed USING (order_id)
WHERE (large, very_large, said.occurred_at)
        IS DISTINCT FROM (total_cents >= 50000, total_cents >= 200000, placed.occurred_at)
    OR (score, suspicious) <> (least(100, 60 * many::int + 40 * large::int + 40 * very_large::int), score >= 60)
    OR cardinality(rules) <> many::int + large::int + very_large::int;

-- check: an order has many orders before it exactly when its customer placed five in the ten minutes before
SELECT order_id AS id
FROM (
    SELECT order_id, placed_at, coalesce(
        lag(placed_at, 5) OVER (PARTITION BY customer_id ORDER BY placed_at, order_id) >= placed_at - interval '10 minutes',
        false
    ) AS many
    FROM orders_seen
) AS seen
JOIN assessments USING (order_id)
WHERE many <> ('many_orders' = ANY (rules)) AND pg_temp.is_complete(order_id) AND placed_at - interval '10 minutes' >=
    coalesce((SELECT before FROM purges WHERE what = 'orders_seen'), '-infinity');

-- fact: assessed
SELECT order_id FROM assessments;
