"""`fanout setup`: create what is missing in the running servers, and say what was."""

from fanout.stack.console import say


def command() -> None:
    """Create missing databases, topics and schema versions, and run migrations; the stack must be running.

    Example: fanout setup
    """
    from fanout.setup import steps
    from fanout.stack.blueprint import Blueprint

    blueprint = Blueprint.of_running()
    blueprint.write_addresses()
    all_steps = steps.make_databases, steps.migrate, steps.make_topics, steps.register_contracts
    changes = [change for step in all_steps for change in step(blueprint)]
    for change in changes:
        print(f"new: {change}")
    if not changes:
        say("nothing changed")
