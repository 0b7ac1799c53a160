"""A histogram of batches shows what a histogram of the client library shows."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from chassis.telemetry.histograms import BatchHistogram

BOUNDS = (0.1, 1, 10)
VALUES = (0.05, 0.1, 0.5, 1.5, 10, 11, 0.0)


@pytest.fixture
def histogram() -> Iterator[BatchHistogram]:
    made = BatchHistogram("waited_seconds", "Time", ["service"], BOUNDS)
    yield made
    REGISTRY.unregister(made)


def samples(collector: Collector) -> list[tuple[str, dict[str, str], float]]:
    found = [
        (each.name, each.labels, each.value) for family in collector.collect() for each in family.samples
    ]
    return [each for each in found if not each[0].endswith("_created")]


def test_batches_are_counted_as_the_library_counts_single_values(histogram: BatchHistogram) -> None:
    single = Histogram("waited_seconds", "Time", ["service"], buckets=BOUNDS, registry=None)
    for value in VALUES:
        single.labels("fraud").observe(value)
    histogram.observe(("fraud",), VALUES[:3])
    histogram.observe(("fraud",), VALUES[3:])
    assert samples(histogram) == samples(single)


def test_an_exemplar_is_shown_in_the_bucket_of_the_last_value(histogram: BatchHistogram) -> None:
    registry = CollectorRegistry()
    registry.register(histogram)
    histogram.observe(("fraud",), [0.05, 0.5], {"trace_id": "ab"})
    histogram.observe(("fraud",), [], {"trace_id": "cd"})
    lines = generate_latest(registry).decode().splitlines()  # type: ignore[no-untyped-call]
    assert [line.split(" # ")[1].split()[:2] for line in lines if " # " in line] == [
        ['{trace_id="ab"}', "0.5"]
    ]
    assert any('le="1.0"' in line and " # " in line for line in lines)
