"""`python -m tests.benchmarks.versions`: what it costs to decode an event of an older version, against the current one.

For each event: the current version, an older one without the fields that have a default and with one that was dropped
since, and the same by fastavro's own resolution of the two schemas, which the chassis did before.
"""

import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from chassis.events import avro
from chassis.events.writer_schema import writer_schema
from schemas import EVENTS, Event
from schemas.files import parsed_schema, versions_of
from tests.support.handling import example

ROUNDS, CALLS = 7, 3_000


def main() -> None:
    print(f"{'event':<18}{'current µs':>12}{'older µs':>10}{'ratio':>7}{'fastavro µs':>13}{'ratio':>7}")
    worst = max(measure(event_type) for event_type in EVENTS)
    print(f"older ÷ current: at most {worst:.2f}")


def measure(event_type: type[Event]) -> float:
    """Prints the figures of one event, and returns older ÷ current."""
    writer, reader = older(event_type), parsed_schema(event_type)
    current, before = avro.frame(1, avro.encode(example(event_type))), written(event_type, writer)
    now = microseconds(lambda: avro._read(current, event_type, reader))
    then = microseconds(lambda: avro._read(before, event_type, writer))
    resolved = microseconds(lambda: resolve(before, event_type, writer, reader))
    print(
        f"{event_type.NAME:<18}{now:>12.1f}{then:>10.1f}{then / now:>7.2f}{resolved:>13.1f}{resolved / now:>7.2f}"
    )
    return then / now


def older(event_type: type[Event]) -> dict[str, Any]:
    """Returns a schema as an earlier version might have been: the newest but one, if there is one."""
    versions = versions_of(event_type)
    schema = json.loads(versions[-2 if len(versions) > 1 else -1][1])
    schema["fields"] = [field for field in schema["fields"] if "default" not in field]
    schema["fields"].insert(1, {"name": "dropped", "type": ["null", "string"], "default": None})
    return writer_schema(json.dumps(schema))


def written(event_type: type[Event], writer: dict[str, Any]) -> bytes:
    payload = BytesIO()
    schemaless_writer(payload, writer, example(event_type).to_record() | {"dropped": "so far"})
    return avro.frame(2, payload.getvalue())


def resolve(value: bytes, event_type: type[Event], writer: dict[str, Any], reader: dict[str, Any]) -> Event:
    stream = BytesIO(value)
    stream.seek(avro.FRAME.size)
    record: Any = schemaless_reader(stream, writer, reader)
    return event_type.from_record(record)


def microseconds(call: Callable[[], object]) -> float:
    """Returns the time of one call, in the fastest of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - began)
    return best / CALLS * 1e6


if __name__ == "__main__":
    main()
