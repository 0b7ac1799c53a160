-- check: every order that was seen was assessed
SELECT order_id AS id FROM sightings LEFT JOIN assessments USING (order_id) WHERE assessments.order_id IS NULL;

-- check: an order is suspicious exactly when its score says so
SELECT order_id AS id FROM assessments WHERE suspicious <> (score >= 60) OR score NOT BETWEEN 0 AND 100;

-- fact: assessed
SELECT order_id FROM assessments;
