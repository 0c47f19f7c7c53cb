"""Calls made inside `atomic` leave after its commit and never without it, per database."""

from __future__ import annotations

import gc
import os
import threading
import warnings
from dataclasses import replace

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.transaction import TransactionManagementError, atomic

from django_fnqueue.transactions import current_transaction
from fnqueue import NotYetSent
from fnqueue.errors import BrokerError, SendAfterCommitFailed
from fnqueue.events import CallDropped
from tests.execution.helpers import Failing
from tests.integrations.django.newsstand.models import Article


class Trouble(Exception):
    """Of a view."""


@pytest.fixture
def seen():
    return []


@pytest.fixture
def note(fn, seen):
    @fn.task(name="note")
    def note(n: int) -> int:
        seen.append(n)
        return n

    return note


@pytest.fixture
def sends(fn):
    """How many calls left at once, each time."""
    runtime, counts = fn.runtime(), []
    broker = Failing(runtime.engine.broker)
    broker.on["send"] = lambda queue, entries: counts.append(len(entries)) or broker.real.send(queue, entries)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    return counts


@pytest.fixture
def refuses(fn):
    """The queue refuses these numbers."""
    runtime, numbers = fn.runtime(), set()
    broker = Failing(runtime.engine.broker)

    def send(queue, entries):
        if queue in numbers:
            raise BrokerError(f"{queue} is full")
        return broker.real.send(queue, entries)

    broker.on["send"] = send
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    return numbers


def test_a_call_outside_of_a_transaction_leaves_at_once(note, drain, seen):
    assert not note.defer(1).held
    drain()
    assert seen == [1]


def test_asking_for_the_transaction_opens_no_connection():
    connections.close_all()
    assert current_transaction() is None
    assert [each.connection for each in connections.all()] == [None, None]


def test_a_call_inside_atomic_runs_after_the_commit_and_not_before(note, drain, seen):
    with atomic():
        handle = note.defer(1)
        drain()
        assert (seen, handle.held) == ([], True)
        with pytest.raises(NotYetSent, match="waits for the transaction"):
            handle.result()
    drain()
    assert (seen, handle.result()) == ([1], 1)


def test_a_call_inside_atomic_that_is_rolled_back_never_runs_and_its_handle_says_so(note, drain, seen):
    with pytest.raises(Trouble), atomic():
        handle = note.defer(1)
        raise Trouble
    drain()
    assert (seen, handle.held) == ([], False)
    with pytest.raises(NotYetSent, match="was rolled back"):
        handle.result()


def test_a_rolled_back_savepoint_drops_its_calls_and_no_others(note, drain, seen):
    with atomic():
        note.defer(1)
        with pytest.raises(Trouble), atomic():
            dropped = note.defer(2)
            with atomic():
                note.defer(3)
            raise Trouble
        assert not dropped.held
        with atomic():
            note.defer(4)
        note.defer(5)
    drain()
    assert sorted(seen) == [1, 4, 5]


def test_a_block_without_a_savepoint_shares_the_fate_of_the_one_around_it(note, drain, seen):
    with atomic():
        with pytest.raises(Trouble), atomic(), atomic(savepoint=False):
            note.defer(1)
            raise Trouble
        with atomic(savepoint=False):
            note.defer(2)
    with pytest.raises(TransactionManagementError), atomic():
        note.defer(3)
        with pytest.raises(Trouble), atomic(savepoint=False):
            note.defer(4)
            raise Trouble
        Article.objects.exists()
    drain()
    assert seen == [2]


def test_set_rollback_drops_the_calls_as_an_exception_does(note, drain, seen):
    with atomic():
        note.defer(1)
        transaction.set_rollback(True)
        note.defer(2)
    with atomic():
        with atomic():
            note.defer(3)
            transaction.set_rollback(True)
        note.defer(4)
    drain()
    assert seen == [4]


def test_a_durable_block_holds_too(note, drain, seen):
    with atomic(durable=True):
        assert note.defer(1).held
    drain()
    assert seen == [1]


def test_a_call_waits_for_all_databases_that_are_open_where_it_is_made(note, drain, seen):
    with atomic("other"):
        with atomic("default"):
            handle = note.defer(1)
        drain()
        assert (seen, handle.held) == ([], True)
        with atomic("default"):
            note.defer(2)
    drain()
    assert sorted(seen) == [1, 2]


@pytest.mark.parametrize(("outer", "inner"), [("default", "other"), ("other", "default")])
def test_a_rollback_of_one_database_is_enough_to_drop_a_call(note, drain, seen, outer, inner):
    with pytest.raises(Trouble), atomic(outer):
        with atomic(inner):
            handle = note.defer(1)
        raise Trouble
    with atomic(outer), pytest.raises(Trouble), atomic(inner):
        other = note.defer(2)
        raise Trouble
    drain()
    assert (seen, handle.held, other.held) == ([], False, False)


def test_a_call_waits_for_the_database_that_is_open_and_for_no_other(note, drain, seen):
    with atomic("default"), pytest.raises(Trouble), atomic("other"):
        raise Trouble
    with atomic("other"):
        note.defer(1)
    drain()
    assert seen == [1]


def test_a_batch_inside_atomic_is_held_whole_and_atomic_inside_a_batch_by_itself(fn, note, drain, seen):
    with atomic():
        with fn.batch() as batch:
            note.defer(1)
            with pytest.raises(Trouble), atomic():
                note.defer(2)
                raise Trouble
            note.defer(3)
        assert [handle.held for handle in batch.handles] == [True, False, True]
    drain()
    assert sorted(seen) == [1, 3]
    with fn.batch():
        with atomic():
            note.defer(4)
        with pytest.raises(Trouble), atomic():
            note.defer(5)
            raise Trouble
        note.defer(6)
    drain()
    assert sorted(seen) == [1, 3, 4, 6]


def test_a_batch_that_fails_inside_a_transaction_sends_nothing_though_that_commits(fn, note, drain, seen):
    with atomic():
        with pytest.raises(Trouble), fn.batch():
            note.defer(1)
            with atomic():
                note.defer(2)
            raise Trouble
        note.defer(3)
    drain()
    assert seen == [3]


def test_two_transactions_in_one_place_are_two(fn, note, drain, seen):
    same = atomic()
    with same:
        first = current_transaction()
        note.defer(1)
    with same, pytest.raises(Trouble), same:
        assert current_transaction() != first
        note.defer(2)
        raise Trouble
    with pytest.raises(Trouble), same:
        note.defer(3)
        raise Trouble
    with same:
        note.defer(4)
    drain()
    assert sorted(seen) == [1, 4]


def test_calls_of_one_block_leave_in_one_go(note, sends, drain, seen):
    with atomic():
        for n in range(25):
            note.defer(n)
        with atomic():
            note.defer(25)
            note.defer(26)
        note.defer(27)
    assert sends == [25, 2, 1]
    with atomic("default"), atomic("other"):
        note.defer(28)
        note.defer(29)
    assert sends[3:] == [2]
    drain()
    assert sorted(seen) == list(range(30))


def test_hooks_of_the_application_and_calls_keep_their_order(note, sends):
    told = []
    with atomic():
        note.defer(1)
        transaction.on_commit(lambda: told.append(list(sends)))
        note.defer(2)
    assert (told, sends) == ([[1]], [1, 1])


def test_a_dropped_call_leaves_its_dedupe_key_to_the_next_at_once(note, drain, seen):
    with pytest.raises(Trouble), atomic():
        note.using(dedupe="k").defer(1)
        raise Trouble
    with atomic():
        note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


def test_dropped_calls_are_told(fn, note):
    told = []
    fn.on(CallDropped, told.append)
    with pytest.raises(Trouble), atomic():
        handle = note.defer(1)
        raise Trouble
    assert [(event.id, event.error) for event in told] == [(handle.id, None)]


def test_a_connection_that_is_closed_inside_atomic_drops_the_calls(note, drain, seen):
    with pytest.raises(DatabaseError), atomic():
        handle = note.defer(1)
        connection.close()
        Article.objects.exists()
    Article.objects.exists()
    drain()
    assert (seen, handle.held) == ([], False)


def test_without_autocommit_a_call_inside_atomic_waits_until_django_runs_its_hooks(note, drain, seen):
    transaction.set_autocommit(False)
    try:
        with atomic():
            note.defer(1)
        drain()
        assert seen == []
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    drain()
    assert seen == [1]


def test_without_autocommit_a_rollback_drops_the_calls_of_atomic(note, drain, seen):
    transaction.set_autocommit(False)
    try:
        with atomic():
            handle = note.defer(1)
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    drain()
    assert (seen, handle.held) == ([], False)


def test_without_autocommit_and_outside_of_atomic_a_call_leaves_at_once(note, drain, seen):
    transaction.set_autocommit(False)
    try:
        assert not note.defer(1).held
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    drain()
    assert seen == [1]


def test_where_django_would_never_run_the_hook_the_call_is_refused_and_not_lost(note, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    with atomic(), pytest.raises(TransactionManagementError, match="'default' has AUTOCOMMIT=False"):
        note.defer(1)


def test_each_thread_has_transactions_of_its_own(note, drain, seen):
    def other_thread():
        try:
            note.defer(1)
            with pytest.raises(Trouble), atomic():
                note.defer(2)
                raise Trouble
        finally:
            connections.close_all()

    with atomic("other"):
        note.defer(3)
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        drain()
        assert seen == [1]
    drain()
    assert seen == [1, 3]


def test_a_loss_after_the_commit_reaches_the_view_is_logged_and_keeps_back_no_other_call(
    note, refuses, drain, seen, caplog
):
    refuses |= {"mail", "bills"}
    told = []
    lost = pytest.raises(SendAfterCommitFailed, match="the transaction is committed, but 2 calls")
    with lost as caught, atomic():
        first = note.using(queue="mail").defer(1)
        note.defer(2)
        with atomic():
            second = note.using(queue="bills").defer(3)
        with pytest.raises(Trouble), atomic():
            note.defer(4)
            raise Trouble
        transaction.on_commit(lambda: told.append("a hook of the application"))
        note.defer(5)
    assert [id for id, _ in caught.value.failed] == [first.id, second.id]
    assert f"note {first.id} to queue mail could not be sent: mail is full" in caplog.text
    assert told == ["a hook of the application"]
    drain()
    assert sorted(seen) == [2, 5]
    with pytest.raises(NotYetSent, match="committed, and after that the call could not be sent"):
        first.result()
    with atomic():
        note.defer(6)
    drain()
    assert sorted(seen) == [2, 5, 6]


def test_a_hook_of_the_application_that_fails_keeps_back_later_calls_and_they_are_given_up(note, drain, seen):
    def fails():
        raise Trouble

    with pytest.raises(Trouble), atomic():
        note.defer(1)
        transaction.on_commit(fails)
        handle = note.defer(2)
    drain()
    assert (seen, handle.held) == ([1], False)
    with atomic():
        note.defer(3)
        transaction.on_commit(fails, robust=True)
        note.defer(4)
    drain()
    assert sorted(seen) == [1, 3, 4]


def test_calls_whose_connection_is_collected_as_garbage_are_dropped_when_the_next_transaction_is_asked_for(note):
    handles = []

    def thread_that_ends_in_a_transaction():
        atomic("other").__enter__()
        handles.append(note.defer(1))
        connections["other"].connection.close()

    thread = threading.Thread(target=thread_that_ends_in_a_transaction)
    thread.start()
    thread.join()
    gc.collect()
    assert handles[0].held  # garbage is collected at any moment, also where a lock is held that dropping needs
    current_transaction()
    assert not handles[0].held


def test_a_child_that_was_forked_inside_atomic_gives_up_no_call_of_its_parents(note, drain, seen):
    with atomic():
        handle = note.defer(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads
            child = os.fork()
        if child == 0:
            connection.run_on_commit.clear()
            os._exit(0 if handle.held else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    drain()
    assert seen == [1]


def test_what_a_task_defers_inside_atomic_is_held_too(fn, note, drain, seen):
    @fn.task(name="outer")
    def outer(commits: bool) -> None:
        with atomic():
            note.defer(int(commits))
            if not commits:
                raise Trouble

    outer.defer(True)
    outer.defer(False)
    drain()
    assert seen == [1]
