"""Our verdict on a corpus of evolutions is what happens when fastavro and Apache's avro read the bytes."""

from typing import Any

import pytest

from tests.support.avro_corpus import corpus, counts
from tests.support.avro_disagreements import (
    AVRO,
    COMPATIBILITY,
    FASTAVRO,
    THEY_REFUSE,
    WE_REFUSE,
    TheyRefuse,
    WeRefuse,
    is_explained,
    our_mismatches,
)
from tests.support.avro_judges import avro_compatibility_error, avro_error, fastavro_error

JUDGES = {FASTAVRO: fastavro_error, AVRO: avro_error, COMPATIBILITY: avro_compatibility_error}


def ids(entry: WeRefuse | TheyRefuse) -> str:
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
    assert len(evolutions) >= 1_000
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
