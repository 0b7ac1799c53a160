"""Further listeners of payments on the side of the events: `python -m fanout.compare.listeners COUNT SECONDS`.

Each reads the topic by itself from its end on, takes so many seconds for a payment and then prints a line with the
order's id and the time. They join no consumer group, so nothing of them stays in Kafka.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import TopicPartition

from fanout.compare.child import child
from fanout.kafka_reader import reader
from fanout.running import running

TOPIC, TYPE = "payments", b"PaymentProcessed"
READY = "ready"
POLL_SECONDS = 0.5


@contextmanager
def kafka_listeners(count: int, seconds: float, home: str, folder: Path) -> Iterator[Path]:
    """Runs so many listeners in one process until the block ends; yields the file that they print to."""
    printed = folder / f"listeners-{count}.log"
    if not count:
        printed.touch()
        yield printed
        return
    command = [sys.executable, "-m", __name__, str(count), str(seconds)]

    def is_ready() -> bool:
        return printed.read_text().count(READY) == count

    with child("listeners", command, {"FANOUT_HOME": home}, printed, is_ready):
        yield printed


def taken_by_all(printed: Path, count: int) -> dict[str, float]:
    """Returns, for each order that every listener has taken, when the last one had; nothing if there are none."""
    times: dict[str, list[float]] = {}
    for line in printed.read_text().splitlines():
        order_id, _, at = line.partition(" ")
        if at:
            times.setdefault(order_id, []).append(float(at))
    return {order_id: max(each) for order_id, each in times.items() if len(each) == count}


def main() -> None:
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    threads = [threading.Thread(target=listen, args=(seconds,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def listen(seconds: float) -> None:
    with reader(running().broker) as consumer:
        partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        ends = [
            (number, consumer.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=10)[1])
            for number in partitions
        ]
        consumer.assign([TopicPartition(TOPIC, number, end) for number, end in ends])
        _print(READY)
        while True:
            message = consumer.poll(POLL_SECONDS)
            if message is None or message.error() or ("ce_type", TYPE) not in (message.headers() or []):
                continue
            time.sleep(seconds)
            _print(f"{(message.key() or b'').decode()} {time.time():.6f}")


def _print(line: str) -> None:
    """Writes a whole line at once: the threads share the file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
