"""Calls in users' own tests: a TestCase wraps each test in blocks that never commit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.db import transaction
from django.db.transaction import atomic
from django.test import TestCase, TransactionTestCase

import fnqueue.testing
from django_fnqueue import FnQueue

seen: list[int] = []
fn = FnQueue()


@fn.task(name="note")
def note(n: int) -> None:
    seen.append(n)


@pytest.fixture(autouse=True)
def _empty_queue():
    seen.clear()
    with fnqueue.testing.in_memory(fn):
        yield


def drain() -> list[int]:
    fnqueue.testing.Drain(fn.runtime)()
    return sorted(seen)


def view(n: int, *, commits: bool = True) -> None:
    """Its own transaction, as ATOMIC_REQUESTS makes one."""
    with atomic():
        note.defer(n)
        if not commits:
            transaction.set_rollback(True)


class InATestCase(TestCase):
    databases = frozenset({"default", "other"})

    def test_calls_are_held_and_nothing_runs(self):
        view(1)
        note.defer(2)
        assert drain() == []

    def test_captured_calls_are_sent_and_exactly_those(self):
        view(1)
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            view(2)
            view(3)
            view(4, commits=False)
            with atomic():
                note.defer(5)
                with atomic():
                    note.defer(6)
        view(7)
        assert len(callbacks) == 4
        assert drain() == [2, 3, 5, 6]

    def test_what_was_captured_may_be_executed_later_and_once(self):
        with self.captureOnCommitCallbacks() as callbacks:
            view(1)
        assert drain() == []
        for callback in callbacks * 2:
            callback()
        assert drain() == [1]

    def test_a_capture_inside_a_block_takes_no_call_that_was_made_before_it(self):
        with atomic():
            note.defer(1)
            with self.captureOnCommitCallbacks(execute=True):
                note.defer(2)
        assert drain() == [2]

    def test_a_call_outside_of_any_block_of_the_test_is_captured_too(self):
        with self.captureOnCommitCallbacks(execute=True):
            note.defer(1)
        assert drain() == [1]

    def test_a_call_in_another_database_is_captured_there(self):
        in_other = self.captureOnCommitCallbacks(using="other")
        with self.captureOnCommitCallbacks(execute=True), in_other as others, atomic("other"):
            note.defer(1)
        assert drain() == []
        assert len(others) == 1
        with self.captureOnCommitCallbacks(using="other", execute=True), atomic("other"):
            note.defer(2)
        assert drain() == [2]

    def test_a_task_that_runs_in_a_capture_has_its_own_calls_captured(self):
        @fn.task(name="outer")
        def outer() -> None:
            view(1)

        try:
            with self.captureOnCommitCallbacks(execute=True), atomic():
                transaction.on_commit(outer)
            assert drain() == [1]
        finally:
            del fn.registry._tasks["outer"]


class InATransactionTestCase(TransactionTestCase):
    databases = frozenset({"default", "other"})

    def _fixture_teardown(self):  # flushes tables that other tests need
        pass

    def test_transactions_are_real(self):
        view(1)
        view(2, commits=False)
        note.defer(3)
        assert drain() == [1, 3]


PYTEST_DJANGO = {
    "settings.py": """
        SECRET_KEY = "of a test"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    """,
    "pytest.ini": """
        [pytest]
        DJANGO_SETTINGS_MODULE = settings
    """,
    "test_it.py": """
        import pytest
        from django.db.transaction import atomic
        from django_fnqueue.transactions import current_transaction

        @pytest.fixture
        def note(fn, seen):
            fn.hooks.transaction = current_transaction  # as django_fnqueue.FnQueue does; this is the plain one
            return fn.task(name="note")(lambda n: seen.append(n))

        @pytest.fixture
        def seen():
            return []

        @pytest.mark.django_db
        def test_captured(note, seen, drain, django_capture_on_commit_callbacks):
            note.defer(1)
            with django_capture_on_commit_callbacks(execute=True) as callbacks:
                with atomic():
                    note.defer(2)
                note.defer(3)
            drain()
            assert (seen, len(callbacks)) == ([2, 3], 2)

        @pytest.mark.django_db(transaction=True)
        def test_real(note, seen, drain):
            with atomic():
                note.defer(1)
                drain()
                assert seen == []
            drain()
            assert seen == [1]
    """,
}


def test_the_fixture_of_pytest_django_sends_what_it_captures(tmp_path: Path):
    pytest.importorskip("pytest_django", reason="pytest-django is not installed")
    for name, text in PYTEST_DJANGO.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout + done.stderr
