"""A contract states one fact, says what happened, names no person; its topic has an owner, who publishes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from fanout.contracts import owners
from schemas import EVENTS, files, rules
from schemas.parsing import parse
from tests.support.thing_made import LINE, field, thing

FILE = "thing_made/v1.avsc"


def found(spec: Any) -> list[tuple[str, str]]:
    contract = parse(json.dumps(spec), 1, FILE)
    return [(problem.path, problem.what) for problem in rules.problems(contract, FILE)]


def test_a_contract_that_keeps_the_rules_has_no_problem() -> None:
    assert found(thing(field("lines", {"type": "array", "items": LINE}))) == []


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_of_this_repository_keeps_them(event: Any) -> None:
    for version, text in files.versions_of(event):
        assert list(rules.problems(parse(text, version, FILE), FILE)) == []


@pytest.mark.parametrize(
    "name", ["ThingUpdated", "ThingChanged", "ThingModified", "ThingSaved", "ThingStateRefreshed"]
)
def test_a_name_that_does_not_say_what_happened_is_refused(name: str) -> None:
    assert found(thing(name=name)) == [(name, "the name does not say what happened")]


@pytest.mark.parametrize(
    "name",
    ["MakeThing", "Thing", "Made", "ThingCreation", "ThingEvent", "ThingPayment", "ThingNeed", "ThingSpeed"],
)
def test_a_name_that_is_no_fact_is_refused(name: str) -> None:
    assert found(thing(name=name)) == [(name, "an event is a fact")]


@pytest.mark.parametrize(
    "name",
    [
        "ThingMade",
        "ThingShipped",
        "MailSent",
        "BillPaid",
        "ThingWithdrawn",
        "ThingStolen",
        "PriceRisen",
        "PriceFallen",
    ],
)
def test_a_fact_is_named_in_the_past_tense(name: str) -> None:
    assert found(thing(name=name)) == []


@pytest.mark.parametrize(
    ("added", "path"),
    [
        (field("thing", LINE | {"name": "Thing"}), "ThingMade.thing"),
        (field("after", LINE), "ThingMade.after"),
        (field("before", ["null", LINE], default=None), "ThingMade.before"),
        (field("snapshot", LINE), "ThingMade.snapshot"),
        (field("things", {"type": "array", "items": LINE | {"name": "Thing"}}), "ThingMade.things"),
    ],
)
def test_the_whole_state_of_an_aggregate_is_refused(added: dict[str, Any], path: str) -> None:
    assert found(thing(added)) == [(path, "the state of an aggregate does not say what happened to it")]


@pytest.mark.parametrize(
    "name",
    [
        "email",
        "customer_name",
        "first_name",
        "phone_number",
        "delivery_address",
        "emails",
        "surname",
        "telephones",
        "addresses",
        "birthday",
        "iban",
        "name",
        "zip",
        "ip_address",
    ],
)
def test_a_field_for_personal_data_is_refused(name: str) -> None:
    assert found(thing(field(name, "string"))) == [
        (f"ThingMade.{name}", "personal data cannot be taken back from a topic")
    ]


@pytest.mark.parametrize(
    "doc", ["The buyer's e-mail.", "Phone number of the customer.", "The name of the recipient."]
)
def test_personal_data_under_another_name_is_found_by_its_doc(doc: str) -> None:
    inside = LINE | {"fields": [*LINE["fields"], field("goes_to", "string") | {"doc": doc}]}
    lines = field("lines", {"type": "array", "items": inside})
    assert found(thing(lines)) == [
        ("ThingMade.lines[].goes_to", "personal data cannot be taken back from a topic")
    ]


@pytest.mark.parametrize(
    "name",
    [
        "customer_id",
        "product_name",
        "warehouse_name",
        "city_tax_cents",
        "address_id",
        "email_verified",
        "is_mobile",
        "rename_count",
        "street_value",
        "zip_file",
        "pants",
    ],
)
def test_an_opaque_id_and_a_harmless_word_are_accepted(name: str) -> None:
    assert found(thing(field(name, "string"))) == []


@pytest.mark.parametrize(
    "secret",
    [
        field("card_pin", "string"),
        field("api_key", "string"),
        field("accesstoken", "string"),
        field("card_token_2", "string"),
        field("card_ref", ["null", "string"], default=None, aliases=["card_token"]),
    ],
)
def test_a_secret_whose_name_would_not_mask_it_is_refused(secret: dict[str, Any]) -> None:
    assert found(thing(secret)) == [(f"ThingMade.{secret['name']}", "a secret would not be masked")]


@pytest.mark.parametrize("name", ["card_token", "card_tokens", "shipping_count", "spin"])
def test_a_masked_secret_and_a_harmless_word_are_accepted(name: str) -> None:
    assert found(thing(field(name, "string"))) == []


def test_a_secret_is_never_the_key() -> None:
    spec = thing(field("access_token", "string"), key="access_token")
    assert found(spec) == [("ThingMade.access_token", "a key is shown everywhere")]


def service(folder: Path, name: str, topic: str, made: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "service.py").write_text(f'service = Service("{name}", metadata, topic="{topic}")\n')
    (folder / name / "domain.py").write_text("\n".join(f"{event}(order_id=1)" for event in made.split()))


def test_the_services_of_this_repository_publish_what_their_topics_say() -> None:
    assert list(owners.problems(files.ROOT.parent / "services")) == []


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """Five services, each of which publishes on its own topic what its contracts say."""
    service(tmp_path, "orders", "orders", "OrderPlaced OrderConfirmed OrderCancelled")
    service(tmp_path, "payments", "payments", "PaymentProcessed PaymentRefunded")
    service(tmp_path, "inventory", "inventory", "StockReserved StockRejected StockReleased")
    service(tmp_path, "fraud", "fraud", "FraudAssessed")
    service(tmp_path, "fulfillment", "shipments", "OrderShipped")
    return tmp_path


def whats(services: Path) -> list[str]:
    return [str(problem) for problem in owners.problems(services)]


def test_an_event_that_no_service_publishes_is_refused(services: Path) -> None:
    (services / "fraud" / "domain.py").write_text("")
    assert whats(services) == ["FraudAssessed: no service publishes it"]


def test_an_event_of_a_stranger_is_refused(services: Path) -> None:
    (services / "payments" / "extra.py").write_text("FraudAssessed()")
    assert whats(services) == ["FraudAssessed: payments publishes it, and fraud owns the topic fraud"]


@pytest.mark.parametrize(
    "code",
    [
        "import schemas\nschemas.FraudAssessed()",
        "from schemas import FraudAssessed as Assessed\nAssessed()",
    ],
)
def test_an_event_is_recognized_by_whatever_name_it_is_made(services: Path, code: str) -> None:
    (services / "fraud" / "domain.py").write_text("")
    (services / "fraud" / "parts").mkdir()
    (services / "fraud" / "parts" / "made.py").write_text(code)
    assert whats(services) == []
    (services / "payments" / "made.py").write_text(code)
    assert whats(services) == ["FraudAssessed: payments publishes it, and fraud owns the topic fraud"]


def test_a_topic_may_be_a_constant_of_the_module(services: Path) -> None:
    (services / "fraud" / "service.py").write_text('TOPIC = "fraud"\nservice = Service("fraud", topic=TOPIC)')
    assert whats(services) == []


@pytest.mark.parametrize("code", [b"def", b"\xff"])
def test_a_source_that_cannot_be_read_is_a_problem_with_its_path(services: Path, code: bytes) -> None:
    (services / "fraud" / "broken.py").write_bytes(code)
    [problem] = owners.problems(services)
    assert problem.file.endswith("fraud/broken.py") and "cannot be read" in problem.what


def test_a_topic_without_owner_or_with_two_is_refused(services: Path) -> None:
    (services / "fraud" / "service.py").write_text('service = Service("fraud", metadata)')
    assert whats(services) == ["FraudAssessed: no service owns the topic fraud"]
    for name in ("fraud", "payments"):
        service(services, f"more_{name}", "fraud", "")
    assert whats(services) == ["FraudAssessed: more_fraud and more_payments own the topic fraud"]
