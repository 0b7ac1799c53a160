"""Runs schemathesis against one API: a real process on a real database, asked as its OpenAPI document says."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx

from chassis.database import Database
from fanout.repository import REPOSITORY
from services.analytics.service import service as analytics
from services.payments.service import service as payments
from tests.support import sample_events
from tests.support.dead_letter_service import many, parked, store
from tests.support.order_bodies import ORDER
from tests.support.principals import CUSTOMER, OPERATOR, PUBLIC_KEY
from tests.support.recording_service import confirmed

PATIENCE_SECONDS = 30
Values = Mapping[str, Sequence[str | int]]
"""What exists, by the parameter that names it, such as `path.order_id`."""


@dataclass(frozen=True)
class Outcome:
    cases: int
    failures: int
    output: str


async def check(service: str, database: Database, folder: Path, examples: int, seed: int) -> Outcome:
    """Asks the API of this service, with so many examples of each operation in each phase.

    The phases are examples, coverage, fuzzing and stateful; the checks are all that schemathesis has and our own.
    """
    headers, prepare = SERVICES.get(service, (OPERATOR, _nothing))
    async with served(service, database, folder) as url:
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            known = await prepare(database, client)
        meanwhile = asyncio.create_task(_more_dead_letters(database)) if service == "dead_letters" else None
        configuration = folder / f"{service}.toml"
        configuration.write_text(configured(known, headers["Authorization"].removeprefix("Bearer ")))
        report = folder / f"{service}.json"
        arguments = ["run", f"{url}/openapi.json", "--checks", "all", "--continue-on-failure", "--no-color"]
        arguments += ["--seed", str(seed), "--generation-database", "none", "--max-examples", str(examples)]
        arguments += ["--report", "json", "--report-json-path", str(report)]
        command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(configuration)]
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, cwd=folder, stdout=PIPE, stderr=STDOUT
        )
        output, _ = await process.communicate()
        if meanwhile:
            meanwhile.cancel()
            await asyncio.wait([meanwhile])
    if not report.exists():
        raise AssertionError(output.decode())
    found = json.loads(report.read_text())
    failures = found["test_cases"]["unique_failures"] + len(found["errors"]) + (process.returncode != 0)
    return Outcome(found["test_cases"]["generated"], failures, output.decode())


@asynccontextmanager
async def served(service: str, database: Database, folder: Path) -> AsyncIterator[str]:
    """Yields the URL of an API process of its own. It must not have logged a bug when it ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database_url = database.engine.url.render_as_string(hide_password=False)
    settings = {"DATABASE_URL": database_url, "HTTP_PORT": str(port), "TOKEN_PUBLIC_KEY": PUBLIC_KEY}
    environment = os.environ | {f"FANOUT_{name}": value for name, value in settings.items()}
    log = folder / f"{service}.log"
    with log.open("w") as file:
        command = (sys.executable, "-m", "chassis", "api", service)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _until_ready(url, process)
        yield url
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    bugs = [line for line in lines if line["level"] not in ("info", "warning")]
    assert not bugs, bugs[:3]


async def _until_ready(url: str, process: Process) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    async with httpx.AsyncClient() as client:
        while monotonic() < deadline and process.returncode is None:
            try:
                if (await client.get(f"{url}/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"the API at {url} does not start")


def configured(known: Values, token: str) -> str:
    """Returns schemathesis.toml: the token, what exists, and which checks are narrowed for which reason."""
    hooks = Path(__file__).with_name("schemathesis_hooks.py")
    lines = [
        f"hooks = {json.dumps(str(hooks))}",
        "[auth.openapi.token]",
        f"bearer = {json.dumps(token)}",
        # Relations between fields are no matter of JSON Schema: `accepts_what_the_schema_allows` knows all of them.
        "[checks.positive_data_acceptance]",
        'expected-statuses = ["2xx", "401", "403", "404", "409", "422"]',
    ]
    for parameter, values in known.items():
        lines += [f'[dictionaries."{parameter}"]', f"values = {json.dumps(list(values))}"]
    lines += ["[parameters]"]
    lines += [f'"{each}" = {{ dictionary = "{each}", probability = 0.5 }}' for each in known]
    return "\n".join(lines) + "\n"


async def _orders(_: Database, client: httpx.AsyncClient) -> Values:
    placed = [(await client.post("/orders", json=ORDER)).json()["order_id"] for _ in range(20)]
    products = [each["product_id"] for each in (await client.get("/products")).json()]
    return {
        "path.order_id": [*placed, placed[0].upper()],
        "body.currency": ["EUR"],
        "body.card_token": ["tok_visa"],
        "body.lines[*].product_id": products,
    }


async def _payments(database: Database, _: httpx.AsyncClient) -> Values:
    orders = [str(uuid4()) for _ in range(300)]
    placed = [sample_events.order_placed(order_id, card_token=None) for order_id in orders]
    await sample_events.deliver(database, payments, *placed)
    return {
        "path.payment_or_order_id": orders,
        "body.order_id": orders,
        "body.amount_cents": [1000],
        "body.currency": ["EUR"],
    }


async def _dead_letters(database: Database, _: httpx.AsyncClient) -> Values:
    await store(database, *many(300))
    return {"path.dead_letter_id": range(1, 301)}


async def _more_dead_letters(database: Database) -> None:
    """Parks more and more, because schemathesis soon discards everything."""
    for number in count(1000, 20):
        new = range(number, number + 20)
        await store(database, *(parked(confirmed(f"order-{each}", each), each) for each in new))
        await asyncio.sleep(0.3)


async def _analytics(database: Database, _: httpx.AsyncClient) -> Values:
    for number in range(20):
        placed = sample_events.order_placed(f"order-{number}", {"mug": 1}, number)
        confirmed = sample_events.order_confirmed(f"order-{number}", number + 1)
        await sample_events.deliver(database, analytics, placed, confirmed)
    return {"query.since": ["2026-03-01T11:00:00Z"], "query.until": ["2026-03-01T13:00:00Z"]}


async def _nothing(_: Database, __: httpx.AsyncClient) -> Values:
    return {}


SERVICES: Mapping[str, tuple[dict[str, str], Callable[[Database, httpx.AsyncClient], Awaitable[Values]]]] = {
    "orders": (CUSTOMER, _orders),
    "payments": (CUSTOMER, _payments),
    "dead_letters": (OPERATOR, _dead_letters),
    "analytics": (OPERATOR, _analytics),
}
"""Who asks, and what exists before; a service that is not here is asked by an operator, with no rows."""
