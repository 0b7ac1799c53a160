-- check: a letter that was sent back or discarded says by whom and why
SELECT letter_id AS id
FROM letters
LEFT JOIN actions AS done USING (letter_id, redrive)
WHERE status <> 'parked'
GROUP BY letter_id
HAVING count(*) FILTER (WHERE what = status) <> 1;

-- check: no letter was sent back after it was discarded
SELECT letter_id AS id
FROM actions
GROUP BY letter_id
HAVING min(action_id) FILTER (WHERE what = 'discarded') < max(action_id) FILTER (WHERE what = 'redriven');

-- waiting: parked (fanout dlq ls)
SELECT consumer AS id FROM letters WHERE status = 'parked';
