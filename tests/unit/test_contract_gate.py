"""The gate refuses every kind of breaking change with field, reason and remedy, and accepts compatible ones."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import schemas
from schemas import gate, generator, published
from schemas.model import ContractError
from schemas.problem import Problem

ROOT = Path(schemas.__file__).parent
Spec = dict[str, Any]


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the contracts, with the sums of their published versions."""
    folder = tmp_path / "schemas"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    generator.write(folder)
    return folder


def problems(root: Path) -> list[Problem]:
    """Returns the problems if what has a line is published."""
    return gate.problems(root, published.read_sums(root))


def test_the_contracts_of_this_repository_pass(contracts: Path) -> None:
    assert problems(ROOT) == problems(contracts) == []


def field(spec: Spec, name: str) -> Spec:
    found: Spec = next(each for each in spec["fields"] if each["name"] == name)
    return found


def line(spec: Spec) -> Spec:
    found: Spec = field(spec, "lines")["type"]["items"]
    return found


def remove(spec: Spec, name: str) -> None:
    spec["fields"].remove(field(spec, name))


def add(spec: Spec, name: str, kind: Any, **more: Any) -> None:
    spec["fields"].append({"name": name, "type": kind, "doc": f"The {name.replace('_', ' ')}.", **more})


PRODUCT = {"type": "record", "name": "Wrapping", "doc": "How it is wrapped."}
COLOUR = {"name": "colour", "type": "string", "doc": "Its colour."}
CHANNEL = {"type": "enum", "name": "Channel", "doc": "Where it was placed.", "symbols": ["web", "shop"]}

BREAKING: dict[str, tuple[Callable[[Spec], Any], str]] = {
    "a field is removed": (lambda s: remove(s, "currency"), "OrderPlaced.currency: removed"),
    "a required field is added": (
        lambda s: add(s, "channel", "string"),
        "OrderPlaced.channel: added without default",
    ),
    "a field is renamed without alias": (
        lambda s: field(s, "currency").update(name="currency_code"),
        "OrderPlaced.currency",
    ),
    "a field is renamed with an alias, which old readers do not know": (
        lambda s: field(s, "currency").update(name="currency_code", aliases=["currency"]),
        "OrderPlaced.currency",
    ),
    "a text becomes a number": (
        lambda s: field(s, "currency").update(type="long"),
        "OrderPlaced.currency: type",
    ),
    "a number becomes a text": (
        lambda s: field(s, "total_cents").update(type="string"),
        "OrderPlaced.total_cents",
    ),
    "a number is widened, and old readers cannot read it": (
        lambda s: field(s, "order_version").update(type="long"),
        "OrderPlaced.order_version",
    ),
    "a number is narrowed": (lambda s: field(s, "total_cents").update(type="int"), "OrderPlaced.total_cents"),
    "an integer becomes a double": (
        lambda s: field(s, "total_cents").update(type="double"),
        "OrderPlaced.total_cents",
    ),
    "an optional field becomes required": (
        lambda s: (field(s, "card_token").update(type="string"), field(s, "card_token").pop("default")),
        "OrderPlaced.card_token",
    ),
    "a required field becomes optional": (
        lambda s: field(s, "currency").update(type=["null", "string"], default=None),
        "OrderPlaced.currency",
    ),
    "an enum symbol is added": (
        lambda s: field(s, "payment_method")["type"]["symbols"].append("voucher"),
        "OrderPlaced.payment_method",
    ),
    "an enum symbol is removed": (
        lambda s: field(s, "payment_method")["type"]["symbols"].remove("card"),
        "OrderPlaced.payment_method",
    ),
    "an enum becomes a text": (
        lambda s: field(s, "payment_method").update(type="string"),
        "OrderPlaced.payment_method",
    ),
    "an enum is renamed": (
        lambda s: field(s, "payment_method")["type"].update(name="Method"),
        "OrderPlaced.payment_method",
    ),
    "a field of a nested record is removed": (
        lambda s: line(s)["fields"].pop(),
        "OrderPlaced.lines[].unit_price_cents: removed",
    ),
    "a required field is added to a nested record": (
        lambda s: line(s)["fields"].append(COLOUR),
        "OrderPlaced.lines[].colour: added without default",
    ),
    "a nested record is renamed": (lambda s: line(s).update(name="Position"), "OrderPlaced.lines[]"),
    "an array becomes its item": (lambda s: field(s, "lines").update(type=line(s)), "OrderPlaced.lines"),
    "the items of an array change": (
        lambda s: field(s, "lines")["type"].update(items="string"),
        "OrderPlaced.lines[]",
    ),
    "the whole event is renamed": (lambda s: s.update(name="OrderTaken"), ""),
    "the topic changes": (lambda s: s.update(topic="sales"), "topic differs"),
    "the key changes": (lambda s: s.update(key="customer_id"), "key differs"),
}

COMPATIBLE: dict[str, Callable[[Spec], Any]] = {
    "an optional field is added": lambda s: add(s, "coupon", ["null", "string"], default=None),
    "a field with a default is added": lambda s: add(s, "priority", "int", default=0),
    "a text with a default is added": lambda s: add(s, "channel", "string", default="web"),
    "an enum with a default is added": lambda s: add(s, "channel", CHANNEL, default="web"),
    "an optional enum is added": lambda s: add(s, "channel", ["null", CHANNEL], default=None),
    "an optional record is added": lambda s: add(
        s, "wrapping", ["null", PRODUCT | {"fields": [COLOUR]}], default=None
    ),
    "an array with a default is added": lambda s: add(
        s, "tags", {"type": "array", "items": "string"}, default=[]
    ),
    "an optional array is added": lambda s: add(
        s, "tags", ["null", {"type": "array", "items": "string"}], default=None
    ),
    "an optional field is removed": lambda s: remove(s, "card_token"),
    "an optional field is renamed with an alias": lambda s: field(s, "card_token").update(
        name="token", aliases=["card_token"]
    ),
    "an optional field of a nested record is added": lambda s: line(s)["fields"].append(
        COLOUR | {"type": ["null", "string"], "default": None}
    ),
    "fields are put in another order": lambda s: s["fields"].reverse(),
    "fields of a nested record are put in another order": lambda s: line(s)["fields"].reverse(),
    "a field is explained better": lambda s: field(s, "currency").update(doc="ISO 4217 code."),
    "the event is explained better": lambda s: s.update(doc="An order was taken."),
}


def next_version(contracts: Path, change: Callable[[Spec], Any]) -> list[Problem]:
    """Adds a version that is changed so, generates what can be generated, and returns the problems."""
    spec = json.loads((contracts / "order_placed" / "v1.avsc").read_text())
    spec["revision"] = 2
    change(spec)
    (contracts / "order_placed" / "v2.avsc").write_text(json.dumps(spec, indent=2))
    published.write_sums(contracts, published.read_sums(contracts))
    with suppress(ContractError):  # the gate reports it
        generator.write(contracts)
    return problems(contracts)


@pytest.mark.parametrize(("change", "path"), BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_is_refused_with_field_reason_and_remedy(
    contracts: Path, change: Callable[[Spec], Any], path: str
) -> None:
    found = next_version(contracts, change)
    assert any(str(problem).startswith(path) or path in problem.what for problem in found), list(
        map(str, found)
    )
    assert all(
        problem.file == "order_placed/v2.avsc" and problem.what and problem.remedy for problem in found
    )


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_a_compatible_change_is_accepted(contracts: Path, change: Callable[[Spec], Any]) -> None:
    assert next_version(contracts, change) == []


def test_a_version_is_compared_with_all_earlier_ones_not_only_with_the_last(contracts: Path) -> None:
    """v2 adds an optional number, v3 takes it back, v4 adds a text of that name: v2 and v4 do not fit."""
    changes: list[Callable[[Spec], Any]] = [
        lambda s: add(s, "coupon", ["null", "long"], default=None),
        lambda s: None,
        lambda s: add(s, "coupon", ["null", "string"], default=None),
    ]
    for version, change in enumerate(changes, start=2):
        spec = json.loads((contracts / "order_placed" / "v1.avsc").read_text()) | {"revision": version}
        change(spec)
        (contracts / "order_placed" / f"v{version}.avsc").write_text(json.dumps(spec))
    generator.write(contracts)
    published.write_sums(contracts, published.read_sums(contracts))
    [problem] = problems(contracts)
    assert (problem.file, problem.path) == ("order_placed/v4.avsc", "OrderPlaced.coupon")
    assert "readers of v2 would fail" in problem.what


@pytest.mark.parametrize("revision", [None, 1, 3, True, "2"])
def test_a_version_says_its_own_number(contracts: Path, revision: Any) -> None:
    [problem] = next_version(contracts, lambda spec: spec.update(revision=revision))
    assert problem.what.startswith('OrderPlaced: add "revision": 2')
