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

-- fact: assessed
SELECT order_id FROM assessments;
