"""Thousands of calls in random transactions of two databases: exactly the committed ones run.

A program is what a view does: blocks of `atomic` within each other, with and without savepoints, failures that are
caught somewhere or nowhere, batches, blocks that only read. The witness is the database: with each call a row of its
number is written in every database that is inside `atomic` there, and the call must run if and only if all of its
rows are left at the end, and no batch around it failed before it had left.

Some 3,000 calls; 50,000 with FNQUEUE_TEST_FULL=1. FNQUEUE_TEST_SEED repeats a run: the seed is printed.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError, atomic
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from fnqueue.policies import public

FULL = os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0")
SEED = int(os.environ.get("FNQUEUE_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
DEFERS = 50_000 if FULL else 3_000

ALIASES = ["default", "other"]
CALLS = ["defer", "defer", "defer many"]
REST = ["read", "write default", "write other", "set_rollback default", "set_rollback other", "raise", "hook"]
AROUND = [
    *(f"atomic{kind} {alias}" for alias in ALIASES for kind in ("", "", " without savepoint", " that rolls back")),
    "same block",
    "catch",
    "catch",
    "batch",
]

Program = list[Any]
steps = st.recursive(
    st.sampled_from(CALLS * 4 + REST),
    lambda inner: st.tuples(st.sampled_from(AROUND), st.lists(inner, max_size=6)),
    max_leaves=25,
)
programs = st.lists(steps, min_size=1, max_size=10)


class Trouble(Exception):
    """Of a view."""


@dataclass
class Call:
    """`witnesses`: the databases that have its row. `doomed`: one could not even write it. `outermost`: when the
    transactions that it waits for began. `batches`: those it was made in."""

    number: int
    witnesses: list[str] = field(default_factory=list)
    doomed: bool = False
    outermost: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)


class Player:
    def __init__(self, fn: Any, note: Any) -> None:
        self.note, self.fn = note, fn
        self.made: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.handles: list[Any] = []
        self.open: dict[str, int] = {}
        self.batches: list[int] = []
        self.failed: set[int] = set()
        self.moments = self.numbers = 0
        self.shared = atomic("default")

    def play(self, program: Program) -> None:
        self.calls, self.handles, self.failed = [], [], set()
        try:
            self.run(program)
        except (Trouble, TransactionManagementError):
            self.made["nobody caught it"] += 1

    def run(self, program: Program) -> None:
        for step in program:
            name, inner = step if isinstance(step, tuple) else (step, None)
            self.made[name] += 1
            verb, _, rest = name.partition(" ")
            getattr(self, f"do_{verb}")(rest, inner)

    # ---------------------------------------------------------------- calls, and what they write

    def do_defer(self, many: str, _: None) -> None:
        numbers = [self.call() for _ in range(3 if many else 1)]
        if many:
            self.handles += self.fn.defer_many(self.note, [(number,) for number in numbers])
        else:
            self.handles.append(self.note.defer(numbers[0]))

    def call(self) -> int:
        self.numbers += 1
        call = Call(self.numbers, outermost=list(self.open.values()), batches=list(self.batches))
        for alias in self.open:
            if connections[alias].needs_rollback:
                call.doomed = True
            else:
                self.execute(alias, "INSERT INTO witness VALUES (%s)", [call.number])
                call.witnesses.append(alias)
        self.calls.append(call)
        return call.number

    def execute(self, alias: str, sql: str, values: list[int]) -> Any:
        with connections[alias].cursor() as cursor:
            return cursor.execute(sql, values).fetchall()

    def do_read(self, *_: Any) -> None:
        self.execute("default", "SELECT count(*) FROM witness WHERE n = %s", [0])

    def do_write(self, alias: str, _: None) -> None:
        self.execute(alias, "INSERT INTO witness VALUES (%s)", [0])

    def do_hook(self, *_: Any) -> None:
        transaction.on_commit(lambda: None)

    # ---------------------------------------------------------------- troubles

    def do_raise(self, *_: Any) -> None:
        raise Trouble

    def do_catch(self, _: str, inner: Program) -> None:
        try:
            self.run(inner)
        except (Trouble, TransactionManagementError):
            self.made["caught"] += 1

    def do_set_rollback(self, alias: str, _: None) -> None:
        if alias in self.open:
            transaction.set_rollback(True, using=alias)

    # ---------------------------------------------------------------- blocks

    def do_atomic(self, how: str, inner: Program) -> None:
        kind, _, alias = how.rpartition(" ")
        self.block(atomic(alias, savepoint=kind != "without savepoint"), alias, inner, fails=kind == "that rolls back")

    def do_same(self, _: str, inner: Program) -> None:
        """A decorator enters one and the same object again and again."""
        self.block(self.shared, "default", inner)

    def block(self, block: Any, alias: str, inner: Program, *, fails: bool = False) -> None:
        self.moments += 1
        outermost = alias not in self.open
        try:
            with block:
                self.open.setdefault(alias, self.moments)
                self.run(inner)
                if fails:
                    transaction.set_rollback(True, using=alias)
        finally:
            if outermost:
                del self.open[alias]

    def do_batch(self, _: str, inner: Program) -> None:
        self.moments += 1
        began = self.moments
        self.batches.append(began)
        try:
            with self.fn.batch():
                self.run(inner)
        except BaseException:
            self.failed.add(began)
            raise
        finally:
            self.batches.remove(began)

    # ---------------------------------------------------------------- what must have run

    def expected(self) -> list[int]:
        left = {alias: self.rows(alias) for alias in ALIASES}
        return [call.number for call in self.calls if self.is_due(call, left)]

    def is_due(self, call: Call, left: dict[str, set[int]]) -> bool:
        if call.doomed or not all(call.number in left[alias] for alias in call.witnesses):
            return False
        # What waits for transactions that began inside a batch has left with them when the batch fails.
        return all(call.outermost and began < min(call.outermost) for began in call.batches if began in self.failed)

    def rows(self, alias: str) -> set[int]:
        first = self.calls[0].number if self.calls else 0
        return {n for (n,) in self.execute(alias, "SELECT n FROM witness WHERE n >= %s", [first])}


@pytest.fixture
def player(fn: Any) -> Any:
    ran: list[int] = []

    @fn.task(name="note", policy=public)
    def note(n: int) -> None:
        ran.append(n)

    for alias in ALIASES:
        with connections[alias].cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.execute("CREATE TABLE witness (n integer)")
            cursor.execute("CREATE INDEX witness_n ON witness (n)")
    yield Player(fn, note), ran
    for alias in ALIASES:
        with connections[alias].cursor() as cursor:
            cursor.execute("DROP TABLE witness")
        connections[alias].close()


@pytest.mark.timeout(3600 if FULL else 300)
def test_exactly_the_calls_of_committed_transactions_run(player: Any, drain: Any) -> None:
    play, ran = player
    rounds = total = 0
    while play.numbers < DEFERS:

        @seed(SEED + rounds)
        @settings(
            max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
        )
        @given(programs)
        def one(program: Program) -> None:
            nonlocal total
            ran.clear()
            play.play(program)
            drain()
            assert sorted(ran) == play.expected()
            assert not any(handle.held for handle in play.handles)
            total += len(ran)

        one()
        rounds += 1
    steps = ", ".join(f"{count:,} {step}" for step, count in sorted(play.made.items()))
    print(f"\nseed {SEED}, {rounds} rounds: {total:,} of {play.numbers:,} calls ran; {steps}", file=sys.stderr)
    assert 0 < total < play.numbers
    assert all(play.made[step] for step in [*CALLS, *REST, *AROUND, "caught", "nobody caught it"])
