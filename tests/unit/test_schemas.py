"""Rules that hold for every published contract."""

import json
from pathlib import Path

import pytest

from schemas import EVENTS, Event, OrderPlaced, files
from schemas.files import parsed_schema, subject_of, versions_of
from tests.support.sample_events import order_placed
from tests.support.thing_made import put, thing


def test_every_event_has_a_unique_name_and_so_a_subject() -> None:
    assert len({event_type.NAME for event_type in EVENTS}) == len(EVENTS)
    assert subject_of(OrderPlaced) == "orders-fanout.OrderPlaced"


@pytest.mark.parametrize("event_type", EVENTS)
def test_every_event_is_about_an_order_and_keyed_by_it(event_type: type[Event]) -> None:
    """Else the facts about one order would not stay in order."""
    assert event_type.KEY == "order_id"


@pytest.mark.parametrize("event_type", EVENTS)
def test_the_class_is_generated_from_the_newest_file(event_type: type[Event]) -> None:
    numbers = [version for version, _ in versions_of(event_type)]
    assert numbers == list(range(1, event_type.SCHEMA_VERSION + 1))
    assert parsed_schema(event_type)["name"] == f"fanout.{event_type.NAME}"


def test_of_several_versions_the_newest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ThingMade(OrderPlaced):
        NAME = "ThingMade"
        SCHEMA_VERSION = 11

    for version in range(1, 12):
        put(tmp_path, thing(doc=f"Version {version}."), version=version)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert [json.loads(text)["doc"] for _, text in versions_of(ThingMade)][9:] == [
        "Version 10.",
        "Version 11.",
    ]
    assert parsed_schema(ThingMade)["doc"] == "Version 11."


def test_aggregates_do_not_share_a_topic() -> None:
    topics = {event_type.VERSION_FIELD: event_type.TOPIC for event_type in EVENTS}
    assert {(event_type.VERSION_FIELD, event_type.TOPIC) for event_type in EVENTS} == set(topics.items())
    assert len(set(topics.values())) == len(topics)


@pytest.mark.parametrize("event_type", EVENTS)
def test_no_name_address_or_card_number_is_in_a_contract(event_type: type[Event]) -> None:
    names = {field["name"] for _, text in versions_of(event_type) for field in json.loads(text)["fields"]}
    assert not names & {"name", "email", "address", "phone", "card_number"}


def test_an_event_is_a_fact_and_cannot_be_changed() -> None:
    event = order_placed("o-1")
    with pytest.raises(AttributeError):
        event.occurred_at = 1  # type: ignore[misc]
