"""The goal that nothing waits longer than a span to be processed, judged for scripts."""

from collections.abc import Sequence
from dataclasses import dataclass

from fanout.console import counted
from fanout.lag.verdicts import GroupLag

WITHIN, BEYOND, UNKNOWN = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    exit_code: int
    sentence: str


def judged(groups: Sequence[GroupLag], goal_seconds: float) -> Judgement:
    """A group that reads its history again is left out: what it has not read is old on purpose."""
    replaying = [each.group for each in groups if each.verdict == "replaying"]
    besides = f"; left out, because of a replay: {', '.join(replaying)}" if replaying else ""
    counting = [each for each in groups if each.verdict != "replaying"]
    losing = [each for each in counting if each.verdict == "losing_data"]
    late = [each for each in counting if (each.seconds or 0.0) > goal_seconds]
    silent = [
        each for each in counting if any(part.messages and part.seconds is None for part in each.partitions)
    ]
    if losing or late:
        worst = sorted(
            {each.group: each for each in (*losing, *late)}.values(), key=lambda each: -(each.seconds or 0)
        )
        return Judgement(BEYOND, f"beyond {goal_seconds:g} s: {', '.join(map(described, worst))}{besides}")
    if silent:
        names = ", ".join(each.group for each in silent)
        return Judgement(
            UNKNOWN, f"cannot tell: Kafka does not deliver the oldest message of {names}{besides}"
        )
    oldest = max((each.seconds or 0.0 for each in counting), default=0.0)
    return Judgement(
        WITHIN, f"within {goal_seconds:g} s: the oldest message waits for {oldest:.1f} s{besides}"
    )


def described(group: GroupLag) -> str:
    """Returns who, how far behind, where it is worst, and the verdict."""
    lost = sum(part.expired for part in group.partitions)
    deleted = f", {counted(lost, 'message')} deleted unread" if lost else ""
    behind = [part for part in group.partitions if part.seconds is not None]
    if not behind:
        return f"{group.group} ({in_words(group.verdict)}{deleted})"
    worst = max(behind, key=lambda part: part.seconds or 0.0)
    return (
        f"{group.group} is {worst.seconds:.1f} s and {counted(group.messages, 'message')} behind, "
        f"worst in {worst.topic}[{worst.partition}] ({in_words(group.verdict)}{deleted})"
    )


def in_words(verdict: str) -> str:
    return verdict.replace("_", " ")
