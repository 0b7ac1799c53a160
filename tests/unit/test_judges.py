"""Our verdict on a corpus of evolutions is what happens when fastavro and Apache's avro read the bytes."""

from typing import Any

import avro.compatibility
import pytest

from schemas.compatibility import breaks
from tests.support.avro_corpus import corpus, counts
from tests.support.avro_disagreements import (
    AVRO,
    COMPATIBILITY,
    FASTAVRO,
    THEY_CHANGE,
    THEY_REFUSE,
    WE_REFUSE,
    TheyChange,
    TheyRefuse,
    WeRefuse,
    field,
    is_explained,
    may_change,
    our_mismatches,
    record,
)
from tests.support.avro_evolutions import EDITS
from tests.support.avro_judges import (
    avro_compatibility_error,
    avro_error,
    avro_schema,
    fastavro_changes,
    fastavro_error,
)

JUDGES = {FASTAVRO: fastavro_error, AVRO: avro_error, COMPATIBILITY: avro_compatibility_error}


def ids(entry: WeRefuse | TheyRefuse | TheyChange) -> str:
    return f"{entry.judge}: {entry.name}"


def test_every_verdict_on_the_corpus_is_the_libraries_or_their_disagreement_is_explained() -> None:
    evolutions = corpus()
    unexplained = [
        found
        for evolution in evolutions
        for reader, writer in ((evolution.new, evolution.old), (evolution.old, evolution.new))
        for found in disagreements(reader, writer)
    ]
    judged = [
        (one, not our_mismatches(one.new, one.old) + our_mismatches(one.old, one.new)) for one in evolutions
    ]
    print(f"\n{len(evolutions)} evolutions\n{counts(judged)}")
    compatible = sum(verdict for _, verdict in judged)
    assert len(evolutions) >= 1_000
    assert compatible >= 300
    assert len(evolutions) - compatible >= 300
    assert {kind for evolution in evolutions for kind in evolution.edits} == {*EDITS}
    assert not unexplained, f"{len(unexplained)} disagreements, the first: {unexplained[0]}"


def disagreements(reader: Any, writer: Any) -> list[tuple[str, Any, Any, list[str], str | None]]:
    """Returns each judge whose verdict is not ours and not explained, with what both say."""
    ours = our_mismatches(reader, writer)
    found = []
    for judge, error_of in JUDGES.items():
        error = error_of(reader, writer)
        if (error is None) == bool(ours) and not is_explained(judge, reader, writer, ours, error):
            found.append((judge, reader, writer, [str(one) for one in ours], error))
    return found


def test_what_we_call_readable_is_read_with_the_values_that_were_written() -> None:
    readable = [
        (reader, writer)
        for evolution in corpus()
        for reader, writer in ((evolution.new, evolution.old), (evolution.old, evolution.new))
        if our_mismatches(reader, writer) == [] and fastavro_error(reader, writer) is None
    ]
    changed = [
        (reader, writer, changes[0])
        for reader, writer in readable
        if (changes := fastavro_changes(reader, writer)) and not may_change(FASTAVRO, reader, writer)
    ]
    assert len(readable) >= 1_000
    assert not changed, f"{len(changed)} changed, the first: {changed[0]}"


@pytest.mark.parametrize("entry", [entry for entry in WE_REFUSE if entry.judge in JUDGES], ids=ids)
def test_a_judge_reads_what_we_refuse(entry: WeRefuse) -> None:
    ours = our_mismatches(entry.reader, entry.writer)
    assert ours
    assert JUDGES[entry.judge](entry.reader, entry.writer) is None
    assert is_explained(entry.judge, entry.reader, entry.writer, ours, None)


@pytest.mark.parametrize("entry", THEY_REFUSE, ids=ids)
def test_a_judge_refuses_what_the_rules_allow(entry: TheyRefuse) -> None:
    error = JUDGES[entry.judge](entry.reader, entry.writer)
    assert our_mismatches(entry.reader, entry.writer) == []
    assert error
    assert is_explained(entry.judge, entry.reader, entry.writer, [], error)


def test_apaches_checker_says_positions_where_we_say_fields_readers_and_a_remedy() -> None:
    old, new = record(field("id", "string"), field("cents", "long")), record(field("id", "string"))
    checker = avro.compatibility.ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    theirs = checker.get_compatibility(avro_schema(old), avro_schema(new))
    assert (theirs.messages, theirs.locations) == ({"cents"}, {"/fields/1"})
    (ours,) = breaks(old, new, 1, 2)
    assert str(ours) == "A.cents: removed without default; readers of v1 would fail"


@pytest.mark.parametrize("entry", THEY_CHANGE, ids=ids)
def test_a_judge_changes_a_value_that_the_rules_keep(entry: TheyChange) -> None:
    assert our_mismatches(entry.reader, entry.writer) == []
    assert fastavro_error(entry.reader, entry.writer) is None
    assert fastavro_changes(entry.reader, entry.writer)
    assert may_change(entry.judge, entry.reader, entry.writer)
