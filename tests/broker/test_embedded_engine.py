"""What is special to the engine on SQLite: transactions with its caller, exact counts and times, large backlogs.

The rules that it shares with SQS are in `tests/conformance/broker.py`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fnqueue.backends import connect
from fnqueue.broker.base import Entry, Message, Receipt, WaitsForAny
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.clock import ManualClock
from fnqueue.database import Connection, Database
from fnqueue.errors import OptionInvalid
from fnqueue.settings import Settings

QUEUE = "orders"
FIFO = "orders.fifo"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    database = Database(tmp_path / "queue.db", durability="relaxed", clock=clock)
    yield database
    database.close()


@pytest.fixture
def broker(database: Database, clock: ManualClock) -> EmbeddedBroker:
    return EmbeddedBroker(database, clock=clock)


def put(broker: EmbeddedBroker, *bodies: str, queue: str = QUEUE, delay_seconds: int = 0) -> None:
    entries = [Entry(id=body, body=body, delay_seconds=delay_seconds) for body in bodies]
    assert broker.send(queue, entries) == []


def put_in_order(broker: EmbeddedBroker, *bodies: str, queue: str = FIFO) -> None:
    """`a1` goes into group `a`."""
    entries = [Entry(id=body, body=body, group=body[0], dedupe=f"{queue}-{body}") for body in bodies]
    assert broker.send(queue, entries) == []


def take(broker: EmbeddedBroker, queue: str = QUEUE, count: int = 64, *, hidden: int = 30) -> list[Message]:
    return broker.receive(queue, max_messages=count, visibility_seconds=hidden)


def bodies(messages: Sequence[Message]) -> list[str]:
    return [message.body for message in messages]


def receipts(messages: Sequence[Message]) -> list[Receipt]:
    return [message.receipt for message in messages]


class TestTransactions:
    def test_settling_and_receiving_are_one_transaction(self, broker: EmbeddedBroker, database: Database) -> None:
        put(broker, "a", "b")
        (first,) = take(broker, count=1)
        statements: list[str] = []
        database.write(lambda c: c.set_trace_callback(statements.append))
        statements.clear()

        def settle(_: Connection) -> list[Message]:
            broker.send("letters", [Entry(id="1", body="follows")])
            broker.delete(QUEUE, [first.receipt])
            return take(broker)

        assert bodies(database.write(settle)) == ["b"]
        assert statements.count("COMMIT") == 1

    def test_what_a_caller_undoes_is_undone_in_the_queue(self, broker: EmbeddedBroker, database: Database) -> None:
        put(broker, "a", "b")
        (first,) = take(broker, count=1)

        def fail(_: Connection) -> None:
            broker.delete(QUEUE, [first.receipt])
            broker.send(QUEUE, [Entry(id="c", body="c")])
            take(broker)
            raise LookupError

        with pytest.raises(LookupError):
            database.write(fail)
        found = broker.attributes(QUEUE)
        assert (found.visible, found.in_flight) == (1, 1)
        assert take(broker)[0].receipt.receive_count == 1

    def test_inside_a_transaction_nobody_waits(
        self, broker: EmbeddedBroker, database: Database, clock: ManualClock
    ) -> None:
        before = clock.now()
        assert database.write(lambda _: broker.receive(QUEUE, wait_seconds=20)) == []
        assert clock.now() == before

    def test_an_empty_poll_does_not_need_the_write_lock(self, broker: EmbeddedBroker, database: Database) -> None:
        put(broker, "hidden", delay_seconds=10)
        with contextlib.closing(sqlite3.connect(database.path or "", isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            assert take(broker) == []
            assert broker.attributes(QUEUE).delayed == 1


class TestWaiting:
    def test_a_wait_ends_when_a_delayed_message_is_due(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put(broker, "later", delay_seconds=5)
        before = clock.now()
        assert bodies(broker.receive(QUEUE, wait_seconds=20)) == ["later"]
        assert before + 5 <= clock.now() < before + 5.1

    def test_a_wait_ends_when_a_hidden_message_is_due(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put(broker, "a")
        take(broker, hidden=7)
        before = clock.now()
        assert bodies(broker.receive(QUEUE, wait_seconds=20)) == ["a"]
        assert before + 7 <= clock.now() < before + 7.1

    def test_a_wait_ends_when_a_locked_group_is_due(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put_in_order(broker, "a1", "a2")
        take(broker, FIFO, 1, hidden=7)
        before = clock.now()
        assert bodies(broker.receive(FIFO, wait_seconds=20)) == ["a1", "a2"]
        assert before + 7 <= clock.now() < before + 7.1

    def test_a_wait_in_vain_takes_its_time(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put(broker, "much later", delay_seconds=900)
        before = clock.now()
        assert broker.receive(QUEUE, wait_seconds=20) == []
        assert clock.now() == pytest.approx(before + 20, abs=0.1)

    def test_several_queues_are_waited_for_at_once(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        assert isinstance(broker, WaitsForAny)
        put(broker, "later", delay_seconds=5)
        put_in_order(broker, "a1")
        take(broker, FIFO, hidden=3)
        for seconds in (3, 2):
            before = clock.now()
            broker.wait_any([QUEUE, "nothing here", FIFO], 20, seen=broker.bell_count())
            assert before + seconds <= clock.now() < before + seconds + 0.1
            assert take(broker, FIFO) or take(broker)
        before = clock.now()
        put(broker, "now")
        broker.wait_any([FIFO, QUEUE], 20, seen=broker.bell_count())
        assert clock.now() == before
        assert "nothing here" not in broker.queues()

    def test_a_worker_that_stops_ends_its_waits(self, tmp_path: Path) -> None:
        database = Database(tmp_path / "live.db", durability="relaxed")
        broker = EmbeddedBroker(database)
        broker.wait_any([QUEUE], 0.01, seen=broker.bell_count())
        seen = broker.bell_count()
        waiting = threading.Thread(target=lambda: broker.wait_any([QUEUE], 30, seen=seen))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        broker.wake()
        waiting.join(10)
        assert not waiting.is_alive()
        database.close()

    @pytest.mark.parametrize("event", ["send", "delete", "give back", "dead letter"])
    def test_what_makes_a_message_visible_wakes_who_waits(self, tmp_path: Path, event: str) -> None:
        """On the machine's time, because only there somebody waits."""
        database = Database(tmp_path / "live.db", durability="relaxed")
        broker = EmbeddedBroker(database)
        broker.create("dead.fifo")
        broker.create(FIFO, dead_letter_queue="dead.fifo", max_receive_count=1)
        broker.create("other.fifo")
        put_in_order(broker, "a1", "a2")
        (held,) = take(broker, FIFO, 1)
        queue = "dead.fifo" if event == "dead letter" else "other.fifo" if event == "send" else FIFO
        if event == "give back":
            broker.create(FIFO)  # no policy: it may come twice
        found: list[Message] = []
        waiting = threading.Thread(target=lambda: found.extend(broker.receive(queue, wait_seconds=20)))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        if event == "send":
            put_in_order(broker, "b1", queue=queue)
        elif event == "delete":
            broker.delete(FIFO, [held.receipt])
        elif event == "give back":
            broker.change_visibility(FIFO, [(held.receipt, 0)])
        else:
            broker.change_visibility(FIFO, [(held.receipt, 0)])
            take(broker, FIFO)
        waiting.join(10)
        assert not waiting.is_alive()
        assert found
        database.close()


class TestCountsAndTimes:
    def test_attributes_are_exact(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put(broker, "a", "b", "c")
        clock.advance(seconds=10)
        put(broker, "d", delay_seconds=60)
        taken = take(broker, count=2, hidden=20)
        clock.advance(seconds=5)
        found = broker.attributes(QUEUE)
        assert (found.visible, found.in_flight, found.delayed) == (1, 2, 1)
        assert found.oldest_age_seconds == pytest.approx(15)
        broker.delete(QUEUE, receipts(taken))
        clock.advance(seconds=60)
        found = broker.attributes(QUEUE)
        assert (found.visible, found.in_flight, found.delayed) == (2, 0, 0)

    def test_an_empty_queue_is_of_no_age(self, broker: EmbeddedBroker) -> None:
        broker.create(QUEUE)
        assert broker.attributes(QUEUE).oldest_age_seconds == 0

    def test_what_stands_behind_a_locked_head_counts_as_visible(self, broker: EmbeddedBroker) -> None:
        put_in_order(broker, "a1", "a2", "b1")
        take(broker, FIFO, 1)
        found = broker.attributes(FIFO)
        assert (found.visible, found.in_flight, found.delayed) == (2, 1, 0)  # [A10]

    def test_expired_messages_are_not_counted(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        broker.create(QUEUE, retention_seconds=60)
        put(broker, "a", "b")
        take(broker, count=1, hidden=100)
        clock.advance(seconds=60)
        found = broker.attributes(QUEUE)
        assert (found.visible, found.in_flight, found.oldest_age_seconds) == (0, 0, 0)

    def test_a_retention_made_shorter_holds_at_once(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put(broker, "a")
        clock.advance(seconds=100)
        broker.create(QUEUE, retention_seconds=60)
        assert take(broker) == []  # [A8]

    def test_thousands_of_expired_messages_do_not_hide_a_good_one(
        self, broker: EmbeddedBroker, database: Database, clock: ManualClock
    ) -> None:
        broker.create(QUEUE, retention_seconds=60)
        put(broker, *[f"old{i}" for i in range(12_000)])
        clock.advance(seconds=61)
        put(broker, "good")
        assert bodies(take(broker)) == ["good"]
        assert database.read(lambda c: c.execute("SELECT count(*) FROM message").fetchone()) == (1,)

    def test_expired_heads_free_their_groups(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        broker.create(FIFO, retention_seconds=60)
        put_in_order(broker, *[f"a{i}" for i in range(100)])
        clock.advance(seconds=61)
        put_in_order(broker, "a-new")
        assert bodies(take(broker, FIFO)) == ["a-new"]

    def test_a_changed_delay_of_a_fifo_queue_holds_for_what_is_in_it(
        self, broker: EmbeddedBroker, clock: ManualClock
    ) -> None:
        broker.create(FIFO, delay_seconds=100)
        put_in_order(broker, "a1")
        clock.advance(seconds=10)
        broker.create(FIFO, delay_seconds=5)
        assert bodies(take(broker, FIFO)) == ["a1"]  # [A7]


class TestOrder:
    def test_messages_come_in_the_order_of_sending(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        sent = [f"m{i:03}" for i in range(150)]
        for start in range(0, 150, 50):
            put(broker, *sent[start : start + 50])
            clock.advance(seconds=0.001)
        assert [body for _ in range(3) for body in bodies(take(broker))] == sent

    def test_given_back_unrun_a_message_keeps_its_place(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        put(broker, "first")
        clock.advance(seconds=1)
        put(broker, "second")
        (first,) = take(broker, count=1)
        clock.advance(seconds=1)
        broker.change_visibility(QUEUE, [(first.receipt, 0)])
        assert bodies(take(broker, count=1)) == ["first"]

    def test_messages_that_always_fail_do_not_keep_others_from_coming(
        self, broker: EmbeddedBroker, clock: ManualClock
    ) -> None:
        put(broker, *[f"bad{i}" for i in range(64)])
        clock.advance(seconds=1)
        put(broker, "good")
        take(broker, hidden=10)
        clock.advance(seconds=11)
        assert bodies(take(broker, count=1)) == ["good"]

    def test_up_to_64_come_at_once(self, broker: EmbeddedBroker) -> None:
        put(broker, *[f"m{i}" for i in range(100)])
        assert len(take(broker, count=1000)) == broker.receive_max == 64


class TestReceiptsAndIds:
    def test_a_receipt_of_a_deleted_message_never_hits_a_later_one(self, broker: EmbeddedBroker) -> None:
        seen = set()
        for _ in range(5):  # time stands still, and the table is empty each time
            put(broker, "a")
            (message,) = take(broker)
            assert message.message_id not in seen
            assert message.receipt.handle not in seen
            seen |= {message.message_id, message.receipt.handle}
            broker.delete(QUEUE, [message.receipt])

    def test_a_receipt_of_a_dropped_queue_is_none_in_its_successor(self, broker: EmbeddedBroker) -> None:
        put(broker, "a")
        (old,) = take(broker)
        broker.drop(QUEUE)
        put(broker, "b")
        (failure,) = broker.delete(QUEUE, [old.receipt])
        assert failure.code == "ReceiptHandleIsInvalid"
        assert bodies(take(broker)) == ["b"]

    def test_each_entry_gets_its_id_or_its_failure(self, broker: EmbeddedBroker) -> None:
        good, bad, too = broker.send_each(
            QUEUE, [Entry(id="1", body="a"), Entry(id="2", body=""), Entry(id="3", body="c")]
        )
        assert [good, too] == [message.message_id for message in take(broker)]
        assert not isinstance(bad, str)
        assert bad.index == 1

    def test_a_fifo_duplicate_has_the_id_of_the_first(self, broker: EmbeddedBroker) -> None:
        entry = Entry(id="1", body="a", group="g", dedupe="d")
        assert len(set(broker.send_each(FIFO, [entry, entry]) + broker.send_each(FIFO, [entry]))) == 1  # [F2]

    def test_a_send_of_many_trips_keeps_order_and_indexes(self, broker: EmbeddedBroker) -> None:
        entries = [Entry(id=f"{i}", body=f"m{i:04}" if i % 400 else "") for i in range(1, 1201)]
        assert [failure.index for failure in broker.send(QUEUE, entries)] == [399, 799, 1199]
        assert bodies(take(broker))[:2] == ["m0001", "m0002"]


class TestDeadLetters:
    def test_a_dead_letter_queue_is_made_with_its_source(self, broker: EmbeddedBroker) -> None:
        broker.create(QUEUE, dead_letter_queue="dead", max_receive_count=1)
        assert broker.queues() == ["dead", QUEUE]

    def test_a_dead_letter_queue_of_the_other_type_is_refused(self, broker: EmbeddedBroker) -> None:
        with pytest.raises(OptionInvalid, match=r"dead\.fifo.* same type"):
            broker.create(QUEUE, dead_letter_queue="dead.fifo", max_receive_count=1)  # [D6]

    def test_a_dead_head_among_the_living_moves_alone(self, broker: EmbeddedBroker, clock: ManualClock) -> None:
        broker.create(QUEUE, dead_letter_queue="dead", max_receive_count=1)
        put(broker, "dead")
        take(broker, hidden=1)
        clock.advance(seconds=0.5)
        put(broker, "a", "b")
        clock.advance(seconds=1)
        assert bodies(take(broker)) == ["a", "b"]
        assert bodies(take(broker, "dead")) == ["dead"]

    def test_groups_in_a_shared_dead_letter_queue_keep_the_order_of_sending(self, broker: EmbeddedBroker) -> None:
        """Two priorities, one dead-letter queue: what was sent first dies last, and stands first nonetheless."""
        for queue in ("high.fifo", "low.fifo"):
            broker.create(queue, dead_letter_queue="dead.fifo", max_receive_count=1)
        put_in_order(broker, "a-low", "a-low-2", queue="low.fifo")
        put_in_order(broker, "a-high", queue="high.fifo")
        for queue, lives in (("high.fifo", 1), ("low.fifo", 2)):
            for _ in range(lives):
                assert len(take(broker, queue, 1, hidden=0)) == 1
            assert take(broker, queue) == []
        (locks,) = take(broker, "dead.fifo", 1)
        assert take(broker, "dead.fifo") == []
        broker.change_visibility("dead.fifo", [(locks.receipt, 0)])
        dead = take(broker, "dead.fifo")
        assert bodies(dead) == ["a-low", "a-low-2", "a-high"]
        assert broker.delete("dead.fifo", receipts(dead)) == []
        assert broker.attributes("dead.fifo").visible == 0

    def test_more_than_a_trip_goes_back_in_order(self, broker: EmbeddedBroker) -> None:
        sent = [f"m{i:04}" for i in range(1200)]
        put(broker, *sent, queue="dead")
        broker.create(QUEUE)
        assert broker.redrive("dead", QUEUE) == 1200
        assert bodies(take(broker)) == sent[:64]

    def test_a_queue_of_many_trips_is_purged_and_dropped_whole(
        self, broker: EmbeddedBroker, database: Database
    ) -> None:
        put(broker, *[f"m{i}" for i in range(1000)])
        put_in_order(broker, *[f"a{i}" for i in range(1100)])
        broker.purge(QUEUE)
        broker.drop(FIFO)
        assert broker.queues() == [QUEUE]
        assert database.read(lambda c: c.execute("SELECT count(*) FROM message").fetchone()) == (0,)
        assert database.read(lambda c: c.execute("SELECT count(*) FROM fifo_message").fetchone()) == (0,)


class TestBacklogs:
    """What a million messages cost is told by the plans: no scan, no sort, on what runs for every message."""

    @pytest.mark.parametrize("queue", [QUEUE, FIFO])
    def test_nothing_on_the_way_of_a_message_scans_or_sorts(
        self, broker: EmbeddedBroker, database: Database, queue: str
    ) -> None:
        broker.create(queue, dead_letter_queue="dead" + queue[6:], max_receive_count=5)
        statements: list[str] = []
        database.write(lambda c: c.set_trace_callback(statements.append))
        put_in_order(broker, "a1", "b1", queue=queue) if queue == FIFO else put(broker, "a1", "b1")
        messages = take(broker, queue)
        broker.change_visibility(queue, [(messages[0].receipt, 60)])
        broker.delete(queue, receipts(messages))
        database.write(lambda c: c.set_trace_callback(None))
        ours = {text for text in statements if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))}
        assert len(ours) >= 4
        for statement in ours:
            plan = database.read(lambda c, s=statement: [row[3] for row in c.execute(f"EXPLAIN QUERY PLAN {s}")])
            assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN message")], statement
            assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], statement

    def test_many_locked_groups_do_not_hide_a_free_one(self, broker: EmbeddedBroker) -> None:
        entries = [Entry(id=f"{i}", body=f"{i}", group=f"g{i % 200}", dedupe=f"{i}") for i in range(1000)]
        assert broker.send(FIFO, entries) == []
        groups = set()
        for _ in range(16):
            groups |= {message.group for message in take(broker, FIFO)}
        assert len(groups) == 200
        assert take(broker, FIFO) == []
        put_in_order(broker, "free")
        assert bodies(take(broker, FIFO)) == ["free"]


@pytest.mark.parametrize("store_url", [None, "sqlite:///{folder}/other.db"], ids=["the same file", "another file"])
def test_a_receive_waits_for_the_disk_only_where_a_record_could_outlive_it(
    tmp_path: Path, store_url: str | None
) -> None:
    """A power failure may then take a receive back, and the record of a finished task with it, never one alone."""
    settings = Settings(url=f"sqlite:///{tmp_path}/queue.db", store_url=store_url and store_url.format(folder=tmp_path))
    engine = connect(settings, ManualClock())
    try:
        assert isinstance(engine.broker, EmbeddedBroker)
        put(engine.broker, "a")
        statements: list[str] = []
        engine.databases[0].write(lambda connection: connection.set_trace_callback(statements.append))
        assert bodies(take(engine.broker)) == ["a"]
        assert ("PRAGMA synchronous=NORMAL" in statements) is (store_url is None)
        put(engine.broker, "b")
        assert statements.count("PRAGMA synchronous=FULL") == statements.count("PRAGMA synchronous=NORMAL")
    finally:
        engine.close()
