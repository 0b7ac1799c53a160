"""`fanout tail`: what it prints of records that arrive, of those that cannot be decoded, and nothing of a secret."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.events.avro import encode, frame
from chassis.events.record import Record
from chassis.events.registry import RegistryUnavailable
from fanout.cli import _app
from fanout.commands import tail
from fanout.errors import BadUsage
from fanout.local import stopped
from schemas import EVENTS, Event
from tests.support import sample_events
from tests.support.known_schemas import OURS
from tests.support.principals import addresses_of

TOKEN = "tok_recognizable_0815"
ORDER = "019a2f6c-0d1e-7a3b-9c4d-5e6f70819203"


def record_of(event: Event, topic: str = "", **headers: str) -> Record:
    value = frame(EVENTS.index(type(event)), encode(event))
    named = {"ce_id": ORDER, "ce_type": event.NAME, "ce_subject": event.key} | headers
    return Record(
        topic=topic or event.TOPIC,
        partition=0,
        offset=1,
        timestamp_ms=1_772_366_400_123,
        key=event.key.encode(),
        value=value,
        headers=[(name, text.encode()) for name, text in named.items()],
    )


PLACED = record_of(sample_events.order_placed(ORDER, {"mug": 2}, card_token=TOKEN))


class Registry:
    """In place of the registry's client; also of one that does not answer."""

    def __init__(self, answers: bool = True) -> None:
        self.answers = answers

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        if not self.answers:
            raise RegistryUnavailable("down")
        return await OURS.schema_by_id(schema_id)

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        if not self.answers:
            raise RegistryUnavailable("down")
        return await OURS.is_registered(schema_id, subject)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records that arrive, in batches of one, with an empty batch before each."""
    records: list[Record] = []

    @contextmanager
    def arriving(*_: object) -> Iterator[Iterator[list[Record]]]:
        yield iter([batch for record in records for batch in ([], [record])])

    monkeypatch.setattr(tail, "arriving", arriving)
    monkeypatch.setattr(stopped, "down_by_process", dict)
    monkeypatch.setattr(tail, "running", lambda: addresses_of({}))
    monkeypatch.setattr(tail, "Registry", lambda url: Registry())
    return records


def run(*arguments: str) -> list[str]:
    done = CliRunner().invoke(_app(["tail"]), ["tail", *arguments])
    assert done.exit_code == 0, done.exception
    assert TOKEN not in done.output and TOKEN.encode().hex() not in done.output
    return done.stdout.splitlines()


def test_an_event_is_one_line_with_the_fields_that_say_what_happened(kafka: list[Record]) -> None:
    kafka.append(PLACED)
    assert run() == [
        f"12:00:00.123 orders    OrderPlaced      {ORDER} customer_id=c-1 currency=EUR total_cents=2000 "
        "payment_method=card card_token=*** lines=[2 mug]"
    ]


def test_headers_are_shown_when_asked_for_and_masked(kafka: list[Record]) -> None:
    kafka.append(
        record_of(
            sample_events.stock_reserved(ORDER), "", **{"x-card-token": TOKEN, "note": f"token={TOKEN}"}
        )
    )
    assert len(run()) == 1
    assert run("--headers")[1:] == [
        f"    ce_id: {ORDER}",
        "    ce_type: StockReserved",
        f"    ce_subject: {ORDER}",
        "    x-card-token: ***",
        "    note: token=***",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": (PLACED.value or b"")[:-3]}, "cannot be decoded: not OrderPlaced"),
        ({"value": None}, "cannot be decoded: a value of 0 bytes"),
        ({"headers": []}, "cannot be decoded: missing header ce_type"),
        ({"key": b"\xff\x1b[2J"}, "cannot be decoded: the key is"),
    ],
)
def test_what_cannot_be_decoded_is_named_and_the_next_is_shown(
    kafka: list[Record], change: dict[str, Any], reason: str
) -> None:
    kafka += [replace(PLACED, **change), PLACED]
    bad, good = run()
    assert reason in bad and "mug" not in bad and "\x1b" not in bad
    assert "lines=[2 mug]" in good


def test_while_the_registry_does_not_answer_events_are_named_undecoded(
    kafka: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "Registry", lambda url: Registry(answers=False))
    kafka.append(PLACED)
    assert run()[0].endswith(f"OrderPlaced      {ORDER} not decoded: the registry does not answer")


def test_a_dead_letter_says_who_parked_it_and_why_without_the_events_secret(kafka: list[Record]) -> None:
    origin = {
        "dlq_topic": "orders",
        "dlq_partition": "0",
        "dlq_kafka_offset": "7",
        "dlq_record_at": "2026-03-01T12:00:00+00:00",
        "dlq_attempts": "1",
        "dlq_first_failed_at": "2026-03-01T12:00:00+00:00",
        "dlq_redrive": "0",
        "dlq_consumer": "fraud",
        "dlq_failure": "permanent",
        "dlq_error_type": "KeyError",
        "dlq_error_message": f"'{TOKEN}'",
        "dlq_last_failed_at": "2026-03-01T12:00:00+00:00",
    }
    kafka.append(record_of(sample_events.order_placed(ORDER, card_token=TOKEN), "orders.fraud.dlq", **origin))
    [line] = run("orders.fraud.dlq")
    assert "parked by fraud: KeyError: '***' customer_id=c-1" in line


def test_only_the_wanted_order_is_shown_by_key_or_by_subject(kafka: list[Record]) -> None:
    kafka += [PLACED, record_of(sample_events.stock_reserved("another")), replace(PLACED, key=b"spoilt")]
    assert len(run("--order", ORDER)) == 2


def test_it_ends_after_the_wanted_number(kafka: list[Record]) -> None:
    kafka += [PLACED] * 5
    assert len(run("-n", "2")) == 2


def test_json_has_one_object_a_line(kafka: list[Record]) -> None:
    kafka += [PLACED, replace(PLACED, value=b"x")]
    good, bad = (json.loads(line) for line in run("--json", "--headers"))
    assert good["event"]["total_cents"] == 2000 and good["event"]["card_token"] == "***"
    assert (good["topic"], good["partition"], good["offset"], good["note"]) == ("orders", 0, 1, None)
    assert good["headers"]["ce_type"] == "OrderPlaced"
    assert bad["event"] is None and bad["note"].startswith("cannot be decoded")


def test_a_point_in_time_and_the_beginning_exclude_each_other() -> None:
    done = CliRunner().invoke(_app(["tail"]), ["tail", "--since", "5m", "--from-beginning"])
    assert isinstance(done.exception, BadUsage)
