"""The generator refuses what it does not support, and names the file and the field."""

from pathlib import Path
from typing import Any

import pytest

from schemas.generator import generate, write
from schemas.model import ContractError
from tests.support.thing_made import LINE, SIZE, field, put, thing, without


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("{", "not JSON"),
        ([], "an event must be a record"),
        (SIZE, "an event must be a record"),
        (without("doc", thing()), "ThingMade: doc is missing"),
        (thing(doc=" "), "ThingMade: doc is missing"),
        (without("topic", thing()), "ThingMade: topic is missing"),
        (without("key", thing()), "ThingMade: key is missing"),
        (without("version", thing()), "ThingMade: version is missing"),
        (without("namespace", thing()), "ThingMade: the namespace must be fanout"),
        (thing(topic="Things!"), "ThingMade: 'Things!' cannot be a topic"),
        (thing(owner="me"), "ThingMade: unknown attribute owner"),
        (thing(aliases=["Old"]), "ThingMade: unknown attribute aliases"),
        (thing(name="thing"), "'thing' cannot be a name here"),
        (thing(key="nobody"), "ThingMade: key: 'nobody' is not a field of type string"),
        (thing(key="thing_version"), "ThingMade: key: 'thing_version' is not a field of type string"),
        (thing(version="thing_id"), "ThingMade: version: 'thing_id' is not a field of type int"),
        (thing(version="occurred_at"), "ThingMade: version: 'occurred_at' is not a field of type int"),
        (thing(fields=thing()["fields"][:2]), "event time: 'occurred_at' is not a field of type long"),
        (thing(fields=[]), "ThingMade: a record needs fields"),
        (thing(field("thing_id", "string")), "ThingMade: thing_id appears twice"),
        (thing("string"), 'ThingMade: "string" is not a field'),  # type: ignore[arg-type]
        (thing(without("doc", field("x", "int"))), "ThingMade.x: doc is missing"),
        (thing(without("type", field("x", "int"))), "ThingMade.x: the type null is not supported"),
        (thing(field("x", "int", order="ignore")), "ThingMade.x: unknown attribute order"),
        (thing(field("x", "int", default=None)), "ThingMade.x: the default must be a value of type int"),
        (thing(field("x", "int", default=2**31)), "ThingMade.x: the default must be a value of type int"),
        (thing(field("x", "int", default=True)), "ThingMade.x: the default must be a value of type int"),
        (thing(field("x", "long", default=1.5)), "ThingMade.x: the default must be a value of type long"),
        (thing(field("x", "string", default=1)), "ThingMade.x: the default must be a value of type string"),
        (thing(field("x", "boolean", default=0)), "ThingMade.x: the default must be a value of type boolean"),
        (thing(field("x", "double", default="1")), "ThingMade.x: the default must be a value of type double"),
        (thing(field("x", "bytes", default="")), "ThingMade.x: the default must be none"),
        (thing(field("x", LINE, default={})), "ThingMade.x: the default must be none"),
        (thing(field("x", SIZE, default="XL")), "ThingMade.x: the default must be one of S, L"),
        (
            thing(field("x", {"type": "array", "items": "int"}, default=[1])),
            r"ThingMade.x: the default must be \[\]",
        ),
        (thing(field("x", ["null", "int"])), "ThingMade.x: the default must be null"),
        (thing(field("x", ["null", "int"], default=1)), "ThingMade.x: the default must be null"),
        (thing(field("x", "int", aliases="y")), "ThingMade.x: aliases must be a list"),
        (thing(field("x", "int", aliases=["oldName"])), "ThingMade.x: alias: 'oldName' cannot be a name"),
        (
            thing(key="named", fields=[field("named", "string", default=""), *thing()["fields"][1:]]),
            "no default",
        ),
        ('{"type": "record",\n"name": "A" "name": "B"}', "not JSON: .*line 2 column 13"),
        ('{"type": "record", "type": "record"}', "not JSON: type appears twice in one object"),
        ("[" * 100_000, "nested too deeply"),
        (thing(field("camelCase", "int")), "'camelCase' cannot be a name here"),
        (thing(field("class", "int")), "'class' cannot be a name here"),
        (thing(field("str", "int")), "'str' cannot be a name here"),
        (thing(field("time", "long")), "ThingMade.time: time is an attribute of every event already"),
        (thing(field("x", "float")), 'ThingMade.x: the type "float" is not supported'),
        (thing(field("x", "null")), 'ThingMade.x: the type "null" is not supported'),
        (thing(field("x", "Line")), 'ThingMade.x: the type "Line" is not supported'),
        (thing(field("x", {"type": "int"})), "ThingMade.x: the type .* is not supported"),
        (thing(field("x", {"type": "map", "values": "int"})), "ThingMade.x: the type .* is not supported"),
        (thing(field("x", {"type": "fixed", "name": "F", "size": 2})), "ThingMade.x: the type .* is not"),
        (
            thing(field("x", {"type": "long", "logicalType": "timestamp-millis"})),
            "ThingMade.x: .* not supported",
        ),
        (thing(field("x", ["int", "null"], default=1)), "ThingMade.x: the only union supported"),
        (thing(field("x", ["null", "int", "string"], default=None)), "ThingMade.x: the only union supported"),
        (thing(field("x", ["null", ["null", "int"]], default=None)), "ThingMade.x: the only union supported"),
        (thing(field("x", {"type": "array", "items": "null"})), r"ThingMade.x\[\]: the type \"null\" is not"),
        (thing(field("x", {"type": "array"})), r"ThingMade.x\[\]: the type null is not supported"),
        (
            thing(field("x", {"type": "array", "items": LINE | {"fields": []}})),
            r"x\[\]: a record needs fields",
        ),
        (
            thing(field("x", {"type": "array", "items": ["null", "int"]})),
            "ThingMade.x: arrays of arrays or of",
        ),
        (
            thing(field("x", {"type": "array", "items": {"type": "array", "items": "int"}})),
            "ThingMade.x: arrays of arrays or of unions",
        ),
        (thing(field("x", {"type": "array", "items": "int", "default": []})), "x: unknown attribute default"),
        (thing(field("x", SIZE | {"symbols": []})), "ThingMade.x: an enum needs symbols"),
        (thing(field("x", SIZE | {"symbols": ["S", "S"]})), "ThingMade.x: S appears twice"),
        (thing(field("x", SIZE | {"symbols": ["a-b"]})), "ThingMade.x: 'a-b' cannot be a symbol"),
        (thing(field("x", SIZE | {"default": "S"})), "ThingMade.x: unknown attribute default"),
        (thing(field("x", without("doc", SIZE))), "ThingMade.x: doc is missing"),
        (thing(field("x", without("doc", LINE))), "ThingMade.x: doc is missing"),
        (thing(field("x", LINE | {"name": "Literal"})), "'Literal' cannot be a name here"),
        (thing(field("x", LINE | {"namespace": "n"})), "ThingMade.x: unknown attribute namespace"),
        (thing(field("x", LINE), field("y", LINE)), "ThingMade: Line appears twice"),
        (thing(field("x", LINE | {"name": "ThingMade"})), "ThingMade: ThingMade appears twice"),
    ],
)
def test_an_unsupported_contract_is_an_error_that_names_file_and_field(
    tmp_path: Path, spec: Any, complaint: str
) -> None:
    put(tmp_path, spec)
    with pytest.raises(ContractError, match=rf"^thing_made/v1\.avsc: .*{complaint}"):
        write(tmp_path)
    assert not list(tmp_path.rglob("*.py"))


def test_a_gap_between_versions_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, thing(), version=1)
    put(tmp_path, thing(), version=3)
    with pytest.raises(ContractError, match=r"thing_made: needs v1\.avsc, v2\.avsc, \.\.\. without a gap"):
        generate(tmp_path)


def test_a_folder_without_a_contract_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "thing_made").mkdir()
    (tmp_path / "thing_made" / "notes.txt").touch()
    with pytest.raises(ContractError, match=r"thing_made: needs v1\.avsc"):
        generate(tmp_path)


def test_a_file_that_is_no_version_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, thing())
    (tmp_path / "thing_made" / "new.avsc").write_text("{}")
    with pytest.raises(ContractError, match=r"thing_made/new\.avsc: the name must be v<number>\.avsc"):
        generate(tmp_path)


def test_an_event_in_a_folder_of_another_name_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, thing(), "thing_sold")
    with pytest.raises(ContractError, match="ThingMade belongs into the folder thing_made"):
        generate(tmp_path)


def test_an_event_that_would_hide_a_module_of_the_package_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "thing_made.py").touch()
    put(tmp_path, thing())
    with pytest.raises(ContractError, match=r"the module thing_made\.py already has this name"):
        generate(tmp_path)


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        ({"topic": "others"}, "topic"),
        ({"key": "other_id"}, "key"),
        ({"version": "other_version"}, "version_field"),
    ],
)
def test_a_new_version_never_moves_to_another_topic_or_key(
    tmp_path: Path, change: dict[str, str], attribute: str
) -> None:
    more = [field("other_id", "string"), field("other_version", "int")]
    put(tmp_path, thing(*more), version=1)
    put(tmp_path, thing(*more, **change), version=2)
    with pytest.raises(ContractError, match=rf"thing_made/v2\.avsc: {attribute} differs from v1\.avsc"):
        generate(tmp_path)


def test_an_older_version_is_checked_as_well(tmp_path: Path) -> None:
    put(tmp_path, thing(field("x", "float")), version=1)
    put(tmp_path, thing(), version=2)
    with pytest.raises(ContractError, match=r"thing_made/v1\.avsc: ThingMade\.x"):
        generate(tmp_path)


@pytest.mark.parametrize("other", [SIZE | {"symbols": ["S"]}, LINE | {"name": "Size"}])
def test_one_name_with_two_definitions_is_an_error(tmp_path: Path, other: dict[str, Any]) -> None:
    put(tmp_path, thing(field("x", SIZE)))
    put(tmp_path, thing(field("x", other), name="ThingSold"), "thing_sold")
    with pytest.raises(ContractError, match=r"thing_sold/v1\.avsc: another event defines Size differently"):
        generate(tmp_path)
