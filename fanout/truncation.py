"""The trigger by which `fanout poison` truncates one message of inventory, and who may set it.

The local tool is the owner of inventory's database and sets it itself. In containers the operator owns nothing; there
`setup` makes two functions that do only this, with the owner's rights, and lets nobody but the operator call them.
"""

from collections.abc import Iterator

from schemas import StockReserved

SERVICE = "inventory"
CHANNEL = "truncated"

# The trigger keeps the whole payload in a table and sends it to the channel, in the transaction that truncates it. It
# runs as the owner: the login that inserts into the outbox has no right to the sequence or the table.
ARM = f"""
    DROP SEQUENCE IF EXISTS truncations;
    CREATE SEQUENCE truncations;
    CREATE TABLE IF NOT EXISTS {CHANNEL} (payload bytea NOT NULL);
    CREATE OR REPLACE FUNCTION {CHANNEL}() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = public, pg_temp AS $$
    BEGIN
        IF nextval('truncations') = 1 THEN
            INSERT INTO {CHANNEL} VALUES (NEW.payload);
            PERFORM pg_notify('{CHANNEL}', encode(NEW.payload, 'hex'));
            NEW.payload := substring(NEW.payload FROM 1 FOR length(NEW.payload) / 2);
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER {CHANNEL} BEFORE INSERT ON outbox
        FOR EACH ROW WHEN (NEW.type = '{StockReserved.NAME}') EXECUTE FUNCTION {CHANNEL}();
"""
DISARM = f"""
    DROP TRIGGER IF EXISTS {CHANNEL} ON outbox;
    DROP FUNCTION IF EXISTS {CHANNEL}();
    DROP SEQUENCE IF EXISTS truncations;
    DROP TABLE IF EXISTS {CHANNEL};
"""
WHOLE = f"SELECT payload FROM {CHANNEL}"
"""Gives the payload also to one who was not connected when it was truncated."""
FUNCTIONS = {"arm_truncation": ARM, "disarm_truncation": DISARM}


def functions_for(login: str) -> Iterator[str]:
    """Yields what makes the functions, to be run in the database of SERVICE by a superuser, in a transaction."""
    yield f"SET LOCAL ROLE {SERVICE}"
    for name, body in FUNCTIONS.items():
        yield f"""CREATE OR REPLACE FUNCTION {name}() RETURNS void LANGUAGE plpgsql
            SECURITY DEFINER SET search_path = public, pg_temp AS $body$ BEGIN {body} END $body$"""
        yield f"REVOKE EXECUTE ON FUNCTION {name}() FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {name}() TO {login}"
    yield "RESET ROLE"
