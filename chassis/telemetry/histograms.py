"""A histogram that takes the values of a whole batch: one at a time, they cost more than some handlers do."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from threading import Lock

from prometheus_client import REGISTRY
from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector

INFINITY = float("inf")


@dataclass(slots=True)
class _Counts:
    """The values of one combination of labels: how many are in each bucket, and their sum."""

    buckets: list[int]
    sum: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


class BatchHistogram(Collector):
    """A Prometheus histogram with a method for many values; `bounds` are the upper bounds of its buckets."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._bounds = (*bounds, INFINITY)
        self._counts: dict[tuple[str, ...], _Counts] = {}
        self._lock = Lock()
        REGISTRY.register(self)

    def observe(
        self, labels: tuple[str, ...], values: Iterable[float], exemplar: Mapping[str, str] | None = None
    ) -> None:
        """Counts the values. The exemplar, labels such as a trace id, is shown in the bucket of the last one."""
        with self._lock:
            counts = self._counts.get(labels) or self._counts.setdefault(
                labels, _Counts([0] * len(self._bounds))
            )
            bucket = value = None
            for value in values:
                bucket = bisect_left(self._bounds, value)
                counts.buckets[bucket] += 1
                counts.sum += value
            if exemplar and bucket is not None and value is not None:
                counts.exemplars[bucket] = Exemplar(dict(exemplar), value, time.time())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        with self._lock:
            for labels, counts in self._counts.items():
                family.add_metric(labels, self._buckets(counts), counts.sum)
        yield family

    def _buckets(self, counts: _Counts) -> Sequence[tuple[str, float] | tuple[str, float, Exemplar]]:
        at_most = accumulate(counts.buckets)
        names = ("+Inf" if bound == INFINITY else str(float(bound)) for bound in self._bounds)
        return [
            (name, count, counts.exemplars[bucket]) if bucket in counts.exemplars else (name, count)
            for bucket, (name, count) in enumerate(zip(names, at_most, strict=True))
        ]

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yields the metric without values, by which Prometheus' registry refuses a second metric of this name."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)
