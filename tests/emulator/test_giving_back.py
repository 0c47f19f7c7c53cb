"""What was taken for a client that has gone, on the engine itself: as if nobody had seen it."""

from __future__ import annotations

import pytest

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.entries import Outgoing
from fnqueue.clock import ManualClock
from fnqueue.database import Database


@pytest.mark.parametrize("name", ["q", "q.fifo"])
def test_a_message_given_back_is_visible_in_its_place_and_its_count_is_as_before(name: str) -> None:
    clock = ManualClock()
    database = Database(None, clock=clock)
    service = QueueService(database, clock=clock)
    address = Address("us-east-1", "123456789012", name)
    fifo = name.endswith(".fifo")
    service.create(address, {"FifoQueue": "true"} if fifo else {}, {})
    for body in ("first", "second"):
        named = {"group": "g", "dedupe": body} if fifo else {}
        service.send(address, Outgoing(body=body, **named))
        clock.advance(seconds=1)
    taken = service.receive(address, count=1, visibility_seconds=30, attempt=None)
    service.touched.clear()
    service.undo_receive(address, taken)
    assert service.touched == {address.full}  # somebody else may wait for it
    again = service.receive(address, count=10, visibility_seconds=30, attempt=None)
    assert [(one[1], one[-1]) for one in again.messages] == [(1, "first"), (1, "second")]
    database.close()
