-- What `fanout verify` checks of ${name}. Tables named after events hold what it has applied: docs/ledger.md
% for row in rows:

-- check: each row of ${row.table} is what ${row.event} says, and each such event has its row
SELECT ${row.key} AS id
FROM (SELECT * FROM ${row.table} WHERE pg_temp.is_complete(${row.key})) AS stored
FULL JOIN ${row.words} AS said USING (${row.key})
WHERE (${", ".join(f"stored.{column}" for column in [*row.columns, "occurred_at"] if column != row.key)})
    IS DISTINCT FROM (${", ".join(f"said.{column}" for column in [*row.columns, "occurred_at"] if column != row.key)});
% endfor
