"""Thousands of calls in random transactions: exactly those run whose rows are there, and all that only read.

A program is what some requests do to `db.session`: they write and defer the row's number, in all ways to write,
in savepoints, batches and failures. `Books` says what must be left of it, as one would keep books by hand: a pile of
blocks, each with its rows and its calls, thrown away or laid on the one below. The rows of the two files say the
same, or the books are wrong; and the calls that ran must be those of the books.

Some 3,000 calls; 50,000 with FNQUEUE_TEST_FULL=1. FNQUEUE_TEST_SEED repeats a run: the seed is printed.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import IntegrityError

from fnqueue.testing import Drain, in_memory
from tests.integrations.flask.shop_database import Shop

FULL = os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0")
SEED = int(os.environ.get("FNQUEUE_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
DEFERS = 50_000 if FULL else 3_000

WRITES = ["add", "flush", "core", "other bind", "bulk", "sql", "five", "refused", "defer first"]
CALLS = ["lone", "taken back", "broken"]
REST = ["read", "commit", "commit", "rollback", "close", "raise"]
AROUND = ["savepoint", "undone savepoint", "guarded savepoint", "batch"]

Program = list[Any]
steps = st.recursive(
    st.sampled_from(WRITES + CALLS + CALLS + REST),
    lambda inner: st.tuples(st.sampled_from(AROUND), st.lists(inner, max_size=6)),
    max_leaves=25,
)
programs = st.lists(st.lists(steps, min_size=1, max_size=10), min_size=1, max_size=3)


class Stop(Exception):
    """What a view raises."""


@dataclass
class Block:
    rows: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)


@dataclass
class Books:
    """Of one request. `rows` and `calls`: what must be there, and have run, at the end."""

    rows: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    pile: list[Block] = field(default_factory=lambda: [Block()])
    batches: list[list[int]] = field(default_factory=list)

    def called(self, number: int, *, above: int | None = None) -> None:
        """`above`: how many of the pile's blocks are still alive, if not all."""
        alive = self.pile[:above]
        if any(block.rows for block in alive):
            alive[-1].calls.append(number)
        else:
            (self.batches[-1] if self.batches else self.calls).append(number)

    def lay_down(self, block: Block) -> None:
        """The savepoint is kept, with those within it."""
        while block in self.pile and self.pile[-1] is not block:
            self.lay_down(self.pile[-1])
        top = self.pile.pop()
        self.pile[-1].rows += top.rows
        self.pile[-1].calls += top.calls

    def throw_away(self, block: Block) -> None:
        del self.pile[self.position(block) :]
        if not self.pile:
            self.pile.append(Block())

    def position(self, block: Block) -> int:
        return next(place for place, each in enumerate(self.pile) if each is block)

    def has(self, block: Block) -> bool:
        return any(each is block for each in self.pile)

    def commit(self) -> None:
        for block in self.pile:
            self.rows += block.rows
            self.calls += block.calls
        self.pile = [Block()]

    def rollback(self) -> None:
        self.pile = [Block()]

    def leave(self) -> None:
        """The request ends: nothing written, nothing to lose."""
        if not any(block.rows for block in self.pile):
            self.calls += [call for block in self.pile for call in block.calls]


class Player:
    """Does what a program says, and keeps the books."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.session, self.numbers = shop, shop.db.session, itertools.count(1)
        self.made: Counter[str] = Counter()

    def play(self, program: Program) -> Books:
        self.books = Books()
        try:
            with self.shop.app.app_context():
                self._steps(program)
        except Stop:
            pass
        self.books.leave()
        return self.books

    def _steps(self, steps: Program) -> None:
        for step in steps:
            if isinstance(step, str):
                self.made[step] += 1
                getattr(self, "_" + step.replace(" ", "_"))()
            else:
                self.made[step[0]] += 1
                getattr(self, "_" + step[0].replace(" ", "_"))(step[1])

    def _row(self) -> int:
        number = next(self.numbers)
        self.books.pile[-1].rows.append(number)
        return number

    def _defer(self, number: int) -> None:
        self.made["defer"] += 1
        self.shop.run.defer(number)

    def _pair(self, number: int) -> None:
        self._defer(number)
        self.books.pile[-1].calls.append(number)

    # ---------------------------------------------------------------- writes, each with its call

    def _add(self) -> None:
        number = self._row()
        self.session.add(self.shop.Order(id=number))
        self._pair(number)

    def _flush(self) -> None:
        number = self._row()
        self.session.add(self.shop.Order(id=number))
        self.session.flush()
        self._pair(number)

    def _core(self) -> None:
        number = self._row()
        self.session.execute(insert(self.shop.Order).values(id=number, note=""))
        self._pair(number)

    def _other_bind(self) -> None:
        number = self._row()
        self.session.add(self.shop.Visit(id=number))
        self._pair(number)

    def _bulk(self) -> None:
        number = self._row()
        self.session.bulk_save_objects([self.shop.Order(id=number)])
        self._pair(number)

    def _sql(self) -> None:
        number = self._row()
        self.session.execute(text("INSERT INTO \"order\" VALUES (:id, '')"), {"id": number})
        self._pair(number)

    def _five(self) -> None:
        for number in (numbers := [self._row() for _ in range(5)]):
            self.session.add(self.shop.Order(id=number))
        for number in numbers:
            self._pair(number)

    def _refused(self) -> None:
        """A statement that fails undoes itself and no more."""
        self._core()
        with pytest.raises(IntegrityError):
            self.session.execute(insert(self.shop.Order).values(id=self.books.pile[-1].rows[-1], note=""))

    def _defer_first(self) -> None:
        """Within a transaction that has written: the row that comes after the call shares its fate."""
        if any(block.rows for block in self.books.pile):
            number = self._row()
            self._pair(number)
            self.session.add(self.shop.Order(id=number))

    # ---------------------------------------------------------------- calls without a row

    def _lone(self) -> None:
        number = next(self.numbers)
        self._defer(number)
        self.books.called(number)

    def _taken_back(self) -> None:
        """It waits, though in the end there is nothing to wait for."""
        number = next(self.numbers)
        self.session.add(order := self.shop.Order(id=number))
        self._pair(number)
        if order in self.session:
            self.session.expunge(order)

    def _broken(self) -> None:
        """A flush that fails undoes the innermost block at once; the session takes nothing until its rollback."""
        number, after = next(self.numbers), next(self.numbers)
        self.session.add(self.shop.Order(id=number, note="refused"))
        self._pair(number)
        with pytest.raises(IntegrityError):
            self.session.flush()
        self._defer(after)
        nested = self.session().get_nested_transaction()
        self.books.called(after, above=len(self.books.pile) - 1)
        (nested or self.session).rollback()
        self.books.throw_away(self.books.pile[-1])

    # ---------------------------------------------------------------- ends

    def _read(self) -> None:
        self.session.execute(select(self.shop.Order).limit(1)).all()

    def _commit(self) -> None:
        self.session.commit()
        self.books.commit()

    def _rollback(self) -> None:
        self.session.rollback()
        self.books.rollback()

    def _close(self) -> None:
        self.session.close()
        self.books.rollback()

    def _raise(self) -> None:
        raise Stop

    # ---------------------------------------------------------------- around others

    def _savepoint(self, steps: Program) -> None:
        savepoint, block = self._opened()
        self._steps(steps)
        if self.books.has(block):
            savepoint.commit()
            self.books.lay_down(block)

    def _undone_savepoint(self, steps: Program) -> None:
        savepoint, block = self._opened()
        self._steps(steps)
        if self.books.has(block):
            savepoint.rollback()
            self.books.throw_away(block)

    def _guarded_savepoint(self, steps: Program) -> None:
        savepoint, block = self._opened()
        batches = list(self.books.batches)
        try:
            self._steps(steps)
        except Stop:
            self.books.batches = batches
            if self.books.has(block):
                savepoint.rollback()
                self.books.throw_away(block)
            else:  # it was ended within
                self._rollback()
        else:
            if self.books.has(block):
                savepoint.commit()
                self.books.lay_down(block)

    def _opened(self) -> tuple[Any, Block]:
        savepoint, block = self.session.begin_nested(), Block()
        self.books.pile.append(block)
        return savepoint, block

    def _batch(self, steps: Program) -> None:
        waiting: list[int] = []
        first = next(self.numbers)
        try:
            with self.shop.fn.batch():
                self.books.batches.append(waiting)
                self._steps(steps)
                self.books.batches.pop()
        except Stop:  # nothing of it is sent
            for block in self.books.pile:
                block.calls = [call for call in block.calls if call < first]
            raise
        for number in waiting:  # as if they were made now
            self.books.called(number)


# ---------------------------------------------------------------- the test


@pytest.fixture
def player(tmp_path: Path) -> Any:
    shop = Shop(tmp_path)
    with shop.app.app_context():
        for engine in shop.db.engines.values():
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
            engine.dispose()
        with in_memory(shop.fn):
            yield Player(shop)
    shop.close()


def check(player: Player, drain: Drain, requests: list[Program]) -> None:
    shop = player.shop
    shop.ran.clear()
    first = next(player.numbers)
    rows: list[int] = []
    calls: list[int] = []
    for program in requests:
        books = player.play(program)
        rows += books.rows
        calls += books.calls
    drain()
    assert sorted(row for row in shop.rows(above=first)) == sorted(rows), "the books are wrong"
    assert sorted(shop.ran) == sorted(calls)


@pytest.mark.timeout(3600 if FULL else 300)
def test_exactly_the_calls_of_committed_transactions_run(player: Player) -> None:
    drain = Drain(player.shop.fn.runtime)
    rounds = ran = 0
    while player.made["defer"] < DEFERS:

        @seed(SEED + rounds)
        @settings(
            max_examples=200,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        @given(programs)
        def one(requests: list[Program]) -> None:
            nonlocal ran
            check(player, drain, requests)
            ran += len(player.shop.ran)

        one()
        rounds += 1
    steps = ", ".join(f"{count:,} {step}" for step, count in sorted(player.made.items()))
    print(f"\nseed {SEED}, {rounds} rounds: {ran:,} of {player.made['defer']:,} calls ran; {steps}", file=sys.stderr)
    assert 0 < ran < player.made["defer"]
    assert all(player.made[step] for step in WRITES + CALLS + REST + AROUND)
