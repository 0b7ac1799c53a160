"""The live registry's verdict on each evolution of the corpus is the one that we give without it."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from schemas.compatibility import SchemaError, mismatches
from tests.support.avro_corpus import corpus, counts, triples
from tests.support.avro_disagreements import (
    REGISTRY,
    REGISTRY_TAKES,
    WE_REFUSE,
    WeRefuse,
    is_explained,
    our_mismatches,
)
from tests.support.avro_evolutions import Evolution
from tests.support.registry_judge import RegistryJudge
from tests.support.stack import Stack

REGISTERED = 12


@pytest.fixture(scope="module")
def registry(stack: Stack) -> Iterator[RegistryJudge]:
    judge = RegistryJudge(stack.addresses.registry_url)
    yield judge
    assert judge.subjects_left() == []
    judge.close()


def full(old: Any, new: Any) -> list[Any]:
    """Returns our mismatches of both directions."""
    return our_mismatches(new, old) + our_mismatches(old, new)


def test_every_verdict_on_the_corpus_is_the_registrys_or_the_disagreement_is_explained(
    registry: RegistryJudge,
) -> None:
    evolutions = corpus()
    families: dict[str, list[Evolution]] = {}
    for evolution in evolutions:
        families.setdefault(json.dumps(evolution.old), []).append(evolution)

    def accepted(family: list[Evolution]) -> list[bool]:
        return registry.accepts([family[0].old], *(one.new for one in family))

    verdicts = registry.all_of(accepted, families.values())
    judged = list(zip(chain(*families.values()), chain(*verdicts), strict=True))
    print(f"\n{len(evolutions)} evolutions, as the registry judges them\n{counts(judged)}")
    unexplained = [
        (evolution.old, evolution.new, [str(one) for one in ours], accepts)
        for evolution, accepts in judged
        if accepts == bool(ours := full(evolution.old, evolution.new))
        and not is_explained(REGISTRY, evolution.new, evolution.old, ours, None)
    ]
    assert not unexplained, f"{len(unexplained)} disagreements, the first: {json.dumps(unexplained[0])}"


def test_nothing_is_accepted_offline_that_the_registry_refuses_to_register(registry: RegistryJudge) -> None:
    sample = corpus()[::REGISTERED]

    def register(one: Evolution) -> int:
        return registry.status_of_registering([one.old], one.new)

    statuses = registry.all_of(register, sample)
    assert {409, 200} <= {*statuses} <= {409, 422, 200}
    accepted = [status for one, status in zip(sample, statuses, strict=True) if not full(one.old, one.new)]
    assert {*accepted} == {200}


def test_a_version_is_compared_with_all_earlier_ones(registry: RegistryJudge) -> None:
    histories = [history.versions for history in triples()]
    accepted = registry.all_of(lambda versions: registry.accepts(versions[:2], versions[2])[0], histories)
    ours = [full(first, third) + full(second, third) for first, second, third in histories]
    unexplained = [
        (*versions, [str(mismatch) for mismatch in found], accepts)
        for versions, found, accepts in zip(histories, ours, accepted, strict=True)
        if accepts == bool(found) and not is_explained(REGISTRY, versions[2], versions[0], found, None)
    ]
    only_the_first_is_broken = [
        versions
        for versions in histories
        if full(versions[0], versions[2]) and not full(versions[1], versions[2])
    ]
    assert len(histories) >= 100
    assert len(only_the_first_is_broken) >= 10
    assert not unexplained, f"{len(unexplained)} disagreements, the first: {json.dumps(unexplained[0])}"


@pytest.mark.parametrize(
    "entry", [entry for entry in WE_REFUSE if entry.judge == REGISTRY], ids=lambda entry: entry.name
)
def test_the_registry_accepts_what_we_refuse(registry: RegistryJudge, entry: WeRefuse) -> None:
    ours = our_mismatches(entry.reader, entry.writer)
    assert ours
    assert registry.accepts([entry.writer], entry.reader, level="BACKWARD") == [True]
    assert is_explained(REGISTRY, entry.reader, entry.writer, ours, None)


@pytest.mark.parametrize("schema", REGISTRY_TAKES.values(), ids=REGISTRY_TAKES)
def test_the_registry_registers_what_we_call_malformed(registry: RegistryJudge, schema: Any) -> None:
    assert registry.status_of_registering([], schema) == 200
    with pytest.raises(SchemaError):
        mismatches(schema, schema)


def test_an_alias_that_is_a_field_is_registered_and_cannot_be_compared_later(registry: RegistryJudge) -> None:
    """This is why such an alias is refused before it is published: no later version could be registered."""
    schema = REGISTRY_TAKES["an alias that is a field"]
    later = {**schema, "fields": [*schema["fields"], {"name": "c", "type": "int", "default": 1}]}
    assert registry.status_of_registering([schema], later) == 422
