"""From where to where a replay reads, decided before anything is touched; or why there can be none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from chassis.service import Service
from fanout.errors import BadUsage
from fanout.kafka_reader import record_ends
from fanout.replay.history import Extent, Offsets, Place, committed, complete_since, extents, offsets_at


class Group(NamedTuple):
    """A service as Kafka knows it."""

    name: str
    topics: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """`since`: what a read model will then know of; None if everything."""

    starts: Offsets
    ends: Offsets
    since: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.ends[place] - start for place, start in self.starts.items())

    def done(self, positions: Offsets) -> int:
        return sum(
            min(max(positions.get(place, start), start), self.ends[place]) - start
            for place, start in self.starts.items()
        )


def require_history(service: Service) -> None:
    if service.dead_letter_handler is not None:
        raise BadUsage(
            f"{service.name} has nothing to replay: it files the dead letters of all topics, and people's decisions "
            "on them, which no topic holds"
        )
    if not service.handlers:
        raise BadUsage(f"{service.name} has nothing to replay: it listens to no event")


def of_read_model(
    admin: AdminClient, group: Group, asked: datetime | None = None, accept_gap: bool = False
) -> Plan:
    """Refuses to rebuild from a history with a gap, unless that is accepted: then it begins after it, everywhere."""
    found = extents(admin, group.topics)
    complete = complete_since(found)
    since = asked
    if complete and (asked is None or asked < complete):
        if not accept_gap:
            raise BadUsage(
                f"Kafka has forgotten what {group.name} would need: its history is complete since {told(complete)} "
                "only; --yes rebuilds from there on"
            )
        since = complete
    starts = offsets_at(admin, found, since) if since else {place: of.start for place, of in found.items()}
    return Plan(starts, _ends(found), since)


def of_effects(
    admin: AdminClient, group: Group, asked: datetime | None = None, receipts_since: datetime | None = None
) -> Plan:
    """Never moves a group forward. Refuses what the inbox no longer knows: it would be applied a second time."""
    found = extents(admin, group.topics)
    reached = committed(admin, group.name)
    wanted = offsets_at(admin, found, asked) if asked else {}
    starts = {
        place: min(wanted.get(place, of.start), max(reached.get(place, 0), of.start))
        for place, of in found.items()
    }
    if receipts_since:
        forgotten = offsets_at(admin, found, receipts_since)
        if any(start < min(forgotten[place], reached.get(place, 0)) for place, start in starts.items()):
            raise BadUsage(
                f"{group.name} has forgotten its receipts from before {told(receipts_since)}, and Kafka still holds "
                f"older events, which would be applied again: --from {told(receipts_since)} or later"
            )
    return Plan(starts, _ends(found))


def without_control_records(consumer: Consumer, plan: Plan) -> Plan:
    """Ends every partition after its last record: a group never gets beyond it, and a replay would wait for ever."""
    spans = {place: (start, plan.ends[place]) for place, start in plan.starts.items()}
    return replace(plan, ends=record_ends(consumer, spans))


def told(moment: datetime) -> str:
    """To the second, not earlier than the moment, as `--from` takes it."""
    whole = moment.astimezone(UTC) + timedelta(microseconds=999_999)
    return whole.strftime("%Y-%m-%dT%H:%M:%SZ")


def _ends(found: Mapping[Place, Extent]) -> Offsets:
    return {place: extent.end for place, extent in found.items()}
