"""The limit of what may be in flight: 120,000 messages, on the engine itself."""

from __future__ import annotations

import pytest

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.clock import ManualClock
from fnqueue.database import Connection, Database
from fnqueue.errors import BrokerRefused
from tests.emulator.clients import row

FILL = {
    "q": """
        INSERT INTO message (queue, ready_at, sent_at, body, receives)
        SELECT q.id, {at}, {at}, 'x', 0 FROM queue q, (
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120005) SELECT i FROM n)
    """,
    "q.fifo": """
        INSERT INTO fifo_message (queue, group_id, head, ready_at, sent_at, body, receives, dedupe)
        SELECT q.id, 'g' || i, 1, {at}, {at}, 'x', 0, i FROM queue q, (
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120005) SELECT i FROM n)
    """,
}
TABLE = {"q": "message", "q.fifo": "fifo_message"}


@row("L10", "L11")
@pytest.mark.parametrize("name", ["q", "q.fifo"])
def test_no_more_than_120_000_are_in_flight(name: str) -> None:
    clock = ManualClock()
    database = Database(None, clock=clock)
    service = QueueService(database, clock=clock)
    address = Address("us-east-1", "123456789012", name)
    service.create(address, {"FifoQueue": "true"} if name.endswith(".fifo") else {}, {})

    def fill(connection: Connection) -> None:
        connection.execute(FILL[name].format(at=clock.now()))
        in_flight = f"UPDATE {TABLE[name]} SET receives = 1, ready_at = ready_at + 60 WHERE id <= 119998"
        connection.execute(in_flight)

    database.write(fill)
    assert len(service.receive(address, count=10, visibility_seconds=60, attempt=None).messages) == 2
    if name == "q":
        with pytest.raises(BrokerRefused, match="OverLimit"):
            service.receive(address, count=1, visibility_seconds=60, attempt=None)
    else:
        found = service.receive(address, count=1, visibility_seconds=60, attempt=None)
        assert found.messages == []
        assert found.due_at is not None
        assert found.due_at > clock.now()  # who waits does not spin
    clock.advance(seconds=61)
    assert len(service.receive(address, count=10, visibility_seconds=60, attempt=None).messages) == 10
    database.close()
