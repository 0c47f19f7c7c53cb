"""Whoever can write to the queue, and has no key, makes nothing run; and the worker goes on."""

from __future__ import annotations

import random

import pytest

from fnqueue.broker.base import Entry
from fnqueue.events import MessageRefused
from fnqueue.testing import in_memory


@pytest.fixture
def sealed(fn):
    """A true message, taken off the queue, and the runs of all tasks."""
    runs: list[str] = []

    @fn.task(name="shop.pay", queue="money", once=True)
    def pay(amount: int) -> None:
        runs.append(f"pay {amount}")

    @fn.task(name="shop.log", queue="money")
    def log(amount: int) -> None:
        runs.append(f"log {amount}")

    @fn.task(name="shop.other", queue="other")
    def other(amount: int) -> None:
        runs.append(f"other {amount}")

    pay.defer(7)
    broker = fn.runtime().engine.broker
    message = broker.receive("money", visibility_seconds=0)[0]
    broker.purge("money")
    return message.body, runs


def inject(fn, queue: str, body: str, **attributes: str) -> None:
    assert fn.runtime().engine.broker.send(queue, [Entry(id="0", body=body, attributes=attributes)]) == []


def test_the_message_itself_runs_so_that_the_other_tests_can_fail(fn, drain, sealed):
    body, runs = sealed
    inject(fn, "money", body)
    drain()
    assert runs == ["pay 7"]


def test_a_message_edited_in_any_one_character_never_runs(fn, drain, sealed, clock):
    body, runs = sealed
    dice = random.Random(20261122)
    alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.{}":,'
    for place, old in enumerate(body):
        edited = body[:place] + dice.choice([c for c in alphabet if c != old]) + body[place + 1 :]
        inject(fn, "money", edited)
    drain()
    assert runs == []
    inject(fn, "money", body)
    drain()
    assert runs == ["pay 7"], "the worker went on"


@pytest.mark.parametrize(
    ("old", "new"), [('"t":"shop.pay"', '"t":"shop.log"'), ('"q":"money"', '"q":"other"'), ('"ex":1', '"ex":2')]
)
def test_a_relabelled_message_never_runs(fn, drain, sealed, old, new):
    body, runs = sealed
    assert old in body
    for queue in ("money", "other"):
        inject(fn, queue, body.replace(old, new))
    drain()
    assert runs == []


def test_a_message_moved_to_another_queue_never_runs_and_is_never_deleted(fn, drain, sealed):
    body, runs = sealed
    codes = []
    fn.on(MessageRefused, lambda event: codes.append((event.code, event.fate)))
    inject(fn, "other", body)
    inject(fn, "money__dead", body)
    drain()
    assert (runs, codes) == ([], [("CONTEXT", "hidden")])
    attributes = fn.runtime().engine.broker.attributes("other")
    assert attributes.in_flight + attributes.visible == 1


def test_a_message_of_another_environment_never_runs_and_is_never_deleted(fn, drain, sealed):
    from dataclasses import replace

    body, runs = sealed
    runtime = fn.runtime()
    runtime.settings = replace(runtime.settings, environment="staging")
    inject(fn, "money", body)
    drain()
    assert runs == []
    attributes = runtime.engine.broker.attributes("money")
    assert attributes.in_flight + attributes.visible == 1


def test_a_message_of_another_key_ring_never_runs(fn, drain, sealed, clock):
    body, runs = sealed
    with in_memory(fn, clock):
        inject(fn, "money", body)
        drain()
        assert runs == []


def test_a_message_replayed_after_its_success_never_runs_again(fn, drain, sealed, clock):
    body, runs = sealed
    inject(fn, "money", body)
    drain()
    for generation in ("0", "1", "999999", "-1", "x" * 100):
        inject(fn, "money", body, g=generation, a="0")
        drain()
        clock.advance(minutes=20)
        drain()
    assert runs == ["pay 7"]
    assert fn.runtime().engine.broker.attributes("money").visible == 0


def test_rubbish_goes_to_the_dead_letter_queue_at_a_bounded_rate_and_the_rest_is_deleted_with_its_hash(
    fn, drain, sealed
):
    _body, _runs = sealed
    told = []
    fn.on(MessageRefused, told.append)
    for number in range(25):
        inject(fn, "money", f"rubbish {number}" + "x" * 1000)
    drain()
    fates = [event.fate for event in told]
    assert fates.count("dead-lettered") == 10
    assert fates.count("deleted") == 15
    assert all(len(event.body_sha256) == 64 for event in told)
    assert fn.runtime().engine.broker.attributes("money__dead").visible == 10


def test_a_forged_end_of_a_once_call_deletes_nothing_unrun(fn, drain, sealed):
    from fnqueue.security.envelope import peek
    from fnqueue.store.base import Record

    body, runs = sealed
    inject(fn, "money", body)
    for fields in ({"state": "done", "run": 1}, {"state": "dead", "run": 1, "mac": b"x" * 32}):
        fn.runtime().engine.store.put(
            Record(kind="once", id=peek(body).id, fields=fields, fence=(1, 1), final=True, expires_at=9e9)
        )
    drain()
    assert runs == ["pay 7"]
    inject(fn, "money", body)
    drain()
    assert runs == ["pay 7"], "and its true end still holds"
