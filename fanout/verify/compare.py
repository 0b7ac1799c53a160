"""Compares the receipts of every consumer with the outboxes: as sums of ranges, and one by one where they differ.

So memory holds the sums of all ranges and the events of one, whatever the number of events.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from fanout.databases import at_once
from fanout.verify import sums
from fanout.verify.ranges import GREATEST, IdRange, all_ids, merged
from fanout.verify.reconcile import ConsumerCounts, partition_of, subscribed
from fanout.verify.records import Partition, Published, ReceiptSum, Slice
from fanout.verify.snapshot import Passes

PARTS = 256
"""The time of all events is divided into so many ranges."""
SPLIT = 32
FETCHED = 20_000
"""A range with more events than this is divided further before it is looked at event by event."""

Tell = Callable[[str], None]


class Lost(NamedTuple):
    """Lost events of one consumer."""

    consumer: str
    events: Sequence[Published]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of all events that has to be read again: ids from `first` on, and rows of each outbox from `rows` on."""

    first: int
    rows: Mapping[str, int]


@dataclass(slots=True)
class Sums:
    """The sums of outboxes, and of receipts by consumer, for the same ranges."""

    ranges: Sequence[IdRange]
    slices: Mapping[IdRange, list[Slice]]
    receipts: Mapping[str, Mapping[IdRange, ReceiptSum]]

    def size(self, each: IdRange) -> int:
        receipts = (of_consumer.get(each, ReceiptSum()).receipts for of_consumer in self.receipts.values())
        return max(sum(found.events for found in self.slices[each]), *receipts)


UnclearRange = tuple[IdRange, list[ConsumerCounts]]
"""A range of event ids, and the consumers whose receipts add up to something else there than the outboxes."""
Unclear = Sequence[UnclearRange]


@dataclass(slots=True)
class Comparison:
    """Compares what two passes found, and adds it to the counts of the consumers."""

    passes: Passes
    consumer_counts: Sequence[ConsumerCounts]
    tell: Tell = lambda text: None
    unsettled: Window | None = None
    """What has to be read again to see whether everything has arrived, if something has not."""
    open_orders: set[int] = field(default_factory=set)
    """Hashes of the orders of events that are in flight and were not looked at one by one."""
    records: Counter[Partition] = field(default_factory=Counter)
    """How many rows of each partition the outboxes have."""
    _waiting: dict[IdRange, set[Slice]] = field(default_factory=dict)

    async def run(self, window: Window | None = None) -> AsyncIterator[Lost]:
        """Yields lost events while it compares everything, or only what is in the window."""
        ranges = await self._ranges(window)
        self.tell(f"adding up the outboxes and receipts of {len(self.passes.first)} databases")
        found = await self._sums(ranges, window)
        events = sum(each.events for slices in found.slices.values() for each in slices)
        self.tell(f"comparing {events} events with the receipts of {len(self.consumer_counts)} consumers")
        for slices in found.slices.values():
            for each in slices:
                if partition := partition_of(each):
                    self.records[partition] += each.events
        unclear = list(self._add_clear(found, self.consumer_counts))
        self.unsettled = _window([*(each for each, _ in unclear), *self._waiting], found)
        async for lost in self._look_closer(found, unclear):
            yield lost
        await self._add_open_orders()

    def _add_clear(self, found: Sums, consumer_counts: Sequence[ConsumerCounts]) -> Iterator[UnclearRange]:
        """Adds ranges whose sums say all; yields the others."""
        for each in found.ranges:
            differing = [counts for counts in consumer_counts if not self._add_sums(found, each, counts)]
            if differing:
                yield each, differing

    def _add_sums(self, found: Sums, each: IdRange, counts: ConsumerCounts) -> bool:
        receipts = found.receipts[counts.state.consumer].get(each, ReceiptSum())
        if each.is_before(counts.since):
            counts.leave_out(receipts)
            return True
        slices = subscribed(found.slices[each], counts.state.subscriptions)
        is_clear = counts.add_sums(slices, receipts)
        if is_clear and slices and not receipts.receipts:
            self._waiting.setdefault(each, set()).update(slices)
        return is_clear

    async def _look_closer(self, found: Sums, unclear: Unclear) -> AsyncIterator[Lost]:
        done = 0
        for group in _groups(unclear, found):
            self.tell(f"looking closer at range {done + 1} of {len(unclear)}")
            done += len(group)
            looked_at = self._divide if len(group) == 1 and found.size(group[0][0]) > FETCHED else self._fetch
            async for lost in looked_at(found, group):
                yield lost

    async def _divide(self, found: Sums, group: Unclear) -> AsyncIterator[Lost]:
        [(whole, consumer_counts)] = group
        ranges = whole.split(SPLIT)
        if len(ranges) == 1:
            raise AssertionError(f"range {whole} has one id and more than {FETCHED} events")
        by_service = _by_service(found.slices[whole])
        slices = await at_once(
            sums.slices_within(self.passes.second[service], whole, ranges, of_service)
            for service, of_service in by_service.items()
        )
        receipts = await self._receipt_sums(ranges, consumer_counts, whole)
        smaller = Sums(ranges, _together(ranges, slices), receipts)
        async for lost in self._look_closer(smaller, list(self._add_clear(smaller, consumer_counts))):
            yield lost

    async def _fetch(self, found: Sums, group: Unclear) -> AsyncIterator[Lost]:
        """Compares adjacent ranges event by event."""
        ranges = [each for each, _ in group]
        whole, firsts = merged(ranges), [each.first for each in ranges]
        rows = _by_service([each for of_range in ranges for each in found.slices[of_range]])
        fetched = await at_once(
            sums.published_in(self.passes.second[service], whole, slices) for service, slices in rows.items()
        )
        published = {event.event_id: event for events in fetched for event in events}

        def ranges_of(counts: ConsumerCounts) -> set[int]:
            return {number for number, (_, consumer_counts) in enumerate(group) if counts in consumer_counts}

        for counts in {
            id(counts): counts for _, consumer_counts in group for counts in consumer_counts
        }.values():
            mine = ranges_of(counts)

            def is_mine(event_id: UUID, mine: set[int] = mine) -> bool:
                return bisect_right(firsts, event_id.int) - 1 in mine

            db = self.passes.first[counts.state.service]
            receipts = await sums.receipts_in(db, counts.state.consumer, whole)
            events = [
                event
                for event in published.values()
                if (event.topic, event.type) in counts.state.subscriptions and is_mine(event.event_id)
            ]
            mine_only = [receipt for receipt in receipts if is_mine(receipt.event_id)]
            if lost := counts.add_events(events, mine_only, published):
                yield Lost(counts.state.consumer, lost)

    async def _ranges(self, window: Window | None) -> list[IdRange]:
        ends = await at_once(snapshot.fetch(_ENDS) for snapshot in self.passes.second.values())
        spread = [row["event_id"] for rows in ends for row in rows]
        if window is None:
            return all_ids(spread, [counts.since for counts in self.consumer_counts if counts.since], PARTS)
        newest = max((event_id.int for event_id in spread if event_id.version == 7), default=0)
        whole = IdRange(window.first, max(newest, window.first))
        return [*whole.split(SPLIT), IdRange(whole.last + 1, GREATEST)]

    async def _sums(self, ranges: Sequence[IdRange], window: Window | None) -> Sums:
        def of_outbox(service: str) -> Coroutine[Any, Any, dict[IdRange, list[Slice]]]:
            first_row = 0 if window is None else window.rows.get(service, 0)
            return sums.outbox_slices(self.passes.second[service], ranges, first_row)

        slices = at_once(of_outbox(service) for service in self.passes.second)
        whole = None if window is None else merged(ranges)
        receipts = self._receipt_sums(ranges, self.consumer_counts, whole)
        found = await at_once((slices, receipts))
        return Sums(ranges, _together(ranges, found[0]), found[1])  # type: ignore[arg-type]

    async def _receipt_sums(
        self,
        ranges: Sequence[IdRange],
        consumer_counts: Sequence[ConsumerCounts],
        whole: IdRange | None = None,
    ) -> dict[str, dict[IdRange, ReceiptSum]]:
        async def of_database(service: str) -> dict[str, dict[IdRange, ReceiptSum]]:
            """One consumer after the other: a connection answers one query at a time."""
            db, names = (
                self.passes.first[service],
                [each.state.consumer for each in consumer_counts if each.state.service == service],
            )
            return {name: await sums.receipt_sums(db, name, ranges, whole) for name in names}

        found = await at_once(
            of_database(service) for service in {counts.state.service for counts in consumer_counts}
        )
        return {consumer: sums for of_service in found for consumer, sums in of_service.items()}

    async def _add_open_orders(self) -> None:
        """Adds the orders of events that are in flight and were never looked at one by one."""
        for each, slices in self._waiting.items():
            by_service = _by_service(slices)
            found = await at_once(
                sums.orders_in(self.passes.second[service], each, of_service)
                for service, of_service in by_service.items()
            )
            self.open_orders.update(*found)


def _groups(unclear: Unclear, found: Sums) -> Iterator[Unclear]:
    """Yields runs of adjacent ranges that can be fetched together."""
    group: list[UnclearRange] = []
    size = 0
    for each, consumer_counts in unclear:
        is_adjacent = group and group[-1][0].timed == each.timed and group[-1][0].last + 1 == each.first
        if group and not (is_adjacent and size + found.size(each) <= FETCHED):
            yield group
            group, size = [], 0
        group.append((each, consumer_counts))
        size += found.size(each)
    if group:
        yield group


def _window(unsettled: Iterable[IdRange], found: Sums) -> Window | None:
    timed = [each.first for each in unsettled if each.timed]
    if not timed:
        return None
    first = min(timed)
    rows: dict[str, int] = {}
    for each, slices in found.slices.items():
        for one in slices:
            if each.first >= first and each.timed:
                rows[one.service] = min(rows.get(one.service, one.first_id), one.first_id)
    return Window(first, rows)


def _together(
    ranges: Sequence[IdRange], slices: Iterable[Mapping[IdRange, list[Slice]]]
) -> dict[IdRange, list[Slice]]:
    found: dict[IdRange, list[Slice]] = {each: [] for each in ranges}
    for of_service in slices:
        for each, some in of_service.items():
            found[each] += some
    return found


def _by_service(slices: Iterable[Slice]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {}
    for each in slices:
        found.setdefault(each.service, []).append(each)
    return found


_ENDS = """
    (SELECT event_id FROM outbox ORDER BY id LIMIT 1) UNION ALL (SELECT event_id FROM outbox ORDER BY id DESC LIMIT 1)
"""
