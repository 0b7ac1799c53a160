"""What a shell offers after TAB: the processes of this stack directory and the services of this repository."""

import json

from fanout.errors import FanoutError
from fanout.repository import services


def process_names(incomplete: str) -> list[str]:
    """Returns the processes that begin so, whether they run or not; none in a container or before the first start."""
    from fanout.local.stack_directory import current

    try:
        names = json.loads(current().processes.read_text())
    except (OSError, ValueError, FanoutError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def service_names(incomplete: str) -> list[str]:
    return [name for name in services() if name.startswith(incomplete)]
