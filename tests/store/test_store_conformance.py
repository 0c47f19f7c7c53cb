"""The store's contract on every engine that we have.

memory      SQLite in memory
disk        SQLite on disk
two         SQLite on disk: calls go by turns to two stores with connections of their own
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.store.base import Record, Store
from fnqueue.store.sqlite import SqliteStore
from tests.conformance.store import StoreContract


class ByTurns:
    """A Store whose calls go to one of several stores, in turn."""

    def __init__(self, *stores: Store) -> None:
        self._turns = itertools.cycle(stores)

    def __getattr__(self, verb: str) -> Any:
        return getattr(next(self._turns), verb)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "disk", "two"])
def databases(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[list[Database]]:
    path = None if request.param == "memory" else tmp_path / "records.db"
    count = 2 if request.param == "two" else 1
    made = [Database(path, clock=clock, durability="relaxed") for _ in range(count)]
    yield made
    for database in made:
        database.close()


@pytest.fixture
def store(databases: list[Database], clock: ManualClock) -> Store:
    stores = [SqliteStore(database, clock=clock) for database in databases]
    return stores[0] if len(stores) == 1 else ByTurns(*stores)


class TestSqliteStore(StoreContract):
    pass


def test_records_outlive_the_process_connection(tmp_path: Path, clock: ManualClock) -> None:
    first = Database(tmp_path / "records.db", clock=clock)
    SqliteStore(first, clock=clock).put(Record(kind="k", id="a", fields={"v": b"\x00"}, fence=(1, 2), final=True))
    first.close()
    second = Database(tmp_path / "records.db", clock=clock)
    found = SqliteStore(second, clock=clock).get("k", "a")
    second.close()
    assert found == Record(kind="k", id="a", fields={"v": b"\x00"}, version=1, fence=(1, 2), final=True)


def test_writes_inside_a_transaction_are_undone_with_it(clock: ManualClock) -> None:
    database = Database(None, clock=clock)
    store = SqliteStore(database, clock=clock)

    def half(connection: Any) -> None:
        store.put_many([Record(kind="k", id="a"), Record(kind="k", id="b")])
        store.add_member("k", "set", "m")
        assert store.get("k", "a") is not None
        raise RuntimeError("the other half failed")

    with pytest.raises(RuntimeError, match="other half"):
        database.write(half)
    assert store.get_many("k", ["a", "b"]) == {}
    assert store.add_member("k", "set", "m") == (True, 1)


def test_a_refused_put_inside_a_transaction_undoes_nothing_else(clock: ManualClock) -> None:
    database = Database(None, clock=clock)
    store = SqliteStore(database, clock=clock)
    store.put(Record(kind="k", id="there"))

    def both(connection: Any) -> str:
        store.put(Record(kind="k", id="mine"))
        try:
            store.put(Record(kind="k", id="there"), if_version=0)
        except Exception as error:
            return type(error).__name__
        return "written"

    assert database.write(both) == "VersionConflict"
    assert store.get("k", "mine") is not None


def test_a_counter_that_cannot_be_added_to_leaves_no_token_behind(clock: ManualClock) -> None:
    store = SqliteStore(Database(None, clock=clock), clock=clock)
    store.put(Record(kind="k", id="c", fields={"n": "text"}))
    with pytest.raises(Exception, match="'n'"):
        store.increment("k", "c", "n", 1, token="t")
    store.put(Record(kind="k", id="c", fields={"n": 1}))
    assert store.increment("k", "c", "n", 1, token="t") == 2


def test_nothing_is_left_of_what_was_swept(clock: ManualClock) -> None:
    database = Database(None, clock=clock)
    store = SqliteStore(database, clock=clock)
    for n in range(5):
        store.add_member("set", f"{n}", "m", expires_at=clock.now() + 1)
        store.increment("count", f"{n}", "x", 1, token="t", expires_at=clock.now() + 1)
    clock.advance(seconds=1)
    assert store.sweep() == 10
    rows = database.read(
        lambda connection: [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("store_record", "store_mark")
        ]
    )
    assert rows == [0, 0]


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("SELECT 1 FROM store_record WHERE expires_at <= 5 ORDER BY expires_at LIMIT 9", "store_record_expiry"),
        (
            "SELECT * FROM store_record WHERE kind = 'k' AND bucket = 'b' AND bucket <> '' "
            "AND (sort, id) >= ('1', '') AND (sort, id) < ('2', '') ORDER BY sort DESC, id DESC LIMIT 9",
            "store_record_bucket",
        ),
    ],
)
def test_tables_and_sweeps_are_served_by_an_index(clock: ManualClock, question: str, index: str) -> None:
    database = Database(None, clock=clock)
    SqliteStore(database, clock=clock).get("k", "a")
    database.write(lambda connection: None)
    plan = database.read(lambda connection: connection.execute("EXPLAIN QUERY PLAN " + question).fetchall())
    text = " / ".join(row[3] for row in plan)
    assert index in text
    assert "TEMP B-TREE" not in text
