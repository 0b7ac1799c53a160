"""Says what to do about a server that does not answer: where it runs, and whether somebody has stopped it."""

from collections.abc import Mapping

from sqlalchemy.engine import make_url

from fanout.errors import FanoutError, Unreachable
from fanout.running import Addresses, in_container, running


def explained(error: Unreachable) -> Unreachable:
    """Returns the error with the remedy that fits where the tool runs."""
    if in_container():
        return error.with_remedy("see docker compose ps")
    return error.with_remedy(_is_stopped_at(error.address) or "see fanout status")


def _is_stopped_at(address: str) -> str:
    try:
        process = _processes(running()).get(address.rstrip("/"))
    except FanoutError:
        return ""
    return sentence(process) if process else ""


def sentence(process: str) -> str:
    """Returns how to start a process of the local stack, or "" unless its supervisor says that it is stopped."""
    from fanout.local.stopped import down_by_process, how_to_start

    return how_to_start(process) if down_by_process().get(process) else ""


def _processes(addresses: Addresses) -> Mapping[str, str]:
    """Returns the processes of the local stack by the address at which they answer."""
    places = map(make_url, addresses.databases.values())
    return {
        addresses.kafka: "kafka",
        addresses.registry_url: "registry",
        **{f"{place.host}:{place.port}": "postgres" for place in places},
        **{url: f"{service}-api" for service, url in addresses.apis.items()},
    }
