"""`fanout new-consumer`: a new reaction to what happens, without touching whoever says it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fanout.repository import REPOSITORY


def command(
    name: Annotated[str, typer.Argument(help="Service, folder, group, database and login.")],
    on: Annotated[
        list[str], typer.Option("--on", help="An event to react to; may be repeated.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Write services/NAME: a service that notes the events you name, its migration and a test that passes.

    docker-compose.yml gets a block for it. Nothing else changes: fanout up finds the folder, and the new consumer
    hears every event that Kafka still has, from the first on.

    Example: fanout new-consumer loyalty --on OrderConfirmed
    """
    from fanout.compose import blocks

    files = write(name, on)
    added = blocks.add_worker(name)
    commands = [f"pytest services/{name}", "fanout up", f"fanout logs {name}"]
    if as_json:
        print(json.dumps({"service": name, "files": files, "blocks": added, "next": commands}, indent=2))
        return
    for file in files:
        print(f"wrote {file}")
    for block in added:
        print(f"added {block} to docker-compose.yml")
    print("next: " + "\n      ".join(commands))


def write(name: str, events: list[str]) -> list[str]:
    """The new files, as paths in the repository."""
    from fanout.scaffold import names, texts
    from fanout.scaffold.notes import notes_of

    notes = notes_of(events)
    names.require_free(name, texts.words(notes))
    files = texts.files(name, notes)
    for path, text in files.items():
        _create(REPOSITORY / path, text)
    return list(files)


def _create(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
