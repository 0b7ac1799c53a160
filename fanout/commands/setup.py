"""`fanout setup`: create what is missing in the running servers, or remove what is left over, and say what was."""

from typing import TYPE_CHECKING, Annotated

import typer

from fanout.console import say
from fanout.errors import BadUsage

if TYPE_CHECKING:
    from fanout.local.topology import StackSpec


def command(
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what belongs to services whose folder is gone.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --prune: do not ask.")] = False,
) -> None:
    """Create missing databases, topics and schema versions, and run migrations; the stack must be running.

    With --prune, only remove: processes, databases, logins, groups and topics of services that are gone.

    Example: fanout setup
    """
    from fanout.local.topology import StackSpec

    if yes and not prune:
        raise BadUsage("--yes answers what --prune asks: fanout setup --prune --yes")
    spec = StackSpec.of_running()
    if prune:
        from fanout.provision.prune import remove_orphans

        remove_orphans(spec, yes)
    else:
        _create(spec)


def _create(spec: "StackSpec") -> None:
    from fanout.provision import steps

    spec.write_addresses()
    all_steps = steps.make_databases, steps.migrate, steps.make_topics, steps.register_contracts
    changes = [change for step in all_steps for change in step(spec.servers())]
    for change in changes:
        print(f"new: {change}")
    if not changes:
        say("nothing changed")
