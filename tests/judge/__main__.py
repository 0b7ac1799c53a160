"""Prints what the judge finds: `python -m tests.judge --json`. Exit codes: 0 holds, 1 broken, 3 waiting."""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from fanout.running import running
from tests.judge.delivery import judge_delivery
from tests.judge.effects import judge_effects
from tests.judge.evidence import Evidence, Findings
from tests.judge.reading import read_evidence

EXIT_CODES = {"holds": 0, "broken": 1, "waiting": 3}
SHOWN = 10


@dataclass(frozen=True)
class Judgement:
    delivery: Findings
    effects: Findings

    @property
    def verdict(self) -> str:
        if self.delivery.wrong or self.effects.wrong:
            return "broken"
        return "waiting" if self.delivery.waiting or self.effects.waiting else "holds"

    def as_json(self) -> dict[str, Any]:
        both = {"delivery": self.delivery, "conservation": self.effects}
        return {"verdict": self.verdict} | {
            name: {"wrong": findings.wrong, "waiting": findings.waiting} for name, findings in both.items()
        }


def judge(evidence: Evidence) -> Judgement:
    delivery = judge_delivery(evidence)
    return Judgement(delivery, judge_effects(evidence, delivery.open_orders | evidence.moving_orders()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.judge", description=__doc__)
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="judge again until it holds")
    parser.add_argument("--json", action="store_true", help="print all findings as JSON")
    options = parser.parse_args()
    deadline = time.monotonic() + options.wait
    judgement = judge(read_evidence(running()))
    while judgement.verdict != "holds" and time.monotonic() < deadline:
        time.sleep(1)
        judgement = judge(read_evidence(running()))
    if options.json:
        print(json.dumps(judgement.as_json()))
    else:
        show(judgement)
    sys.exit(EXIT_CODES[judgement.verdict])


def show(judgement: Judgement) -> None:
    for name, findings in (("delivery", judgement.delivery), ("conservation", judgement.effects)):
        for what, sentences in (("wrong", findings.wrong), ("waiting", findings.waiting)):
            print(f"{name}: {len(sentences)} {what}")
            for sentence in sentences[:SHOWN]:
                print(f"  {sentence}")
    print(judgement.verdict)


if __name__ == "__main__":
    main()
