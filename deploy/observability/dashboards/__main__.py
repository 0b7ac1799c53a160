"""Writes the dashboards' JSON, or with --check only compares it: `python -m deploy.observability.dashboards`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.observability.dashboards.consumers import consumers
from deploy.observability.dashboards.http import http
from deploy.observability.dashboards.kafka import kafka
from deploy.observability.dashboards.orders import orders
from deploy.observability.dashboards.outbox import outbox

FOLDER = Path(__file__).parents[1] / "grafana/dashboards"


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Returns the exit code: 1 if --check finds a difference, 2 if the arguments are wrong."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m deploy.observability.dashboards [--check]", file=sys.stderr)
        return 2
    wanted = files()
    if not arguments:
        write(folder, wanted)
        return 0
    different = drift(folder, wanted)
    if different:
        print(f"not what the code says: {', '.join(different)}: run make dashboards", file=sys.stderr)
    return 1 if different else 0


def files() -> dict[str, str]:
    """Returns the JSON of each dashboard by its file name."""
    boards = [each().build() for each in (orders, consumers, outbox, http, kafka)]
    for board in boards:
        for number, panel in enumerate(board.panels or [], 1):
            panel.id_val = number
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{board.uid}.json": encoder.encode(board) + "\n" for board in boards}


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Writes the dashboards, and deletes those that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (folder / name).write_text(text)
    for file in folder.glob("*.json"):
        if file.name not in wanted:
            file.unlink()


def drift(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Returns the names of dashboards that are missing, different or no longer wanted."""
    present = {file.name: file.read_text() for file in folder.glob("*.json")}
    return sorted(name for name in {*present, *wanted} if present.get(name) != wanted.get(name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
