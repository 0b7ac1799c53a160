"""Events that Kafka has and the outbox of their service lacks: its database was restored from an older backup."""

from collections.abc import Iterable, Iterator

from chassis.service import UnknownService, load
from fanout.console import counted, some
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.recover.missing import Comparison, Servers, TooManyHoles, compare
from fanout.running import Addresses

MOST_RECORDS = 20_000
"""Records that are read without being asked to: offsets that the outbox does not have, so usually none."""


async def unknown_to_outbox(around: Surroundings) -> list[Finding]:
    if around.addresses is None:
        return []
    found = []
    for service, topic in _topics(around.addresses.databases):
        try:
            most = None if around.deep else MOST_RECORDS
            compared = await compare(service, topic, servers_of(around.addresses, service), most)
            found += lacking(service, compared, around)
        except TooManyHoles as error:
            what = f"whether the outbox of {service} has all that Kafka has: {error}"
            found.append(Finding("unasked", "outboxes and Kafka", what, "", "fanout doctor --deep"))
    return found or [Finding("ok", "outboxes and Kafka", "every outbox has what Kafka has of its service")]


def servers_of(addresses: Addresses, service: str) -> Servers:
    return Servers(addresses.databases[service], addresses.broker, addresses.registry_url)


def lacking(service: str, compared: Comparison, around: Surroundings) -> list[Finding]:
    found = []
    if events := compared.to_take_over:
        orders = sorted({each.order_id for each in events})
        stop = "docker compose stop" if around.in_container else "fanout stop"
        found.append(
            Finding(
                "wrong",
                "outboxes and Kafka",
                f"Kafka has {counted(len(events), 'event')} that the outbox of {service} lacks, of orders "
                f"{some(orders, 3)}",
                f"the database of {service} was restored from an older backup; its worker publishes them again, under "
                "other ids, unless it is stopped",
                f"{stop} {service}-worker, then fanout recover {service}; docs/recovery.md",
            )
        )
    if again := compared.said_again:
        found.append(
            Finding(
                "watch",
                "outboxes and Kafka",
                f"{counted(len(again), 'event')} of {service} were published a second time under other ids",
                "after a restore its worker ran before they were taken over; consumers may have acted on both",
                f"fanout recover {service} --dry-run names them",
            )
        )
    return found


def _topics(services: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields each service that publishes events, and its topic; not one whose folder is gone."""
    for name in services:
        try:
            if topic := load(name).topic:
                yield name, topic
        except UnknownService:
            continue
