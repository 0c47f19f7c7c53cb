"""Calls made in a transaction wait for its commit: what a framework's integration relies on.

The transaction is a small one of our own: a list of what waits, with savepoints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import pytest

from fnqueue import NotYetSent
from fnqueue.errors import BrokerError, DatabaseError, SendAfterCommitFailed
from fnqueue.events import CallDeferred, CallDropped, CallHeld
from fnqueue.held import Held, release_all
from fnqueue.state.dedupe import Dedupe
from tests.execution.helpers import Failing


@dataclass
class Transactions:
    """Like a connection: blocks within blocks; only the outermost commit releases."""

    blocks: list[list[Held]] = field(default_factory=list)

    def begin(self) -> None:
        self.blocks.append([])

    def commit(self) -> None:
        done = self.blocks.pop()
        if self.blocks:
            self.blocks[-1] += done
            return
        for held in done:
            held.release()

    def rollback(self) -> None:
        for held in self.blocks.pop():
            held.drop()

    def current(self) -> Block | None:
        return Block(self, len(self.blocks)) if self.blocks else None


@dataclass(frozen=True)
class Block:
    transactions: Transactions = field(compare=False)
    depth: int

    def hold(self, held: Held) -> None:
        self.transactions.blocks[-1].append(held)


@pytest.fixture
def transactions(fn):
    found = Transactions()
    fn.hooks.transaction = found.current
    return found


@pytest.fixture
def seen():
    return []


@pytest.fixture
def note(fn, seen, transactions):
    @fn.task(name="note")
    def note(n: int) -> int:
        seen.append(n)
        return n

    return note


def test_a_call_made_in_a_transaction_runs_after_its_commit_and_not_before(transactions, note, drain, seen):
    transactions.begin()
    handle = note.defer(1)
    drain()
    assert seen == []
    transactions.commit()
    drain()
    assert (seen, handle.result()) == ([1], 1)


def test_a_call_made_in_a_transaction_that_rolls_back_never_runs(transactions, note, drain, seen):
    transactions.begin()
    note.defer(1)
    transactions.rollback()
    drain()
    assert seen == []


def test_a_savepoints_rollback_drops_its_calls_and_keeps_the_others(transactions, note, drain, seen):
    transactions.begin()
    note.defer(1)
    transactions.begin()
    note.defer(2)
    transactions.rollback()
    note.defer(3)
    transactions.commit()
    drain()
    assert sorted(seen) == [1, 3]


def test_the_id_is_known_at_once_and_the_result_of_a_held_call_is_not_waited_for(transactions, note):
    transactions.begin()
    handle = note.defer(1)
    assert len(handle.id) == 26
    assert handle.held
    assert handle.state == "PENDING"
    with pytest.raises(NotYetSent, match=r"task \w{26} \(note\) waits for the transaction, .* ask after its end"):
        handle.result()


def test_the_handle_of_a_dropped_call_says_that_it_was_rolled_back(transactions, note):
    transactions.begin()
    handle = note.defer(1)
    transactions.rollback()
    assert not handle.held
    with pytest.raises(NotYetSent, match="was never sent: the transaction, .* was rolled back"):
        handle.result()


def test_a_send_that_fails_after_the_commit_says_which_calls_are_lost_and_logs_them(fn, transactions, note, caplog):
    runtime = fn.runtime()
    broker = Failing(runtime.engine.broker)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    dropped = []
    fn.on(CallDropped, dropped.append)

    def full(*_):
        raise BrokerError("the disk is full")

    transactions.begin()
    handle = note.defer(1)
    broker.on["send"] = full
    with pytest.raises(SendAfterCommitFailed, match=f"committed, but call {handle.id} could not be sent: the disk is"):
        transactions.commit()
    assert f"note {handle.id} to queue default could not be sent: the disk is full" in caplog.text
    assert [(event.id, event.error) for event in dropped] == [(handle.id, "the disk is full")]
    with pytest.raises(NotYetSent, match="after that the call could not be sent"):
        handle.result()


def test_a_batch_in_a_transaction_is_held_whole_and_sent_in_one_go(fn, transactions, note, drain, seen):
    runtime, sends = fn.runtime(), []
    broker = Failing(runtime.engine.broker)
    broker.on["send"] = lambda queue, entries: sends.append(len(entries)) or broker.real.send(queue, entries)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    transactions.begin()
    with fn.batch() as batch:
        note.defer(1)
        note.defer(2)
    assert [handle.held for handle in batch.handles] == [True, True]
    assert fn.defer_many(note, [(3,), (4,)])[0].held
    transactions.commit()
    assert [handle.held for handle in batch.handles] == [False, False]
    drain()
    assert sorted(seen) == [1, 2, 3, 4]
    assert sends == [2, 2]


def test_the_result_of_a_call_in_a_batch_is_not_waited_for_before_the_batch_ends(fn, note, drain):
    with fn.batch():
        handle = note.defer(1)
        with fn.batch():
            inner = note.defer(2)
        for each in (handle, inner):
            with pytest.raises(NotYetSent):
                each.result()
    drain()
    assert (handle.result(), inner.result()) == (1, 2)


def test_a_transaction_within_a_batch_that_rolls_back_drops_its_calls_from_the_batch(
    fn, transactions, note, drain, seen
):
    with fn.batch() as batch:
        note.defer(1)
        transactions.begin()
        note.defer(2)
        transactions.rollback()
        transactions.begin()
        note.defer(3)
        transactions.commit()
    assert len(batch.handles) == 3
    drain()
    assert sorted(seen) == [1, 3]


def test_a_batch_that_fails_inside_a_transaction_sends_nothing_though_it_commits(fn, transactions, note, drain, seen):
    transactions.begin()
    with pytest.raises(RuntimeError), fn.batch():
        note.defer(1)
        transactions.begin()
        with fn.batch():
            note.defer(2)
        transactions.commit()
        raise RuntimeError
    note.defer(3)
    transactions.commit()
    drain()
    assert seen == [3]


def test_a_dropped_call_leaves_its_dedupe_key_to_the_next(transactions, note, drain, seen):
    transactions.begin()
    note.using(dedupe="k").defer(1)
    transactions.rollback()
    note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


def test_a_call_that_waits_has_no_dedupe_key_yet_so_its_rollback_takes_no_other_call_with_it(
    transactions, note, drain, seen
):
    transactions.begin()
    note.using(dedupe="k").defer(1)
    (block,) = transactions.blocks
    transactions.blocks = []  # another request
    other = note.using(dedupe="k").defer(2)
    transactions.blocks = [block]
    transactions.rollback()
    drain()
    assert (seen, other.result()) == ([2], 2)


def test_of_two_calls_with_one_dedupe_key_that_which_leaves_first_runs_and_both_handles_are_its(
    transactions, note, drain, seen, clock
):
    transactions.begin()
    held = note.using(dedupe="k").defer(1)
    (block,) = transactions.blocks
    transactions.blocks = []
    clock.advance(minutes=5)
    sent = note.using(dedupe="k").defer(2)
    transactions.blocks = [block]
    transactions.commit()
    drain()
    assert seen == [2]
    assert held.result() == 2
    assert held.id == sent.id


def test_two_calls_with_one_dedupe_key_in_one_transaction_run_as_one(transactions, note, drain, seen):
    transactions.begin()
    first, second = note.using(dedupe="k").defer(1), note.using(dedupe="k").defer(2)
    transactions.commit()
    drain()
    assert seen == [1]
    assert (first.result(), second.result(), second.id) == (1, 1, first.id)


def test_a_store_that_cannot_be_asked_for_a_dedupe_key_at_the_commit_keeps_back_no_call_without_one(
    fn, transactions, note, drain, seen
):
    def gone(*_, **__):
        raise DatabaseError("the store is gone")

    store = Failing(fn.runtime().engine.store)
    runtime = fn.runtime()
    runtime.__dict__["dedupe"] = Dedupe(store, runtime.clock, runtime.sealing.signs, runtime.settings.environment)
    transactions.begin()
    with fn.batch():
        note.defer(1)
        keyed = note.using(dedupe="k").defer(2)
        note.defer(3)
    store.on["put"] = gone
    with pytest.raises(SendAfterCommitFailed, match=f"but call {keyed.id} could not be sent: the store is gone"):
        transactions.commit()
    drain()
    assert sorted(seen) == [1, 3]


def test_the_handle_of_an_earlier_call_with_the_key_can_be_waited_for_in_a_transaction(transactions, note, drain):
    first = note.using(dedupe="k").defer(1)
    drain()
    transactions.begin()
    second = note.using(dedupe="k").defer(2)
    assert second.id == first.id
    assert second.result() == 1


def test_release_and_drop_take_effect_once_whoever_comes_first(transactions, note, drain, seen):
    transactions.begin()
    note.defer(1)
    ((held,),) = transactions.blocks
    transactions.commit()
    held.release()
    held.drop()
    drain()
    assert seen == [1]


def test_what_waited_for_one_commit_leaves_in_one_go_and_a_loss_among_it_keeps_back_no_other(
    fn, transactions, note, drain, seen
):
    runtime, sends = fn.runtime(), []
    broker = Failing(runtime.engine.broker)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)

    def send(queue, entries):
        sends.append((queue, len(entries)))
        if queue == "broken":
            raise BrokerError("the disk is full")
        return broker.real.send(queue, entries)

    broker.on["send"] = send
    transactions.begin()
    handles = [note.defer(n) for n in range(25)]
    lost = note.using(queue="broken").defer(99)
    ((*held,),) = transactions.blocks
    held[3].drop()
    with pytest.raises(SendAfterCommitFailed, match=lost.id):
        release_all(held)
    assert sends == [("default", 24), ("broken", 1)]
    drain()
    assert sorted(seen) == [n for n in range(25) if n != 3]
    assert (handles[0].result(), lost.held) == (0, False)
    for never in (handles[3], lost):
        with pytest.raises(NotYetSent):
            never.result()
    release_all(held)
    assert len(sends) == 2


def test_a_held_call_is_told_when_it_is_made_and_when_it_is_sent_or_dropped(fn, transactions, note):
    told = []
    for event in (CallHeld, CallDeferred, CallDropped):
        fn.on(event, lambda event: told.append((type(event).__name__, event.id)))
    transactions.begin()
    sent = note.defer(1)
    transactions.begin()
    dropped = note.defer(2)
    transactions.rollback()
    transactions.commit()
    assert told == [
        ("CallHeld", sent.id),
        ("CallHeld", dropped.id),
        ("CallDropped", dropped.id),
        ("CallDeferred", sent.id),
    ]


def test_what_a_task_defers_in_a_transaction_is_held_too(fn, transactions, note, drain, seen):
    @fn.task(name="outer")
    def outer(commits: bool) -> None:
        transactions.begin()
        note.defer(int(commits))
        transactions.commit() if commits else transactions.rollback()

    outer.defer(True)
    outer.defer(False)
    drain()
    assert seen == [1]


def test_ten_thousand_calls_of_one_transaction_are_looked_through_in_no_time(fn, transactions, note):
    transactions.begin()
    fn.defer_many(note, [(n,) for n in range(10_000)])
    (held,) = transactions.blocks[0]
    began = time.process_time()
    assert len(held.wanted()) == 10_000
    assert time.process_time() - began < 0.5  # compared each with each it is seconds
    transactions.rollback()
