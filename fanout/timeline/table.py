"""An order's history as a table: each line says what, by whom, when, and who heard it after how long."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fanout.timeline.history import Heard, Said, Step


def show(order_id: object, steps: Sequence[Step], console: Console) -> None:
    console.print(
        f"order {order_id}, placed {steps[0].said.created_at:%Y-%m-%d %H:%M:%S} UTC", highlight=False
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("after", justify="right", no_wrap=True)
    for heading in ("service", "said", "applied by"):
        table.add_column(heading)
    table.add_column("ms later", justify="right")
    for step in steps:
        after = _milliseconds(steps[0].said.created_at, step.said.created_at)
        table.add_row(f"{after} ms", step.said.service, step.said.type, *_audience(step))
    console.print(table)


def _audience(step: Step) -> tuple[str, str]:
    """Names and delays, a line for each listener."""
    names = [_name(hearing) for hearing in step.heard] + list(step.waiting)
    delays = [str(_delay(step.said, hearing)) for hearing in step.heard] + ["not yet"] * len(step.waiting)
    return "\n".join(names), "\n".join(delays)


def _name(hearing: Heard) -> str:
    return hearing.consumer if hearing.status == "applied" else f"{hearing.consumer} ({hearing.status})"


def as_json(order_id: object, steps: Iterable[Step]) -> dict[str, Any]:
    return {"order_id": str(order_id), "events": [_step_json(step) for step in steps]}


def _step_json(step: Step) -> dict[str, Any]:
    said = step.said
    return {
        "service": said.service,
        "type": said.type,
        "version": said.version,
        "event_id": str(said.event_id),
        "created_at": said.created_at.isoformat(),
        "published_at": said.published_at and said.published_at.isoformat(),
        "heard": [
            {"consumer": hearing.consumer, "status": hearing.status, "milliseconds": _delay(said, hearing)}
            for hearing in step.heard
        ],
        "waiting": list(step.waiting),
    }


def _delay(said: Said, hearing: Heard) -> int:
    return _milliseconds(said.created_at, hearing.received_at)


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)
