"""Rules across services: each can be broken, and nothing that may still come breaks one."""

from collections import Counter
from collections.abc import Mapping

import pytest

from fanout.verify.facts import Judged
from fanout.verify.invariants import RULES, Rule, always, breaking, in_the_end, missing_facts

FACTS = {fact for rule in RULES for fact in (*rule.every, *rule.has, *rule.lacks)}
HAS = always("a has b", "s.a", has="s.b")
LACKS = always("a lacks b", "s.a", lacks="s.b")
LATER = in_the_end("a has b", "s.a", has="s.b")


def facts(**orders: str) -> Mapping[str, set[str]]:
    return {f"s.{name}": set(ids.split()) for name, ids in orders.items()}


def broken(rule: Rule, early: Mapping[str, set[str]], late: Mapping[str, set[str]]) -> set[str]:
    return set(breaking(rule, early, late))


def test_a_counterpart_keeps_the_rule() -> None:
    assert broken(HAS, facts(a="1 2"), facts(a="1 2", b="1 2")) == set()


def test_a_missing_counterpart_breaks_it() -> None:
    assert broken(HAS, facts(a="1 2"), facts(a="1 2", b="1")) == {"2"}


def test_what_excludes_each_other_breaks_it_together() -> None:
    assert broken(LACKS, facts(a="1 2"), facts(a="1 2", b="2")) == {"2"}


def test_a_cause_that_came_between_the_two_readings_accuses_nobody() -> None:
    assert broken(HAS, facts(a="1"), facts(a="1 2", b="1")) == set()


def test_an_effect_may_be_pending_while_its_order_is_open() -> None:
    assert Judged(LATER, broken={1, 2}).pending({1, 3}) == {1}


def test_an_excess_is_never_pending() -> None:
    assert Judged(HAS, broken={1}).pending({1}) == set()


def test_a_rule_about_two_facts_needs_both() -> None:
    rule = always("a and b have c", "s.a s.b", has="s.c")
    both = facts(a="1 2", b="2 3", c="")
    assert broken(rule, both, both) == {"2"}


def test_one_of_several_counterparts_is_enough() -> None:
    rule = always("a has b or c", "s.a", has="s.b s.c")
    published = facts(a="1 2 3", b="1", c="2")
    assert broken(rule, published, published) == {"3"}


def test_a_rule_over_a_fact_that_no_service_has_does_not_hold() -> None:
    assert missing_facts(HAS, {"s.a"}) == ["no checks.sql has the fact s.b"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)
def test_every_rule_can_be_broken(rule: Rule) -> None:
    nobody = {fact: Counter[str]() for fact in FACTS}
    violated = nobody | {fact: Counter(["o1"]) for fact in (*rule.every, *rule.lacks)}
    assert list(breaking(rule, violated, violated)) == ["o1"]
    assert list(breaking(rule, nobody, nobody)) == []
