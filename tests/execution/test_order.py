"""FIFO: the order of a group survives retries and long waits."""

from __future__ import annotations

from fnqueue import Backoff, RetryLater
from tests.execution.helpers import left


def test_a_group_waits_for_the_retry_of_its_head(fn, drain, clock):
    ran = []

    @fn.task(name="step", queue="steps.fifo", retry=Backoff(3, first_seconds=10, jitter=False))
    def step(n: int) -> None:
        ran.append(n)
        if n == 1 and ran.count(1) < 3:
            raise OSError

    for n in (1, 2, 3):
        step.using(group="a").defer(n)
    for _ in range(10):
        drain()
        clock.advance(seconds=10)
    assert ran == [1, 1, 1, 2, 3]


def test_a_wait_longer_than_fifteen_minutes_keeps_its_place_too(fn, drain, clock):
    """Parked, the head would come back behind the rest of its group."""
    ran = []

    @fn.task(name="step", queue="steps.fifo")
    def step(n: int) -> None:
        ran.append(n)
        if n == 1 and ran.count(1) < 2:
            raise RetryLater(7200)

    for n in (1, 2, 3):
        step.using(group="a").defer(n)
    drain()
    assert left(fn, "steps.fifo")[1] >= 1
    clock.advance(seconds=7100)
    drain()
    assert ran == [1]
    clock.advance(seconds=101)
    drain()
    assert ran == [1, 1, 2, 3]


def test_other_groups_do_not_wait(fn, drain, clock):
    ran = []

    @fn.task(name="step", queue="steps.fifo")
    def step(name: str) -> None:
        ran.append(name)
        if name == "a1" and ran.count("a1") == 1:
            raise RetryLater(60)

    for name in ("a1", "a2", "b1", "b2"):
        step.using(group=name[0]).defer(name)
    drain()
    assert ran == ["a1", "b1", "b2"]
    clock.advance(seconds=60)
    drain()
    assert ran[3:] == ["a1", "a2"]
