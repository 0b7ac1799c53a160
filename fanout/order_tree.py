"""Arranges the events of one order as a tree: which event, received by which consumer, led to which next event.

No event names its cause. It is the last event of the order that its service had received when it published, if both
have the same trace (W3C traceparent); an event without such a cause was published for a request.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from fanout.order_timeline import PublishedEvent, ReceivedEvent, Step, milliseconds, milliseconds_later


@dataclass(slots=True)
class Hop:
    """An event at one of its consumers, and the events that this one published because of it."""

    event: PublishedEvent
    received: ReceivedEvent
    led_to: list["Node"] = field(default_factory=list)

    @property
    def left_outbox_at(self) -> datetime:
        """When the relay had the delivery report, or earlier: the consumer may have been faster than the report."""
        return min(self.event.published_at or self.received.received_at, self.received.received_at)

    @property
    def later(self) -> int:
        return milliseconds_later(self.event, self.received)

    @property
    def in_outbox(self) -> int:
        return milliseconds(self.event.created_at, self.left_outbox_at)

    @property
    def in_kafka(self) -> int:
        """Returns the rest of `later`, so that the rounded parts add up to it."""
        return self.later - self.in_outbox


@dataclass(slots=True)
class Node:
    """`waiting` are the consumers that have not received the event yet."""

    event: PublishedEvent
    hops: Sequence[Hop]
    waiting: Sequence[str]


def arranged(steps: Sequence[Step]) -> list[Node]:
    """Returns the events without a cause, the oldest first, with all that followed from them."""
    nodes = [
        Node(step.event, [Hop(step.event, received) for received in step.received], step.waiting)
        for step in steps
    ]
    hops = [hop for node in nodes for hop in node.hops]
    roots: list[Node] = []
    for node in nodes:
        cause = _cause(node.event, hops)
        (roots if cause is None else cause.led_to).append(node)
    return roots


def _cause(event: PublishedEvent, hops: Sequence[Hop]) -> Hop | None:
    candidates = [
        hop
        for hop in hops
        if hop.received.consumer == event.service
        and hop.received.status == "applied"
        and hop.event.trace_id == event.trace_id
        and hop.event.created_at < event.created_at
        and hop.received.received_at <= event.created_at
    ]
    return max(candidates, key=lambda hop: hop.received.received_at, default=None)


def show(order_id: object, roots: Sequence[Node], console: Console) -> None:
    start = roots[0].event.created_at
    console.print(f"order {order_id}, placed {start:%Y-%m-%d %H:%M:%S} UTC", highlight=False)
    for root in roots:
        tree = Tree(_title(root, start), guide_style="dim")
        _grow(tree, root, start)
        console.print(tree, highlight=False)


def _grow(tree: Tree, node: Node, start: datetime) -> None:
    for hop in node.hops:
        branch = tree.add(_arrival(hop))
        for line in _troubles(hop):
            branch.add(Text(line, "red" if hop.received.status == "parked" else "yellow"))
        for following in hop.led_to:
            _grow(branch.add(_title(following, start)), following, start)
    for consumer in node.waiting:
        tree.add(Text(f"{consumer}: not yet", "yellow"))


def _title(node: Node, start: datetime) -> Text:
    text = Text.assemble(
        (node.event.type, "bold"),
        f" by {node.event.service}, at {milliseconds(start, node.event.created_at)} ms",
    )
    if node.event.error:
        text.append(f", cannot be sent: {node.event.error}: fanout outbox ls", "red")
    elif node.event.published_at is None:
        text.append(", still in the outbox", "yellow")
    return text


def _arrival(hop: Hop) -> Text:
    then = "then parked until redriven" if hop.received.redrive else f"Kafka {hop.in_kafka}"
    times = f"{hop.later} ms later (outbox {hop.in_outbox}, {then})"
    status = " (parked)" if hop.received.status == "parked" else ""
    return Text.assemble((f"{hop.received.consumer}{status}", "red" if status else "green"), f"  {times}")


def _troubles(hop: Hop) -> Iterator[str]:
    for parked in hop.received.parked:
        tries = "1 try" if parked.attempts == 1 else f"{parked.attempts} tries"
        waited = milliseconds(hop.left_outbox_at, parked.last_failed_at)
        yield f"parked {waited} ms after it was sent, {tries}: {parked.reason}"
    if hop.received.redrive:
        yield f"redriven {hop.received.redrive} times" if hop.received.redrive > 1 else "redriven once"


def as_json(order_id: object, roots: Sequence[Node]) -> dict[str, Any]:
    def tree(node: Node) -> dict[str, Any]:
        return {
            "event_id": node.event.event_id,
            "type": node.event.type,
            "service": node.event.service,
            "created_at": node.event.created_at,
            "published_at": node.event.published_at,
            "error": node.event.error,
            "received": [hop_tree(hop) for hop in node.hops],
            "waiting": list(node.waiting),
        }

    def hop_tree(hop: Hop) -> dict[str, Any]:
        return {
            "consumer": hop.received.consumer,
            "status": hop.received.status,
            "milliseconds_in_outbox": hop.in_outbox,
            "milliseconds_in_kafka": hop.in_kafka,
            "redrives": hop.received.redrive,
            "parked": [
                {"at": each.last_failed_at, "attempts": each.attempts, "reason": each.reason}
                for each in hop.received.parked
            ],
            "led_to": [tree(node) for node in hop.led_to],
        }

    return {"order_id": order_id, "events": [tree(root) for root in roots]}
