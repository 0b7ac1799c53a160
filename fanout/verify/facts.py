"""Judges the rules across services. Facts are read as hashes of order ids, 8 bytes each, and compared part by part.

Only the ids of orders that break a rule, or that occur twice, are read.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from fanout.databases import at_once
from fanout.verify.invariants import RULES, Query, Rule, Verdict, breaking, missing_facts, of_kind
from fanout.verify.records import Double
from fanout.verify.snapshot import Pass, Snapshot

PARTS = 16
NAMED_AT_ONCE = 50_000
HASH_BYTES = 8

Hashes = Sequence[bytes]
"""Hashes of the orders of one fact, divided by the last bits of the hash, 8 bytes each."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule, with hashes of the orders that break it."""

    rule: Rule
    unknown: Sequence[str] = ()
    """Facts that no checks.sql has."""
    broken: set[int] = field(default_factory=set)

    def pending(self, open_orders: Set[int]) -> Set[int]:
        """Returns those that may still fulfil the rule."""
        return self.broken & open_orders if self.rule.may_be_pending else set()


async def judge_all(
    first: Pass, second: Pass, queries: Sequence[Query], open_orders: Set[int]
) -> tuple[list[Verdict], list[Double]]:
    """Returns a verdict for each rule, and the orders that one fact has more than once.

    `open_orders`: hashes of orders with events in flight or parked.
    """
    facts = {query.name for query in of_kind("fact", queries)}
    early = await _hashes(first, queries, {fact for rule in RULES for fact in rule.every})
    late = await _hashes(second, queries, facts)
    judged = [Judged(rule, missing_facts(rule, facts)) for rule in RULES]
    repeated: set[str] = set()
    for part in range(PARTS):
        before = {name: _part(hashes[part]) for name, hashes in early.items()}
        after = {name: _part(hashes[part]) for name, hashes in late.items()}
        repeated |= {
            name for name, hashes in late.items() if len(hashes[part]) > HASH_BYTES * len(after[name])
        }
        for each in judged:
            if not each.unknown:
                each.broken.update(breaking(each.rule, before, after))
    verdicts = [await _verdict(each, first, queries, open_orders) for each in judged]
    return verdicts, await _doubles(second, queries, repeated)


async def _verdict(judged: Judged, first: Pass, queries: Sequence[Query], open_orders: Set[int]) -> Verdict:
    rule = judged.rule
    if judged.unknown or not judged.broken:
        return Verdict(rule.sentence, judged.unknown)
    cause = next(query for query in of_kind("fact", queries) if query.name == rule.every[0])
    names = await order_ids(first[cause.service], _ORDERS_OF_FACT.format(fact=cause.sql), judged.broken)
    pending = judged.pending(open_orders)
    offenders = sorted(names[order] for order in judged.broken - pending)
    return Verdict(rule.sentence, offenders, sorted(names[order] for order in pending))


async def _doubles(second: Pass, queries: Sequence[Query], repeated: Set[str]) -> list[Double]:
    return [
        Double(query.service, query.title, str(row[0]), row[1])
        for query in of_kind("fact", queries)
        if query.name in repeated
        for row in await second[query.service].fetch(_DOUBLES.format(fact=query.sql))
    ]


async def order_ids(snapshot: Snapshot, sql: str, hashes: Iterable[int]) -> dict[int, str]:
    """Returns the order ids with these hashes. `sql` has them as parameter 1 and returns hashes and ids."""
    wanted, names = list(hashes), dict[int, str]()
    for start in range(0, len(wanted), NAMED_AT_ONCE):
        rows = await snapshot.fetch(sql, wanted[start : start + NAMED_AT_ONCE])
        names.update((row[0], row[1]) for row in rows)
    return names


async def _hashes(of_pass: Pass, queries: Sequence[Query], wanted: Set[str]) -> Mapping[str, Hashes]:
    async def of_service(snapshot: Snapshot) -> list[tuple[str, Hashes]]:
        mine = [
            each
            for each in of_kind("fact", queries)
            if each.service == snapshot.service and each.name in wanted
        ]
        return [(query.name, await _of_fact(snapshot, query)) for query in mine]

    found = await at_once(map(of_service, of_pass.values()))
    return {name: hashes for of_database in found for name, hashes in of_database}


async def _of_fact(snapshot: Snapshot, query: Query) -> Hashes:
    parts = {row[0]: row[1] for row in await snapshot.fetch(_HASHES.format(fact=query.sql))}
    return [parts.get(part, b"") for part in range(PARTS)]


def _part(hashes: bytes) -> set[int]:
    numbers = array("q", hashes)
    numbers.byteswap()
    return set(numbers)


_HASH = "hashtextextended(order_id::text, 0)"
_HASHES = f"""
    SELECT (hash & {PARTS - 1})::int, string_agg(int8send(hash), ''::bytea)
    FROM (SELECT {_HASH} AS hash FROM ({{fact}}) AS fact (order_id)) AS hashes GROUP BY 1
"""
_DOUBLES = "SELECT order_id, count(*) FROM ({fact}) AS fact (order_id) GROUP BY 1 HAVING count(*) > 1"
_ORDERS_OF_FACT = f"""
    SELECT DISTINCT {_HASH}, order_id::text FROM ({{fact}}) AS fact (order_id) WHERE {_HASH} = ANY($1::bigint[])
"""
