-- Two processes that start at once must not both create the tables.
SELECT pg_advisory_xact_lock(hashtext('go-totals'));

-- The receipt of every event that was applied.
CREATE TABLE IF NOT EXISTS inbox (event_id uuid PRIMARY KEY);

CREATE TABLE IF NOT EXISTS customer_totals (
    customer_id text,
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    orders bigint NOT NULL,
    total_cents numeric NOT NULL,
    PRIMARY KEY (customer_id, currency)
);

-- Whole records that cannot be applied. written_at tells a topic from an earlier one of the same name.
CREATE TABLE IF NOT EXISTS parked (
    topic text,
    partition int,
    "offset" bigint,
    written_at timestamptz,
    key bytea,
    value bytea,
    headers bytea[] NOT NULL, -- name, value, name, value, ...
    reason text NOT NULL,
    PRIMARY KEY (topic, partition, "offset", written_at)
);
