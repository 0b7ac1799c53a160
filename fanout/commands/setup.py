"""`fanout setup`: creates what is missing in the running servers, or removes what belongs to no service."""

from typing import Annotated

import typer

from fanout.console import say
from fanout.errors import BadUsage
from fanout.local.topology import StackSpec
from fanout.provision import steps
from fanout.provision.prune import remove_orphans


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
    if yes and not prune:
        raise BadUsage("--yes answers what --prune asks: fanout setup --prune --yes")
    spec = StackSpec.of_running()
    if prune:
        remove_orphans(spec, yes)
        return
    spec.write_addresses()
    all_steps = steps.make_databases, steps.migrate, steps.make_topics, steps.register_contracts
    changes = [change for step in all_steps for change in step(spec.servers())]
    for change in changes:
        print(f"new: {change}")
    if not changes:
        say("nothing changed")
