"""Trace contexts are read as W3C's recommendation says, and written so that any tracing system reads them."""

import re

import pytest

from chassis.http.tracing import received_context
from chassis.telemetry.trace_context import VERSION_00, new_root, parse, trace_id_of, valid_tracestate

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("traceparent", "is_sampled"),
    [
        (VALID, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-00-what-comes-later", False),
        (f"fe-{TRACE}-{SPAN}-01-", True),
    ],
)
def test_a_valid_traceparent_is_continued_with_its_flag_in_version_00(
    traceparent: str, is_sampled: bool
) -> None:
    context = parse(traceparent)
    assert context and context.traceparent == f"00-{TRACE}-{SPAN}-{'01' if is_sampled else '00'}"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"01-{TRACE}-{SPAN}-01.more",
        f"01-{TRACE}-{SPAN}-011",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"00_{TRACE}_{SPAN}_01",
        f" {VALID}",
        f"{VALID}\n",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_is_no_context_and_takes_its_tracestate_along(traceparent: str) -> None:
    assert parse(traceparent, "vendor=1") is None
    assert trace_id_of(traceparent) == ""


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("", ""),
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \tbar=2, ,", "foo=1,bar=2"),
        ("fw529a3039@dt=FfAAEAA, 1a@b=x", "fw529a3039@dt=FfAAEAA,1a@b=x"),
        ("foo= two words", "foo= two words"),
        ("foo=1,foo=2", ""),
        ("FOO=1", ""),
        ("foo", ""),
        ("foo=", ""),
        ("foo=a=b", ""),
        ("foo@=1", ""),
        (f"{'a' * 256}=1", f"{'a' * 256}=1"),
        (f"{'a' * 257}=1", ""),
        (f"foo={'v' * 256}", f"foo={'v' * 256}"),
        (f"foo={'v' * 257}", ""),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), ""),
        (",".join(f"k{n}={'v' * 100}" for n in range(6)), ""),
    ],
)
def test_a_tracestate_is_kept_whole_or_dropped_whole(header: str, kept: str) -> None:
    assert valid_tracestate(header) == kept
    context = parse(VALID, header)
    assert context and context.tracestate == kept


def test_a_request_with_two_parents_begins_a_trace_and_lists_of_states_are_joined() -> None:
    parent, state = (b"traceparent", VALID.encode()), (b"tracestate", b"a=1")
    assert received_context([parent, parent, state]) is None
    assert received_context([state]) is None
    joined = received_context([parent, state, (b"baggage", b"user=1"), (b"tracestate", b"b=2")])
    assert joined and joined.tracestate == "a=1,b=2"


def test_what_is_written_matches_the_documented_pattern_and_says_that_nobody_records_it() -> None:
    for _ in range(100):
        context = new_root()
        assert re.fullmatch(VERSION_00, context.traceparent) and not context.is_sampled
        assert parse(context.traceparent) == context
