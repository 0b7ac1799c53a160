"""`python -m chassis api|worker|migrate|check SERVICE` runs one process of one service."""

import argparse
import gc
import importlib
import os
import sys
from importlib.util import find_spec

import uvloop
from pydantic import ValidationError

from chassis import removed_service
from chassis.config import SECRETS, Settings, UnreadableSecrets, read_settings
from chassis.errors import FailureClass, classify
from chassis.service import Service, UnknownService, load
from chassis.telemetry import traces
from chassis.telemetry.logs import configure_logging

EXIT_USAGE = 2
COLLECTION_THRESHOLD = 20_000


def main() -> int:
    arguments = _parse()
    try:
        service = load(arguments.service)
        settings = read_settings()
        configure_logging(service.name, arguments.process, settings.log_level)
        if arguments.process in TRACED:
            traces.configure(
                service.name, arguments.process, settings.instance, settings.trace_events == "each"
            )
        return uvloop.run(PROCESSES[arguments.process](service, settings))
    except UnknownService as error:
        if removed_service.is_removed(arguments.service):
            removed_service.stand_in(arguments.process, arguments.service)
        return _fail(str(error))
    except UnreadableSecrets as error:
        return _fail(str(error))
    except ValidationError as error:
        missing = ", ".join(f"FANOUT_{item['loc'][0]}".upper() for item in error.errors())
        where = f"in files of {os.environ[SECRETS]}" if SECRETS in os.environ else "in the environment"
        return _fail(f"set {missing} {where}")
    except Exception as error:
        if classify(error) is FailureClass.INFRASTRUCTURE:
            return _fail(f"a dependency is unavailable: {error}")
        raise


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m chassis", description=__doc__, epilog="example: python -m chassis worker fraud"
    )
    parser.add_argument("process", choices=PROCESSES)
    parser.add_argument("service", help="a folder under services/")
    return parser.parse_args()


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return EXIT_USAGE


def _tune_garbage_collection() -> None:
    """Excludes imported objects from garbage collection, and collects less often: a batch is many objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD)


async def _api(service: Service, settings: Settings) -> int:
    from chassis.http.app import serve
    from chassis.http.tokens import UnusableKey

    module = f"services.{service.name}.api"
    if find_spec(module) is None:
        return _fail(f"{service.name} has no api.py")
    app = importlib.import_module(module).app
    _tune_garbage_collection()
    try:
        await serve(app, settings)
    except UnusableKey as error:
        return _fail(str(error))
    await traces.shutdown(traces.FLUSH_SECONDS)
    return 0


async def _worker(service: Service, settings: Settings) -> int:
    from chassis import worker

    if not (settings.kafka and settings.registry_url):
        return _fail("set FANOUT_KAFKA and FANOUT_REGISTRY_URL in the environment")
    _tune_garbage_collection()
    await worker.run(service, settings)
    return 0


async def _migrate(service: Service, settings: Settings) -> int:
    from chassis.migrations import UnknownRevision, migrate

    try:
        changed = await migrate(service, settings.database_url)
    except UnknownRevision as error:
        return _fail(str(error))
    print(f"{service.name}: {', '.join(changed) if changed else 'nothing to do'}")
    return 0


async def _check(service: Service, settings: Settings) -> int:
    from chassis.migrations import differences

    found = await differences(service, settings.database_url)
    for difference in found:
        print(f"{service.name}: migrations and tables disagree: {difference}", file=sys.stderr)
    return 1 if found else 0


TRACED = ("api", "worker")
PROCESSES = {"api": _api, "worker": _worker, "migrate": _migrate, "check": _check}

if __name__ == "__main__":
    sys.exit(main())
