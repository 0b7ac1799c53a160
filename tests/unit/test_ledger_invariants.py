"""Rules across services: each can be broken, and nothing that may still come breaks one."""

from collections import Counter

import pytest

from fanout.verify.invariants import RULES, Rule, always, in_the_end, judge
from fanout.verify.records import Facts

FACTS = {fact for rule in RULES for fact in (*rule.every, *rule.has, *rule.lacks)}
HAS = always("a has b", "s.a", has="s.b")
LACKS = always("a lacks b", "s.a", lacks="s.b")
LATER = in_the_end("a has b", "s.a", has="s.b")


def facts(**orders: str) -> Facts:
    return {f"s.{name}": Counter(ids.split()) for name, ids in orders.items()}


def test_a_counterpart_keeps_the_rule() -> None:
    assert judge(HAS, facts(a="1 2"), facts(a="1 2", b="1 2"), set()).offenders == []


def test_a_missing_counterpart_breaks_it() -> None:
    assert judge(HAS, facts(a="1 2"), facts(a="1 2", b="1"), set()).offenders == ["2"]


def test_what_excludes_each_other_breaks_it_together() -> None:
    assert judge(LACKS, facts(a="1 2"), facts(a="1 2", b="2"), set()).offenders == ["2"]


def test_a_cause_that_came_between_the_two_readings_accuses_nobody() -> None:
    assert judge(HAS, facts(a="1"), facts(a="1 2", b="1"), set()).offenders == []


def test_an_effect_may_be_pending_while_its_order_is_open() -> None:
    verdict = judge(LATER, facts(a="1 2"), facts(a="1 2", b=""), {"1"})
    assert (verdict.offenders, verdict.pending) == (["2"], ["1"])


def test_an_excess_is_never_pending() -> None:
    assert judge(HAS, facts(a="1"), facts(a="1", b=""), {"1"}).offenders == ["1"]


def test_a_rule_about_two_facts_needs_both() -> None:
    rule = always("a and b have c", "s.a s.b", has="s.c")
    both = facts(a="1 2", b="2 3", c="")
    assert judge(rule, both, both, set()).offenders == ["2"]


def test_one_of_several_counterparts_is_enough() -> None:
    rule = always("a has b or c", "s.a", has="s.b s.c")
    published = facts(a="1 2 3", b="1", c="2")
    assert judge(rule, published, published, set()).offenders == ["3"]


def test_a_rule_over_a_fact_that_no_service_has_does_not_hold() -> None:
    assert judge(HAS, facts(a="1"), facts(a="1"), set()).offenders == ["no checks.sql has the fact s.b"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)
def test_every_rule_can_be_broken(rule: Rule) -> None:
    everyone = {fact: Counter[str]() for fact in FACTS}
    broken = everyone | {fact: Counter(["o1"]) for fact in (*rule.every, *rule.lacks)}
    assert judge(rule, broken, broken, set()).offenders == ["o1"]
    assert judge(rule, everyone, everyone, set()).offenders == []
