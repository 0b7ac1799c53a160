"""Services look schemas up and never register one; a worker notices which of its own are missing."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from chassis.errors import InfrastructureFailure
from chassis.events.registry import SchemaNotRegistered
from chassis.outbox import registration
from chassis.outbox.registration import RegistrationCheck
from fanout.compose.registry_proxy import QUESTION, READ
from schemas import Event
from schemas.files import versions_of

ROOT = Path(__file__).parents[2]
SOURCES = sorted(file for room in ("chassis", "services", "schemas") for file in (ROOT / room).rglob("*.py"))
REGISTERS = re.compile(
    r"register_schema|SchemaRegistryClient|auto\.register|AvroSerializer|confluent_kafka\.schema_registry"
)
REQUEST = re.compile(r'_ask\(\s*"(?P<method>[A-Z]+)",\s*(?P<path>f?"[^"]*"|\w+)')


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_service_has_a_client_that_registers(file: Path) -> None:
    text = file.read_text()
    assert not REGISTERS.search(text)
    is_client = file == ROOT / "chassis/events/registry.py"
    assert is_client or not re.search(r"/versions|/subjects", text), (
        "only the registry's client asks the registry"
    )


def test_the_one_post_to_the_registry_is_a_look_up() -> None:
    text = (ROOT / "chassis/events/registry.py").read_text()
    assert text.count("_http.request(") == 1 and not re.search(r"_http\.(post|put|patch|delete)", text)
    asked = [(match["method"], match["path"]) for match in REQUEST.finditer(text)]
    assert len(asked) == text.count("self._ask(") == 4
    assert {method for method, _ in asked} == {"GET", "POST"}
    assert [path for method, path in asked if method == "POST"] == ['f"/subjects/{subject}"']


@pytest.mark.parametrize(
    "path",
    [
        "/schemas/ids/7",
        "/schemas/ids/7/subjects?deleted=true",
        "/subjects/orders-fanout.OrderPlaced/versions/2",
        "/subjects",
    ],
)
def test_the_read_only_proxy_passes_what_the_client_asks(path: str) -> None:
    assert READ.fullmatch(f"/apis/ccompat/v7{path}")
    assert QUESTION.fullmatch("/apis/ccompat/v7/subjects/orders-fanout.OrderPlaced")
    assert not QUESTION.fullmatch("/apis/ccompat/v7/subjects/orders-fanout.OrderPlaced/versions")


class Registering:
    """A registry that has what is not in `missing`; `away` makes it unreachable for that many questions."""

    def __init__(self, *missing: str, away: int = 0) -> None:
        self.missing = set(missing)
        self.away = away
        self.asked: list[str] = []

    async def schema_id(self, event_type: type[Event], version: int) -> int:
        name = f"{event_type.NAME} v{version}"
        self.asked.append(name)
        if self.away:
            self.away -= 1
            raise InfrastructureFailure("registry away")
        if name in self.missing:
            raise SchemaNotRegistered(f"{name} is not registered: run `fanout setup`")
        return 1


async def reported(check: RegistrationCheck, missing: Sequence[str]) -> None:
    async with asyncio.timeout(5):
        while list(check.missing) != [f"{name} is not registered: run `fanout setup`" for name in missing]:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "RETRY_SECONDS", 0.01)


async def test_what_is_missing_is_reported_until_it_is_registered() -> None:
    registry = Registering("StockReserved v1", "StockRejected v1")
    check = RegistrationCheck("inventory", registry)  # type: ignore[arg-type]
    running = asyncio.create_task(check.run(asyncio.Event()))
    await reported(check, ["StockRejected v1", "StockReserved v1"])
    registry.missing.remove("StockReserved v1")
    await reported(check, ["StockRejected v1"])
    registry.missing.clear()
    await asyncio.wait_for(running, 5)
    assert check.missing == []


async def test_every_version_of_the_services_own_events_is_looked_up() -> None:
    from schemas import EVENTS

    registry = Registering()
    await RegistrationCheck("orders", registry).run(asyncio.Event())  # type: ignore[arg-type]
    assert sorted(registry.asked) == sorted(
        f"{event_type.NAME} v{version}"
        for event_type in EVENTS
        if event_type.TOPIC == "orders"
        for version, _ in versions_of(event_type)
    )


async def test_a_registry_that_is_away_is_not_reported_as_a_missing_schema() -> None:
    registry = Registering("StockReserved v1", away=30)
    check = RegistrationCheck("inventory", registry)  # type: ignore[arg-type]
    running = asyncio.create_task(check.run(stop := asyncio.Event()))
    while registry.away:
        assert check.missing == ()
        await asyncio.sleep(0.001)
    await reported(check, ["StockReserved v1"])
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_a_service_that_publishes_nothing_asks_nothing() -> None:
    registry = Registering()
    await RegistrationCheck(None, registry).run(asyncio.Event())  # type: ignore[arg-type]
    assert registry.asked == []
