"""The temporary tables of events: which there are, which columns they have, and what COPY is given."""

from datetime import timedelta
from uuid import uuid4

import pytest
from uuid_utils.compat import uuid7

from chassis.events.avro import encode
from fanout.verify.contents.event_tables import NULL, EventTable, Published, event_tables, lines
from fanout.verify.contents.payloads import NewerRelease, Unreadable, reader_of
from fanout.verify.contents.published import first_order_since
from fanout.verify.records import made_at
from schemas import FraudAssessed, OrderPlaced
from tests.support import sample_events

EVENT_ID = str(uuid4())


def table(sql: str) -> EventTable:
    [found] = event_tables(sql)
    return found


def test_only_the_types_are_loaded_that_a_check_names_also_by_a_list() -> None:
    assert [
        each.name for each in event_tables("SELECT FROM order_placed_lines JOIN stock_released USING (id)")
    ] == [
        "order_placed",
        "stock_released",
    ]
    assert event_tables("SELECT order_id FROM reordered_placed_order") == []


def test_a_secret_is_a_column_only_where_a_check_names_it() -> None:
    assert "card_token" not in table("order_placed").columns
    assert "card_token" in table("order_placed WHERE card_token = 'x'").columns


def test_a_list_of_records_is_a_table_with_the_key_and_the_position() -> None:
    [of_lines] = table("order_placed").lists
    record = sample_events.order_placed("o-1", {"mug": 1, "pencil": 2}).to_record()
    assert of_lines.columns[2:] == ("order_id", "position", "product_id", "quantity", "unit_price_cents")
    rows = of_lines.rows([Published(EVENT_ID, 0, record)])
    assert [row[2:] for row in rows] == [("o-1", 0, "mug", 1, 1000), ("o-1", 1, "pencil", 2, 1000)]


def test_null_and_lists_of_text_are_written_as_copy_reads_them() -> None:
    paid = sample_events.payment_processed("o-1").to_record()
    assert NULL in lines(table("payment_processed").rows([Published(EVENT_ID, 0, paid)])).decode()
    assessed = sample_events.fraud_assessed("o-1").to_record() | {"rules": ['a "b"', "c\\d"]}
    assert (
        r'{"a \\"b\\"","c\\\\d"}'
        in lines(table("fraud_assessed").rows([Published(EVENT_ID, 0, assessed)])).decode()
    )


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "\\"])
def test_a_character_with_a_meaning_for_copy_is_escaped_in_every_row_of_its_block(character: str) -> None:
    written = lines([("a", f"b{character}c"), ("d", "e")]).decode()
    escaped = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}[character]
    assert written == f"a\tb{escaped}c\nd\te\n"


def test_nul_which_postgres_cannot_store_is_replaced() -> None:
    assert lines([("a", "b\0")]).decode() == "a\tb\N{REPLACEMENT CHARACTER}\n"


def test_an_event_of_the_first_version_is_read_as_the_newest() -> None:
    event = sample_events.fraud_assessed("o-1")
    assert reader_of(FraudAssessed, 1)(encode(event)) == event.to_record()


@pytest.mark.parametrize("payload", [b"", b"\xde\xad\xbe\xef", b"\x02a"])
def test_what_is_no_event_is_unreadable_or_of_a_newer_release(payload: bytes) -> None:
    for version in (1, None):
        with pytest.raises(Unreadable):
            reader_of(OrderPlaced, version)(payload)
    with pytest.raises(NewerRelease):
        reader_of(OrderPlaced, 99)(payload)


def test_bytes_behind_an_event_make_it_unreadable() -> None:
    with pytest.raises(Unreadable):
        reader_of(OrderPlaced, 1)(encode(sample_events.order_placed("o-1")) + b"\0")


def test_the_first_order_since_a_time_sorts_between_the_ids_of_before_and_after() -> None:
    order = uuid7()
    made = made_at(order)
    assert made
    assert first_order_since(made) <= str(order) < first_order_since(made + timedelta(milliseconds=1))
    assert first_order_since(None) == ""
