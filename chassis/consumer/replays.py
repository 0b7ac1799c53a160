"""How far a replay goes is said in the metadata of the group's offsets in Kafka, until all of it is read.

Nothing depends on it but what spans say: an event that is read again for a replay is seen to be.
"""

import re

UNTIL = re.compile(r"replay until (\d{1,18})", re.ASCII)


def replay_metadata(next_offset: int, until: int) -> str:
    """Returns what is committed with `next_offset` while records before `until` are read again; "" after that."""
    return f"replay until {until}" if next_offset < until else ""


def replayed_until(metadata: str | None) -> int:
    """Returns the offset before which records are read again, or 0 if the metadata says nothing of a replay."""
    found = UNTIL.fullmatch(metadata or "")
    return int(found[1]) if found else 0
