"""What the tests of traces compare spans with finds every span that is missing, and every context that was changed."""

from dataclasses import replace

import pytest

from tests.support.otlp_receiver import Context, Received, Span
from tests.support.traced import Facts, StoredEvent, begun, damaged_contexts, missing_spans

TRACE = "a" * 32
EVENT = StoredEvent(
    *("orders", "o-1", "e-1", "OrderPlaced", "orders"),
    f"00-{TRACE}-{'2' * 16}-01",
    f"00-{TRACE}-{'2' * 16}-01",
)
FACTS = Facts([EVENT], {"e-1": ["fraud"]})


def span(number: int, service: str, name: str, kind: str, parent: int = 0, *links: Context) -> Span:
    """Returns a span whose id is that digit repeated; batches are in a trace of their own."""
    trace_id = "b" * 32 if links else TRACE
    attributes = {"messaging.message.id": "e-1", "fanout.event_id": "e-1"}
    ids = Context(trace_id, str(number) * 16), str(parent) * 16 if parent else ""
    return Span(service, name, kind, *ids, 0, 1, attributes, [*links], [], "UNSET", "", [], {})


WHOLE = {
    "request": span(1, "orders", "POST /orders", "SERVER"),
    "create": span(2, "orders", "create orders", "PRODUCER", 1),
    "send": span(3, "orders", "send orders", "CLIENT", 0, EVENT.context),
    "process": span(4, "fraud", "process orders", "CONSUMER", 2),
    "batch": span(5, "fraud", "process orders", "CONSUMER", 0, EVENT.context),
}


def received(**changed: Span | None) -> Received:
    """Returns the whole trace with some spans replaced, or left out if they are None."""
    kept = Received()
    kept.add([each for each in (WHOLE | changed).values() if each])
    return kept


def test_a_whole_trace_lacks_nothing() -> None:
    whole = received()
    assert missing_spans(FACTS, whole) == []
    assert TRACE in begun(whole) and damaged_contexts(FACTS, {TRACE}) == []


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("request", ("orders", "the parent of create OrderPlaced e-1")),
        ("create", ("orders", "create OrderPlaced e-1")),
        ("send", ("orders", "send OrderPlaced e-1")),
        ("process", ("fraud", "process OrderPlaced e-1")),
        ("batch", ("fraud", "process the batch of OrderPlaced e-1")),
    ],
)
def test_a_span_that_is_lost_is_named_with_its_service(lost: str, named: tuple[str, str]) -> None:
    assert missing_spans(FACTS, received(**{lost: None})) == [named]


@pytest.mark.parametrize(
    "changed",
    [
        {"process": replace(WHOLE["process"], parent_id="9" * 16)},
        {"process": replace(WHOLE["process"], attributes={"fanout.event_id": "e-2"})},
        {"process": replace(WHOLE["process"], service="payments")},
        {"batch": replace(WHOLE["batch"], links=[])},
        {"send": replace(WHOLE["send"], links=[Context(TRACE, "9" * 16)])},
        {"create": replace(WHOLE["create"], kind="CLIENT")},
    ],
)
def test_a_span_in_the_wrong_place_counts_as_missing(changed: dict[str, Span]) -> None:
    assert len(missing_spans(FACTS, received(**changed))) == 1


@pytest.mark.parametrize(
    "events",
    [
        [replace(EVENT, sent=EVENT.sent.replace("2" * 16, "3" * 16))],
        [replace(EVENT, traceparent="00-" + "0" * 32 + EVENT.traceparent[35:])],
        [replace(EVENT, traceparent=EVENT.traceparent.replace(TRACE, "c" * 32))],
        [EVENT, replace(EVENT, event_id="e-2")],
    ],
    ids=["changed on its way to Kafka", "not valid", "of a trace that nobody began", "used twice"],
)
def test_a_context_that_was_changed_is_named(events: list[StoredEvent]) -> None:
    assert damaged_contexts(Facts(events), {TRACE})


def test_two_spans_with_the_same_ids_are_refused() -> None:
    with pytest.raises(AssertionError, match="1 spans have the ids of another one"):
        missing_spans(FACTS, received(twice=WHOLE["batch"]))
