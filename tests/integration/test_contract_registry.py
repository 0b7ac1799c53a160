"""Contracts and the live registry: what set-up registers, keeps at FULL_TRANSITIVE and puts back, and what is shown."""

import json
import os
from collections.abc import Iterator

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from fanout.contracts.registry import (
    EVERYWHERE,
    LEVEL,
    _register,
    accepts,
    history,
    lowered_levels,
    open_registry,
)
from fanout.errors import BreakingSchema, SetupFailed, Unreachable
from schemas import EVENTS, OrderPlaced
from schemas.files import subject_of, versions_of
from tests.support.stack import Stack

PLACED = subject_of(OrderPlaced)


@pytest.fixture
def registry(stack: Stack) -> Iterator[SchemaRegistryClient]:
    with open_registry(stack.addresses.registry_url) as client:
        yield client


@pytest.fixture
def subject(stack: Stack) -> Iterator[str]:
    """A subject of its own, that is deleted for good afterwards."""
    name = f"test-{os.getpid()}-contracts"
    yield name
    for how in ("", "?permanent=true"):
        httpx.delete(f"{stack.addresses.registry_url}/subjects/{name}{how}", trust_env=False)


def differences(stack: Stack) -> list[str]:
    """Returns what `diff` says of our subjects; those of other tests may be there as well."""
    done = stack.fanout("schemas", "diff", "--json")
    found = json.loads(done.stdout)["differences"]
    assert done.returncode == bool(found)
    ours = {EVERYWHERE, "every subject", *map(subject_of, EVENTS)}
    return [each["difference"] for each in found if each["subject"] in ours]


def breaking(text: str) -> str:
    spec = json.loads(text)
    spec["fields"].append({"name": "channel", "type": "string", "doc": "New, and required."})
    return json.dumps(spec)


def test_every_version_is_registered_under_its_own_number(
    stack: Stack, registry: SchemaRegistryClient
) -> None:
    for event in EVENTS:
        registered = [(each.number, json.loads(each.text)) for each in history(registry, subject_of(event))]
        assert registered == [(number, json.loads(text)) for number, text in versions_of(event)]
    assert differences(stack) == []


def test_every_level_is_full_transitive_after_setup(registry: SchemaRegistryClient) -> None:
    assert lowered_levels(registry, [subject_of(event) for event in EVENTS]) == {}


@pytest.mark.parametrize("subject_or_all", [EVERYWHERE, PLACED])
def test_a_lowered_level_is_reported_and_put_back(
    stack: Stack, registry: SchemaRegistryClient, subject_or_all: str
) -> None:
    candidate = breaking(versions_of(OrderPlaced)[-1][1])
    try:
        registry.set_compatibility(subject_or_all or None, "NONE")
        assert accepts(registry, PLACED, candidate) is (subject_or_all == PLACED)
        assert json.loads(stack.must("status", "--json"))["lowered_compatibility"] == {subject_or_all: "NONE"}
        assert differences(stack) == [f"compatibility NONE, not {LEVEL}: fanout setup"]
    finally:
        said = stack.must("setup")
    assert f"new: compatibility {LEVEL}" in said and "it was NONE" in said
    assert not accepts(registry, PLACED, candidate)
    assert lowered_levels(registry, [PLACED]) == {}


def test_a_proposal_gets_both_verdicts_and_is_not_registered(
    stack: Stack, registry: SchemaRegistryClient
) -> None:
    before = history(registry, PLACED)
    file = stack.home / "proposal.avsc"
    spec = json.loads(breaking(before[-1].text)) | {"revision": len(before) + 1}
    try:
        file.write_text(json.dumps(spec))
        refused = stack.fanout("schemas", "propose", str(file))
        spec["fields"][-1].update(type=["null", "string"], default=None)
        file.write_text(json.dumps(spec))
        accepted = json.loads(stack.must("schemas", "propose", str(file), "--json"))
    finally:
        file.unlink()
    assert refused.returncode == 1
    assert "OrderPlaced.channel: added without default" in refused.stdout
    assert "without a server: refused\n  the registry:     refused" in refused.stdout
    assert (accepted["problems"], accepted["registry_accepts"]) == ([], True)
    assert history(registry, PLACED) == before


def test_history_and_show_tell_the_id_that_is_in_the_messages(
    stack: Stack, registry: SchemaRegistryClient
) -> None:
    [first, *_] = history(registry, PLACED)
    assert f"OrderPlaced version 1, id {first.schema_id}\n" in stack.must("schemas", "history", "OrderPlaced")
    shown = stack.fanout("schemas", "show", "OrderPlaced", "--version", "1")
    assert json.loads(shown.stdout) == json.loads(versions_of(OrderPlaced)[0][1])
    assert f"{PLACED} version 1, id {first.schema_id}" in shown.stderr
    missing = stack.fanout("schemas", "show", "OrderPlaced", "--version", "99")
    assert missing.returncode == 1 and f"the registry has no version 99 of {PLACED}" in missing.stderr


def test_registering_again_changes_nothing(stack: Stack) -> None:
    done = stack.fanout("schemas", "register")
    assert (done.returncode, done.stdout) == (0, "") and "nothing changed" in done.stderr


def test_a_breaking_version_is_refused_by_the_registry(registry: SchemaRegistryClient, subject: str) -> None:
    text = versions_of(OrderPlaced)[0][1]
    assert _register(registry, subject, 1, text)
    assert not _register(registry, subject, 1, text)
    with pytest.raises(BreakingSchema, match=f"{subject} version 2 breaks its readers, the registry says"):
        _register(registry, subject, 2, breaking(text))


def test_a_registry_with_another_history_is_not_added_to_unnoticed(
    registry: SchemaRegistryClient, subject: str
) -> None:
    text = versions_of(OrderPlaced)[0][1]
    with pytest.raises(SetupFailed, match=f"{subject} version 2 is number 1 in the registry"):
        _register(registry, subject, 2, text)


def test_services_that_handle_an_event_are_shown_and_an_event_that_nobody_reads(stack: Stack) -> None:
    read = stack.fanout("schemas", "readers", "OrderConfirmed", "--json")
    found = json.loads(read.stdout)
    assert read.returncode == 1
    assert (found["topic"], found["services"]) == ("orders", ["analytics", "fulfillment"])
    unread = stack.fanout("schemas", "readers", "StockReleased")
    assert unread.returncode == 0 and "nobody reads it any more" in unread.stdout


def test_a_registry_that_does_not_answer_is_one_sentence() -> None:
    silent = open_registry("http://127.0.0.1:1")
    with pytest.raises(Unreachable, match="the schema registry does not answer"), silent as registry:
        registry.get_subjects()
