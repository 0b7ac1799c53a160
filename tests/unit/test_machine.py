"""A machine that is busy is said to be so, and whether it was before."""

from fanout.machine import Load, explanation, load

IDLE, BUSY = Load(0.4, 2), Load(7.8, 2)


def test_an_idle_machine_explains_nothing() -> None:
    assert explanation(IDLE, IDLE) is None
    assert explanation(Load(2.9, 2), BUSY) is None


def test_a_machine_that_the_demo_made_busy_is_told_from_one_that_was_before() -> None:
    mine, others = explanation(BUSY, IDLE), explanation(BUSY, Load(5.0, 2))
    assert mine == (
        "this machine is busy (7.8 processes want to run on 2 processors): Kafka, Postgres, all services and the "
        "customers share them"
    )
    assert others and "was before (7.8 processes want to run on 2 processors, 5.0 before)" in others


def test_the_load_is_that_of_this_machine() -> None:
    now = load()
    assert now.processors >= 1 and now.average >= 0
