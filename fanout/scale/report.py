"""Which worker reads what, a line each."""

from collections.abc import Sequence

from fanout.scale.group import Share

IDLE = "idle: more workers than partitions"
ABSENT = "not in the group: fanout status"


def lines(shares: Sequence[Share], workers: Sequence[str]) -> list[str]:
    """`workers` are those that should be there; one that Kafka does not know of is shown too."""
    said = {share.worker: _told(share) for share in shares}
    names = [*workers, *(name for name in said if name not in workers)]
    width = max(map(len, names))
    return [f"{name:<{width}}  {said.get(name, ABSENT)}" for name in names]


def _told(share: Share) -> str:
    parts = [f"{topic} {','.join(map(str, partitions))}" for topic, partitions in share.topics.items()]
    return " · ".join(parts) or IDLE
