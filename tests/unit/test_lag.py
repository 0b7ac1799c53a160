"""How far behind, and what is said about it: positions, ages, verdicts and spans of time, without a broker."""

from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest
import typer
from rich.console import Console

from fanout.console import in_units
from fanout.durations import seconds
from fanout.kafka_admin import Partition
from fanout.lag import slo, table
from fanout.lag.kafka import KafkaFacts, OldestRecord, Position, _rounds
from fanout.lag.measure import all_pairs
from fanout.lag.partitions import REWOUND, Gap, PartitionLag, gaps, is_rewound, lag
from fanout.lag.services import Outbox, ServiceFacts, StoredPosition
from fanout.lag.timestamps import made_at
from fanout.lag.topics import by_topic
from fanout.lag.verdicts import STUCK_SECONDS, TREND_SECONDS, GroupLag, History, Verdict, judge
from fanout.outside_groups import event_readers

NOW_ID, OLD_ID = uuid4(), uuid4()
PLACE: Partition = ("orders", 2)


def kafka(start: int, end: int, committed: int | None) -> KafkaFacts:
    offsets = {} if committed is None else {PLACE: committed}
    return KafkaFacts(1, {"orders": NOW_ID}, {PLACE: start}, {PLACE: end}, {"fraud": offsets}, {"fraud": 1})


def service(
    next_offset: int | None, topic_id: UUID | None = NOW_ID, others: Mapping[Partition, int] | None = None
) -> ServiceFacts:
    stored = {("fraud", place): StoredPosition(at, NOW_ID, 0, 0) for place, at in (others or {}).items()}
    if next_offset is not None:
        stored["fraud", PLACE] = StoredPosition(next_offset, topic_id, 2, 0)
    return ServiceFacts("fraud", Outbox("fraud", 0, None, 0), frozenset(), stored, {}, False)


@pytest.mark.parametrize(
    ("committed", "stored", "start", "end", "offset", "expired"),
    [
        (None, service(None), 3, 10, 3, 0),
        (5, service(None), 0, 10, 5, 0),
        (5, service(8), 0, 10, 8, 0),
        (8, service(5), 0, 10, 8, 0),
        (1, service(None), 4, 10, 4, 3),
        (1, service(2), 4, 10, 4, 2),
        (None, service(None, others={("orders", 0): 7}), 4, 10, 4, 4),
        (7, service(7, OLD_ID), 0, 10, 0, 0),
        (7, service(7, topic_id=None), 0, 10, 7, 0),
        (1, service(1), 10, 10, 10, 9),
        (12, service(12), 0, 10, 12, 0),
    ],
    ids=[
        "it never committed",
        "only Kafka has an offset",
        "the commit to Kafka is late",
        "the rest was unwanted",
        "overtaken by retention",
        "overtaken by retention, the database knows more",
        "the partition was added and its beginning deleted",
        "the topic was made anew",
        "an earlier release stored no topic id",
        "all was deleted",
        "beyond the end",
    ],
)
def test_a_group_is_at_the_next_offset_to_process(
    committed: int | None, stored: ServiceFacts, start: int, end: int, offset: int, expired: int
) -> None:
    [found] = gaps("fraud", "orders", kafka(start, end, committed), stored, is_replaying=False)
    assert (found.position.offset, found.end, found.expired) == (offset, end, expired)
    assert found.lost == expired + (2 if ("fraud", PLACE) in stored.positions else 0)


def test_during_a_replay_kafkas_offset_counts() -> None:
    [found] = gaps("fraud", "orders", kafka(0, 10, 1), service(10), is_replaying=True)
    assert found.position.offset == 1


@pytest.mark.parametrize(("committed", "again"), [(1, True), (REWOUND, False), (None, False)])
def test_offsets_set_back_by_hand_are_a_replay_and_a_late_commit_is_none(
    committed: int | None, again: bool
) -> None:
    assert is_rewound("fraud", kafka(0, 20_000, committed), service(REWOUND + 1)) == again


def test_a_services_group_reads_its_redrive_topics_and_the_store_all_dead_letters() -> None:
    assert all_pairs([("fraud", "orders")], ["fraud", "dead_letters"]) == {
        ("fraud", "orders"),
        ("fraud", "orders.fraud.retry"),
        ("dead_letters", "orders.fraud.dlq"),
    }


GAP = Gap("fraud", Position(NOW_ID, PLACE, 5), 9, 0, 0)
RECORD = OldestRecord(made_at=60.0, appended_at=90.0)


@pytest.mark.parametrize(
    ("now", "retention", "from_append", "age", "margin"),
    [
        (100.0, 70.0, False, 40.0, 60.0),
        (100.0, 70.0, True, 10.0, 60.0),
        (160.0, 70.0, False, 100.0, 0.0),
        (161.0, 70.0, False, 101.0, 0.0),
        (100.0, None, False, 40.0, None),
        (50.0, 70.0, False, 0.0, 110.0),
    ],
    ids=["as made", "as appended", "due", "overdue", "kept for ever", "a clock that runs ahead"],
)
def test_a_record_is_as_old_as_its_event_and_expires_when_kafka_says(
    now: float, retention: float | None, from_append: bool, age: float, margin: float | None
) -> None:
    found = lag(GAP, 9, {GAP.position: RECORD}, retention, now, from_append)
    assert (found.messages, found.seconds, found.margin_seconds) == (4, age, margin)


def test_markers_alone_are_no_lag() -> None:
    found = lag(GAP, 5, {GAP.position: RECORD}, 70.0, 100.0, False)
    assert (found.messages, found.seconds, found.margin_seconds) == (0, None, None)


def part(messages: int = 0, age: float | None = None, topic: str = "orders", **more: float) -> PartitionLag:
    made = {"offset": 5, "expired": 0, "margin_seconds": 600.0 if messages else None} | more
    return PartitionLag("fraud", topic, 2, messages=messages, seconds=age, **made)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "parts", "members", "trend", "stands", "again"),
    [
        ("keeping_up", [part()], 1, None, False, False),
        ("keeping_up", [part(3, 0.4)], 1, 5.0, False, False),
        ("catching_up", [part(30, 60.0)], 1, -5.0, False, False),
        ("falling_behind", [part(30, 60.0)], 1, 5.0, False, False),
        ("falling_behind", [part(30, 60.0)], 1, 0.0, False, False),
        ("stopped", [part()], 0, 0.0, False, False),
        ("stopped", [part(30, 60.0)], 0, 5.0, True, False),
        ("stuck", [part(30, 60.0)], 1, -5.0, True, False),
        ("replaying", [part(30, 60.0)], 1, -5.0, True, True),
        ("losing_data", [part(30, 60.0, margin_seconds=0.0)], 1, -5.0, True, True),
        ("losing_data", [part(expired=3)], 0, 0.0, False, False),
    ],
)
def test_a_verdict_says_what_matters_most(
    verdict: Verdict, parts: list[PartitionLag], members: int, trend: float | None, stands: bool, again: bool
) -> None:
    assert judge(parts, members, trend, {PLACE} if stands else set(), again) == verdict


def test_the_trend_is_that_of_the_last_minute() -> None:
    history = History()
    for at, messages in ((0.0, 1_000), (40.0, 100), (70.0, 70), (100.0, 40)):
        history.add(at, [part(messages, 1.0)])
    assert 100.0 - TREND_SECONDS == 40.0
    assert history.trend() == history.trend("orders") == -1.0
    assert history.trend("payments") == 0.0


def test_one_measurement_makes_no_trend() -> None:
    history = History()
    history.add(0.0, [part(5, 1.0)])
    assert history.trend() is None


@pytest.mark.parametrize(
    ("offsets", "stands"),
    [([5, 5, 5], True), ([5, 6, 6], False), ([5, 5, 6], False), ([None, 5, 5], False)],
    ids=["stands still", "moved once", "moves", "had nothing to read"],
)
def test_a_partition_stands_still_if_nothing_of_what_waits_was_read(
    offsets: list[int | None], stands: bool
) -> None:
    history = History()
    for step, offset in enumerate(offsets):
        found = part() if offset is None else part(3, 1.0, offset=offset)
        history.add(step * STUCK_SECONDS / 2, [found])
    assert history.standing() == ({PLACE} if stands else set())


def group(*parts: PartitionLag, verdict: Verdict = "keeping_up", trend: float | None = None) -> GroupLag:
    return GroupLag("fraud", parts, 1, verdict, trend, {"orders": trend})


def test_a_group_is_as_far_behind_as_its_worst_partition_and_drained_when_its_trend_says() -> None:
    found = group(part(2, 40.0, margin_seconds=9.0), part(3, 70.0), part(), trend=-0.5)
    assert (found.messages, found.seconds, found.margin_seconds, found.drain_seconds) == (5, 70.0, 9.0, 10.0)
    [line] = by_topic(found)
    assert (line.messages, line.seconds, line.margin_seconds, line.drain_seconds) == (5, 70.0, 9.0, 10.0)
    assert group(part(2, 40.0), trend=0.5).drain_seconds is None
    assert group(part()).drain_seconds == 0


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (group(part(2, 29.9)), slo.WITHIN, "within 30 s: the oldest message waits for 29.9 s"),
        (
            group(part(2, 30.1), verdict="stopped"),
            slo.BEYOND,
            "beyond 30 s: fraud is 30.1 s and 2 messages behind, worst in orders[2] (stopped)",
        ),
        (
            group(part(expired=4), verdict="losing_data"),
            slo.BEYOND,
            "beyond 30 s: fraud (losing data, 4 messages deleted unread)",
        ),
        (
            group(part(2, 900.0), verdict="replaying"),
            slo.WITHIN,
            "within 30 s: the oldest message waits for 0.0 s; left out, because of a replay: fraud",
        ),
        (
            group(part(2, None)),
            slo.UNKNOWN,
            "cannot tell: Kafka does not deliver the oldest message of fraud",
        ),
    ],
)
def test_the_goal_is_judged_in_one_sentence(found: GroupLag, code: int, said: str) -> None:
    assert slo.judged([found], 30.0) == slo.Judgement(code, said)


def test_a_table_has_a_line_for_each_topic_of_events_and_of_others_only_what_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = part(3, 70.0, topic="orders.fraud.retry", margin_seconds=90_000.0)
    Console(width=140).print(
        table.of_groups([group(part(), part(topic="payments.fraud.retry"), waiting, trend=-1.5)])
    )
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["fraud", "orders", "0", "0.0", "-1.5/s", "-", "-", "keeping", "up"] in rows
    assert ["fraud", "orders.fraud.retry", "3", "70.0", "-", "-", "1.0", "d", "keeping", "up"] in rows
    assert not [row for row in rows if "payments.fraud.retry" in row]


def test_the_age_of_the_oldest_row_has_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    Console().print(table.of_relays([Outbox("orders", 3, 43.61, 0), Outbox("payments", 0, None, 0)]))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["orders", "3", "43.6", "s", "0"] in rows and ["payments", "0", "-", "0"] in rows


def test_a_group_of_no_service_is_named_so(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=140).print(
        table.of_groups([GroupLag("go-totals", [part()], 1, "keeping_up", outside=True)])
    )
    assert "go-totals (outside)" in capsys.readouterr().out


def test_a_group_outside_is_measured_in_the_topics_that_have_events() -> None:
    read = {
        "go-totals": {("payments", 2), ("orders", 0), ("orders", 5)},
        "elsewhere": {("metrics", 0), ("orders.fraud.dlq", 0)},
        "deleted meanwhile": set[tuple[str, int]](),
    }
    assert event_readers(read) == [("go-totals", "orders"), ("go-totals", "payments")]


def test_groups_at_different_offsets_of_a_partition_are_read_in_rounds() -> None:
    early, late = Position(NOW_ID, ("orders", 0), 1), Position(NOW_ID, ("orders", 0), 9)
    other = Position(NOW_ID, ("orders", 1), 4)
    assert _rounds([early, late, other]) == [[early, other], [late]]


@pytest.mark.parametrize(
    ("span", "text"), [(0.4, "0.4 s"), (90, "1.5 min"), (5_400, "1.5 h"), (604_800, "7.0 d")]
)
def test_a_span_is_shown_in_its_largest_unit(span: float, text: str) -> None:
    assert in_units(span) == text


@pytest.mark.parametrize(
    "headers", [None, [], [("ce_time", b"yesterday")], [("ce_time", b"\xff")], [("ce_time", None)]]
)
def test_without_a_readable_ce_time_the_records_time_counts(headers: object) -> None:
    assert made_at(headers, 5_000) == 5.0


def test_ce_time_counts_before_the_records_time() -> None:
    assert made_at([("ce_time", b"1970-01-01T00:01:00Z")], 5_000) == 60.0


@pytest.mark.parametrize(
    ("text", "value"), [("60s", 60), ("2m", 120), ("1.5", 1.5), ("250ms", 0.25), ("1h", 3600)]
)
def test_spans_of_time(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "-5s", "inf", "5 days", "s"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"no span of time: write 60s, 2m or 1\.5 \(seconds\)$"):
        seconds(text)
