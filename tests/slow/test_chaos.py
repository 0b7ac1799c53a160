"""Whatever is broken, and whenever: nothing is lost, nothing is applied twice, and no innocent message is parked."""

import asyncio
import json

import pytest

from tests.support.system import System

MINUTES = "--for 3m --rate 20 --faults 60"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_three_minutes_of_random_faults_of_every_kind(system: System, seed: int) -> None:
    command = ["chaos", "run", *MINUTES.split(), "--seed", str(seed), "--json"]
    report = json.loads(await asyncio.to_thread(system.stack.must, *command, timeout=500))
    print(f"seed {seed}: {report['bites']}; kills: {report['kills']}; {report['ledger']['sentence']}")
    assert report["verdict"] == "held"
