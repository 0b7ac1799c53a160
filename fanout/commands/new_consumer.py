"""`fanout new-consumer`: writes a new service that reacts to events, without changing their producer."""

from typing import Annotated

import typer

from fanout.compose import blocks
from fanout.console import Json, print_json
from fanout.repository import REPOSITORY
from fanout.scaffold import consumer


def command(
    name: Annotated[str, typer.Argument(help="Service, folder, group, database and login.")],
    on: Annotated[
        list[str], typer.Option("--on", help="An event to react to; may be repeated.", show_default=False)
    ],
    json_output: Json = False,
) -> None:
    """Write services/NAME: a service that stores the events you name, its migration, an API and tests that pass.

    docker-compose.yml gets two blocks for it. Nothing else changes: fanout up finds the folder, and the new consumer
    receives every event that Kafka still has, from the first on.

    Example: fanout new-consumer loyalty --on OrderConfirmed
    """
    events = consumer.stored_events(on)
    consumer.require_free(name, consumer.words(events))
    files = consumer.files(name, events)
    for path, text in files.items():
        file = REPOSITORY / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    added = blocks.add(name)
    commands = [f"fanout test {name}", "fanout up", f"fanout logs {name}"]
    if json_output:
        print_json({"service": name, "files": list(files), "blocks": added, "next": commands})
        return
    for path in files:
        print(f"wrote {path}")
    for block in added:
        print(f"added {block} to docker-compose.yml")
    print("next: " + "\n      ".join(commands))
