"""`python -m fanout.chaos.holder`: causes one fault and undoes it when its time is over or its parent is gone.

Reads the fault, and when it is due, as a line of JSON on standard input, and takes the end of that input for the end of
its parent. It has a session of its own, so Ctrl-C in a terminal does not reach it. Writes a line of JSON when the fault
has begun and when it is undone, or why it failed.
"""

import asyncio
import json
import logging
import signal
import sys
from contextlib import suppress
from time import monotonic, time
from typing import Any

from fanout import environment
from fanout.chaos import databases, messages, processes
from fanout.chaos.injection import CannotBegin, Injection
from fanout.chaos.kinds import Fault
from fanout.failures import explained

END_SECONDS = 120.0
"""How long the undoing of a fault is repeated, for instance while another fault has the database down."""
PAUSE_SECONDS = 0.5


async def main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    ordered = json.loads(await reader.readline())
    gone = asyncio.create_task(_until_gone(reader))
    fault = Fault(**ordered["fault"])
    injection = _injection_of(fault)
    try:
        if not ordered["only_end"]:
            await asyncio.wait({gone}, timeout=max(ordered["at"] - time(), 0))
            await _hold(injection, fault.seconds, gone)
    except CannotBegin as error:
        _write(failed=str(error), changed=False)
        return
    except Exception as error:
        _write(failed=str(explained(error)), changed=True)
    await _end(injection)


def _injection_of(fault: Fault) -> Injection:
    match fault.kind:
        case "kill":
            return processes.Kill(fault.target, fault.level, fault.seconds)
        case "pause":
            return processes.Pause([fault.target])
        case "freeze-all":
            return processes.Pause(processes.all_names())
        case "slow":
            return processes.Slow(fault.target, fault.level / 100)
        case "broker-down" | "database-down" | "registry-down":
            return processes.Down(processes.SERVERS[fault.kind])
        case "lock":
            return databases.Lock(fault.target, fault.seconds)
        case "read-only":
            return databases.ReadOnly(fault.target)
        case "poison":
            return messages.Poison()
        case "duplicate":
            return messages.Duplicate(fault.target, fault.level)
    raise AssertionError(fault.kind)


async def _until_gone(reader: asyncio.StreamReader) -> None:
    """Returns when the parent has closed the pipe, or this process is asked to end."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    ends = [asyncio.create_task(reader.read()), asyncio.create_task(asked.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


async def _hold(injection: Injection, seconds: float, gone: asyncio.Task[None]) -> None:
    beginning = asyncio.create_task(injection.begin())
    await asyncio.wait({beginning, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not beginning.done():
        beginning.cancel()
        with suppress(asyncio.CancelledError):
            await beginning
        return
    beginning.result()
    _write(begun=True)
    keeping = asyncio.create_task(injection.keep())
    await asyncio.wait({gone}, timeout=seconds)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def _end(injection: Injection) -> None:
    deadline = monotonic() + END_SECONDS
    while True:
        try:
            await injection.end()
        except Exception as error:
            if monotonic() > deadline:
                _write(not_undone=str(explained(error)), met=injection.met)
                return
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            _write(ended=True, met=injection.met)
            return


def _write(**line: Any) -> None:
    with suppress(BrokenPipeError):  # the parent was killed
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    environment.drop_foreign()
    logging.disable()  # what fails is said in a sentence
    asyncio.run(main())
