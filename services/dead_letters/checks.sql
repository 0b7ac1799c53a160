-- check: each redriven or discarded dead letter has an action that says by whom and why
SELECT dead_letter_id AS id
FROM dead_letters
LEFT JOIN actions AS done USING (dead_letter_id, redrive)
WHERE status <> 'parked'
GROUP BY dead_letter_id
HAVING count(*) FILTER (WHERE what = status) <> 1;

-- check: no dead letter was redriven after it was discarded
SELECT dead_letter_id AS id
FROM actions
GROUP BY dead_letter_id
HAVING min(action_id) FILTER (WHERE what = 'discarded') < max(action_id) FILTER (WHERE what = 'redriven');

-- waiting: parked (fanout dlq ls)
SELECT consumer AS id FROM dead_letters WHERE status = 'parked';
