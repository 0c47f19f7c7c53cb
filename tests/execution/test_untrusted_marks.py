"""What stands beside a body, and what a stranger writes into the store, delays at most: no call is lost by it."""

from __future__ import annotations

import pytest

from fnqueue import Backoff
from fnqueue.broker.base import Entry
from fnqueue.store.base import Record


@pytest.mark.parametrize("beside", [True, False])
def test_a_generation_that_a_stranger_wrote_loses_no_call_that_is_to_be_tried_again(fn, drain, clock, beside):
    runs = []

    @fn.task(name="flaky", retry=Backoff(3, first_seconds=2000, max_seconds=3000, jitter=False))
    def flaky() -> str:
        runs.append(1)
        if len(runs) < 3:
            raise ConnectionError
        return "done"

    handle = flaky.defer()
    broker = fn.runtime().engine.broker
    (message,) = broker.receive("default", visibility_seconds=1)
    if not beside:
        broker.delete("default", [message.receipt])
    broker.send("default", [Entry(id="x", body=message.body, attributes={"g": "999999", "a": "999999"})])
    for _ in range(20):
        drain()
        clock.advance(seconds=2000)
    assert handle.result() == "done"


FORGED = {"id": "x", "queue": "bad name!", "due": 1.0, "generation": 0, "group": None, "dedupe": None, "body": "z"}


@pytest.mark.parametrize("fields", [{}, {"id": "x", "body": "z"}, FORGED, {"parts": 3}, {"parts": "many"}])
def test_what_a_stranger_parks_keeps_no_other_message_waiting(fn, drain, clock, fields):
    ran = []

    @fn.task(name="later")
    def later() -> None:
        ran.append(1)

    store = fn.runtime().engine.store
    later.using(delay_seconds=1000).defer()
    for shard in range(4):
        store.put(Record(kind="parked", id=f"x{shard}.0", fields=fields, bucket=f"due {shard}", sort="0000000000001"))
    clock.advance(seconds=1001)
    drain()
    assert ran == [1]


def test_a_call_that_is_cancelled_by_its_id_stays_so_for_as_long_as_it_waits(fn, drain, clock):
    ran = []

    @fn.task(name="yearly")
    def yearly() -> None:
        ran.append(1)

    handle = yearly.using(delay_seconds=300 * 86_400).defer()
    fn.handle(handle.id).cancel()
    clock.advance(days=300, seconds=1)
    drain()
    assert ran == []
    assert handle.state == "REVOKED"
