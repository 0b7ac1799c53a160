"""Shows a measurement of lag: tables for people, a document for scripts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from fanout.console import in_units, table
from fanout.lag.services import Outbox
from fanout.lag.slo import in_words
from fanout.lag.topics import TopicLag, by_topic
from fanout.lag.verdicts import GroupLag
from fanout.outside_groups import EVENT_TOPICS

GROUPS = (
    "group",
    "topic",
    ">messages behind",
    ">seconds behind",
    ">trend",
    ">read in",
    ">headroom",
    "verdict",
)
RELAYS = ("relay", ">rows not yet in Kafka", ">age of the oldest", ">cannot be sent")


def of_groups(groups: Iterable[GroupLag]) -> Table:
    """A redrive or dead-letter topic is shown when something waits in it or was lost."""
    lines = [
        _line(group, lag)
        for group in groups
        for lag in by_topic(group)
        if lag.topic in EVENT_TOPICS or lag.messages or lag.lost
    ]
    return table(GROUPS, lines, unbroken=("group", "topic", "verdict"))


def of_relays(outboxes: Iterable[Outbox]) -> Table:
    return table(
        RELAYS, [(each.service, each.unsent, _age(each.oldest_seconds), each.set_aside) for each in outboxes]
    )


def unreadable(groups: Iterable[GroupLag]) -> Iterator[str]:
    """Yields a sentence for each record at the head of a gap whose headers cannot be read."""
    for topic, partition, offset in _unreadable(groups):
        yield (
            f"{topic}, partition {partition}: the headers of the record at offset {offset} cannot be read, "
            "a consumer may be held up by it"
        )


def lost(groups: Iterable[GroupLag]) -> Iterator[str]:
    """Yields a sentence for each group of whose messages Kafka has deleted some unread."""
    for group in groups:
        for lag in by_topic(group):
            if lag.lost:
                yield f"{group.group}: Kafka has deleted {lag.lost} messages of {lag.topic} before they were read"


def document(groups: Sequence[GroupLag], outboxes: Iterable[Outbox]) -> dict[str, Any]:
    return {
        "groups": [_described(group, lag) for group in groups for lag in by_topic(group)],
        "verdicts": {each.group: each.verdict for each in groups},
        "members": {each.group: each.members for each in groups},
        "unreadable": [
            {"topic": topic, "partition": partition, "offset": offset}
            for topic, partition, offset in _unreadable(groups)
        ],
        "relays": [
            {
                "service": each.service,
                "rows": each.unsent,
                "seconds": each.oldest_seconds,
                "set_aside": each.set_aside,
            }
            for each in outboxes
        ],
    }


def _line(group: GroupLag, lag: TopicLag) -> tuple[object, ...]:
    return (
        f"{group.group} (outside)" if group.outside else group.group,
        lag.topic,
        lag.messages,
        f"{lag.seconds or 0:.1f}",
        "-" if lag.trend is None else f"{lag.trend:+.1f}/s",
        "-" if not lag.drain_seconds else in_units(lag.drain_seconds),
        "-" if lag.margin_seconds is None else in_units(lag.margin_seconds),
        in_words(group.verdict),
    )


def _described(group: GroupLag, lag: TopicLag) -> dict[str, Any]:
    named = (
        "group",
        "topic",
        "messages",
        "seconds",
        "trend",
        "drain_seconds",
        "margin_seconds",
        "lost",
        "outside",
    )
    parts = [
        {key: value for key, value in asdict(each).items() if key not in ("group", "topic")}
        for each in lag.partitions
    ]
    return {name: getattr(lag, name) for name in named} | {"verdict": group.verdict, "partitions": parts}


def _unreadable(groups: Iterable[GroupLag]) -> list[tuple[str, int, int]]:
    return sorted(
        {
            (each.topic, each.partition, each.offset)
            for group in groups
            for each in group.partitions
            if not each.is_readable
        }
    )


def _age(seconds: float | None) -> str:
    """Returns an age with its unit; a relay that has sent everything has no oldest row."""
    return "-" if seconds is None else f"{seconds:.1f} s"
