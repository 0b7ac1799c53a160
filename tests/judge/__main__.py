"""Prints what the judge finds: `python -m tests.judge --json`. Exit codes: 0 holds, 1 broken, 3 waiting."""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from fanout.running import running
from tests.judge.conservation import judge_conservation
from tests.judge.delivery import judge_delivery
from tests.judge.reading import read_world
from tests.judge.world import Findings, World

EXIT_CODES = {"holds": 0, "broken": 1, "waiting": 3}
SHOWN = 10


@dataclass(frozen=True)
class Judgement:
    delivery: Findings
    conservation: Findings

    @property
    def verdict(self) -> str:
        if self.delivery.wrong or self.conservation.wrong:
            return "broken"
        return "waiting" if self.delivery.waiting or self.conservation.waiting else "holds"

    def as_json(self) -> dict[str, Any]:
        both = {"delivery": self.delivery, "conservation": self.conservation}
        return {"verdict": self.verdict} | {
            name: {"wrong": findings.wrong, "waiting": findings.waiting} for name, findings in both.items()
        }


def judge(world: World) -> Judgement:
    delivery = judge_delivery(world)
    return Judgement(delivery, judge_conservation(world, delivery.open_orders))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.judge", description=__doc__)
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="judge again until it holds")
    parser.add_argument("--json", action="store_true", help="print all findings as JSON")
    options = parser.parse_args()
    deadline = time.monotonic() + options.wait
    judgement = judge(read_world(running()))
    while judgement.verdict != "holds" and time.monotonic() < deadline:
        time.sleep(1)
        judgement = judge(read_world(running()))
    if options.json:
        print(json.dumps(judgement.as_json()))
    else:
        show(judgement)
    sys.exit(EXIT_CODES[judgement.verdict])


def show(judgement: Judgement) -> None:
    for name, findings in (("delivery", judgement.delivery), ("conservation", judgement.conservation)):
        for what, sentences in (("wrong", findings.wrong), ("waiting", findings.waiting)):
            print(f"{name}: {len(sentences)} {what}")
            for sentence in sentences[:SHOWN]:
                print(f"  {sentence}")
    print(judgement.verdict)


if __name__ == "__main__":
    main()
