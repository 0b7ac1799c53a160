"""Imports services in a process of its own, before running processes are stopped to start with the same code."""

import importlib
import subprocess
import sys
import traceback
from collections.abc import Iterable

from chassis.service import load
from fanout.environment import for_process
from fanout.errors import BrokenCode
from fanout.repository import REPOSITORY, services_with_api


def require_importable(services: Iterable[str]) -> None:
    """Raises BrokenCode, which says file and line, for the first service that cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, *sorted(services)],
        cwd=REPOSITORY,
        env=for_process({}),
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode:
        service, _, sentence = done.stdout.strip().rpartition("\n")[2].partition(" ")
        raise BrokenCode(service, sentence or done.stderr.strip())


def main(services: list[str]) -> int:
    """Prints the name of the first service that cannot be imported, and why."""
    with_api = services_with_api()
    for name in services:
        try:
            load(name)
            if name in with_api:
                importlib.import_module(f"services.{name}.api")
        except Exception as error:
            print(name, sentence(error))
            return 1
    return 0


def sentence(error: Exception) -> str:
    """Returns file, line and reason. The line is the last one of our own code, not one of a library."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        place, what = (error.filename or "?", error.lineno), error.msg
    else:
        ours = [each for each in traceback.extract_tb(error.__traceback__) if _is_ours(each.filename)]
        place = (ours[-1].filename, ours[-1].lineno) if ours else ("?", 0)
    return f"{place[0].removeprefix(f'{REPOSITORY}/')}, line {place[1]}: {' '.join(what.split())}"


def _is_ours(file: str) -> bool:
    folders = ("chassis", "schemas", "services")
    return file.startswith(tuple(f"{REPOSITORY}/{folder}/" for folder in folders))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
