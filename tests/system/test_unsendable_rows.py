"""A row that cannot be sent: orders go on, everybody who asks is told, and an operator decides."""

import json
from uuid import uuid4

from tests.support.system import System, until

GONE = "orders.fraud.gone"


async def test_a_row_for_a_topic_that_is_gone_is_named_and_discarded(system: System) -> None:
    await system.settled()
    async with system.connect("orders") as db:
        insert = "INSERT INTO outbox (event_id, topic, key, headers) VALUES ($1, $2, 'k', '[]') RETURNING id"
        row_id = await db.fetchval(insert, uuid4(), GONE)
    await system.until_status(await system.order(), "shipped", seconds=60)

    async def readiness() -> dict[str, object]:
        answer = await system.http.get(f"{system.stack.addresses.workers['orders']}/health/ready")
        assert answer.status_code == 200
        return dict(answer.json()["relay"])

    async def is_shown() -> bool:
        return (await readiness())["set_aside"] == 1

    await until(is_shown)
    verdict = system.stack.fanout("verify")
    assert verdict.returncode == 1
    assert (
        f"row {row_id} of the outbox of orders" in verdict.stdout
        and f"Kafka has no topic {GONE}" in verdict.stdout
    )
    relays = json.loads(await system.fanout("lag", "--json"))["relays"]
    assert [each["set_aside"] for each in relays if each["service"] == "orders"] == [1]
    assert f"topic: {GONE}" in await system.fanout("outbox", "show", "orders", str(row_id))
    await system.fanout("outbox", "retry", "orders", str(row_id))
    refused_again = "SELECT 1 FROM outbox WHERE id = $1 AND set_aside_at > now() - interval '9 s'"
    await until(lambda: system.query("orders", refused_again, row_id))
    assert "discarded: 1 row" in await system.fanout(
        "outbox", "discard", "orders", str(row_id), "--why", "nobody reads that topic"
    )
    assert "lost 0, applied twice 0" in await system.settled()
    assert system.stack.fanout("outbox", "discard", "orders", str(row_id), "--why", "again").returncode == 1
