"""What a task's calls take over from the call that it runs for: where all began, for whom, and with what rights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from fnqueue import FnQueue, Principal, current_task
from fnqueue.broker.base import Entry
from fnqueue.policies import public
from fnqueue.security.envelope import Header, peek
from fnqueue.testing.hand import Hand
from tests.execution.helpers import dead_letters

ADA = Principal(id="1", roles=frozenset({"editor"}))


@pytest.fixture
def headers(fn: FnQueue) -> Callable[[], list[Header]]:
    """Runs what is due, message by message, and returns the clear headers that they came with."""

    def run() -> list[Header]:
        hand, found = Hand(fn.runtime(), nullcontext, raised=None), []
        while (delivery := hand.next(())) is not None:
            found.append(peek(delivery.body))
            hand.do(delivery)
        return found

    return run


@pytest.fixture
def family(fn: FnQueue):
    """`family(3)` defers `family(2)`, and so on down to nobody."""

    @fn.task(name="family", policy=public)
    def family(more: int) -> None:
        if more:
            family.defer(more - 1)

    return family


# ------------------------------------------------------------------ the root


def test_a_call_of_a_view_is_its_own_root_and_says_nothing_of_one(family, headers):
    family.defer(0)
    assert [header.root for header in headers()] == [None]


def test_a_grandchilds_header_names_the_first_call(family, headers):
    first = family.defer(3)
    assert [header.root for header in headers()] == [None, first.id, first.id, first.id]


def test_a_task_knows_where_all_began(fn, drain):
    seen = []

    @fn.task(name="child", policy=public)
    def child() -> None:
        seen.append((current_task.id, current_task.root))

    @fn.task(name="first", policy=public)
    def first() -> None:
        seen.append((current_task.id, current_task.root))
        child.defer()

    handle = first.defer()
    drain()
    assert seen[0] == (handle.id, handle.id)
    assert seen[1][1] == handle.id
    assert seen[1][0] != handle.id


def test_a_call_that_a_coroutine_makes_in_a_thread_has_its_root_too(fn, drain):
    roots = []

    @fn.task(name="child", policy=public)
    def child() -> None:
        roots.append(current_task.root)

    @fn.task(name="first", policy=public)
    async def first() -> None:
        await child.adefer()

    handle = first.defer()
    drain()
    assert roots == [handle.id]


def test_on_whose_behalf_a_task_defers_does_not_change_where_all_began(fn, drain):
    roots = []

    @fn.task(name="child", policy=public)
    def child() -> None:
        roots.append(current_task.root)

    @fn.task(name="first", policy=public)
    def first() -> None:
        with fn.as_principal(ADA), fn.batch():
            child.defer()
        child.using(delay_seconds=7200).defer()  # it is parked
        child.apply()

    handle = first.defer()
    drain()
    drain.advance(hours=3)
    assert roots == [handle.id] * 3


def test_a_root_that_was_edited_on_the_way_is_a_false_tag(fn, drain):
    @fn.task(name="child", policy=public)
    def child() -> None:
        raise AssertionError("ran")

    @fn.task(name="first", policy=public)
    def first() -> None:
        child.using(queue="later").defer()

    handle, other = first.defer(), first.defer()
    drain("default")
    broker = fn.runtime().engine.broker
    taken = broker.receive("later", max_messages=2, visibility_seconds=30)
    broker.delete("later", [message.receipt for message in taken])
    (body,) = [message.body for message in taken if peek(message.body).root == handle.id]
    broker.send("later", [Entry(id="edited", body=body.replace(handle.id, other.id))])
    drain("later")
    assert dead_letters(fn, "later") == [("BAD_TAG", "later")]
