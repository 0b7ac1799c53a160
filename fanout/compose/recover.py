"""`python -m fanout.compose.recover SERVICE`: takes over in containers what `fanout recover SERVICE` has found.

It writes a service's own tables, which the operator's login may not: it runs in the container `setup`, whose login may.
"""

import sys

from chassis.config import Broker
from chassis.service import UnknownService, load
from fanout import environment
from fanout.compose.logins import SETUP
from fanout.compose.setup import KAFKA, POSTGRES, POSTGRES_PORT, REGISTRY_URL, read_passwords
from fanout.errors import FanoutError
from fanout.recover.missing import Servers
from fanout.recover.procedure import compared, readers, taken_over
from fanout.recover.take_over import require_recovery


def main(arguments: list[str]) -> str:
    """Returns what was done. Ends the process with a sentence if nothing may be taken over."""
    environment.drop_foreign()
    try:
        [name] = arguments
        service, passwords = load(name), read_passwords()
        url = f"postgresql+asyncpg://postgres:{passwords['postgres']}@{POSTGRES}:{POSTGRES_PORT}/{name}"
        broker = Broker(KAFKA, SETUP, passwords[SETUP], "PLAIN")
        if found := readers(service, broker):
            sys.exit(f"error: {', '.join(found)} is running: docker compose stop {name}-worker {name}-api")
        servers = Servers(url, broker, REGISTRY_URL)
        events = compared(service, servers).to_take_over
        require_recovery(service, events)
        taken = taken_over(service, servers, events)
        return f"taken over: {taken} events; now docker compose start {name}-worker {name}-api"
    except (FanoutError, UnknownService, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    print(main(sys.argv[1:]))
