"""Who can write to the file can write anything there: one row of rubbish is in nobody's way but its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fnqueue.broker.base import Entry
from fnqueue.broker.embedded.broker import EmbeddedBroker
from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.errors import EnvelopeError
from fnqueue.state.control import Control, Seals
from fnqueue.state.parked import Parked
from fnqueue.state.replay import Replay, Taken
from fnqueue.state.results import Results
from fnqueue.state.revocations import NONE
from fnqueue.state.schedules import KeptSchedules
from fnqueue.state.signs import Signs
from fnqueue.store.base import Record
from fnqueue.store.sqlite import SqliteStore

pack = msgspec.msgpack.encode
RUBBISH = [b"", b"\xc1", b"\x80", pack([1]), pack("x"), pack({1: 2}), pack({"sealed": {"a": [1]}}), 7, None, "text"]
WRONG: list[Any] = [0, -1, 2**60, 1.5, 1e308, "x", "", b"\0", None, True]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    made = Database(str(file))
    yield made
    made.close()


@pytest.fixture
def store(database: Database, clock: ManualClock) -> SqliteStore:
    return SqliteStore(database, clock=clock)


@pytest.fixture
def sql(file: Path, store: SqliteStore) -> Iterator[Any]:
    store.get("task", "none")  # the tables are there
    connection = sqlite3.connect(file, isolation_level=None)
    yield lambda text, *values: connection.execute(text, values)
    connection.close()


@pytest.mark.parametrize("fields", [rubbish for rubbish in RUBBISH if rubbish is not None])
def test_a_record_of_rubbish_has_no_fields_and_is_not_in_the_way_of_others(store: Any, sql: Any, fields: Any) -> None:
    for id in ("a", "b"):
        store.put(Record(kind="task", id=id, fields={"n": 1}, bucket="all", sort=id))
    sql("UPDATE store_record SET fields = ? WHERE id = 'a'", fields)
    assert store.get("task", "a").fields == {}
    assert [record.fields for record in store.query("task", "all").records] == [{}, {"n": 1}]
    assert store.put(Record(kind="task", id="a", fields={"n": 2}), if_version=1).version == 2


@pytest.mark.parametrize("column", ["version", "fence", "expires_at", "final", "sort", "bucket"])
@pytest.mark.parametrize("value", [0, -1, 2**50, 1e300, "x", b"\0"])
def test_columns_of_rubbish_are_read_without_an_error(store: Any, sql: Any, column: str, value: Any) -> None:
    for id in ("a", "b"):
        store.put(Record(kind="task", id=id, fields={"n": 1}, bucket="all", sort=id, fence=(0, 1)))
    sql(f"UPDATE store_record SET {column} = ? WHERE id = 'a'", value)
    store.get("task", "a")
    assert "b" in [record.id for record in store.query("task", "all").records]


def test_text_that_is_no_utf_8_is_read_with_marks_in_its_place(store: Any, sql: Any) -> None:
    store.put(Record(kind="task", id="a", fields={"n": 1}, bucket="all", sort="a"))
    sql("UPDATE store_record SET sort = CAST(x'61ff' AS TEXT)")
    assert [record.sort for record in store.query("task", "all").records] == ["a\ufffd"]


# ------------------------------------------------------------------ the rules above it


def keep(sealed: str, data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("value", WRONG)
def test_a_result_of_which_any_field_is_wrong_can_be_read(store: Any, clock: Any, value: Any) -> None:
    results = Results(store, clock, keep, keep)
    known: dict[str, Any] = {"state": "STARTED", "progress_at": 1.0, "done": 1.0}
    said = ["task", "queue", "state", "attempts", "starts", "crashes", "ex", "deferred_at", "started_at", "finished_at"]
    for name in [*said, "worker", "reason", "done", "total", "progress_at", "sealed"]:
        store.put(Record(kind="task", id="a", fields=known | {name: value}))
        found = results.read("a")
        assert found is not None
        assert isinstance(found.state, str) and isinstance(found.attempts, int)
        assert found.readable is False or name != "sealed"


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("state", ["running", "failed", "done", 7])
def test_a_right_to_run_that_no_key_of_ours_gave_keeps_nobody_from_running(
    store: Any, clock: ManualClock, value: Any, state: Any
) -> None:
    replay = Replay(store, clock, Signs(lambda data: b"m" * 32, lambda data, tag: False))
    for name in ("run", "holder", "lease_until", "retry_at", "call", "mac", "state"):
        store.put(Record(kind="once", id=name, fields={"state": state, "run": 1, "mac": b"m" * 32, name: value}))
        taken = replay.take(name, fence=(0, 1), lease_seconds=60, until=clock.now() + 99)
        assert isinstance(taken, Taken)
        store.put(replay.done_record(taken), fenced=True)


@pytest.mark.parametrize("value", WRONG)
def test_a_parked_message_of_which_any_field_is_wrong_keeps_no_other(store: Any, clock: Any, value: Any) -> None:
    parked = Parked(store, clock)
    good = {"id": "b", "queue": "default", "due": 1.0, "group": None, "dedupe": None, "generation": 0, "body": "fq1."}
    for name in (*good, "parts", "other"):
        store.put(Record(kind="parked", id="a.0", fields=good | {name: value}, bucket=parked._due[1], sort=f"{0:013d}"))
        parked.park("b", queue="default", body="fq1.body", due=clock.now(), until=clock.now() + 99)
        claims = [parked.claim(record) for record in parked.due(clock.now())]
        assert [claim.body for claim in claims if claim is not None and claim.body != "fq1."][-1:] == ["fq1.body"]
        for claim in claims:
            if claim is not None:
                parked.sent(claim)
        store.delete("parked", "b.0")


def test_a_time_that_is_none_does_not_keep_those_who_wait_for_the_next(store: Any, clock: Any) -> None:
    schedules = KeptSchedules(store, clock, "e", keep, keep)
    for kind, bucket in (("parked", Parked(store, clock)._due[1]), ("schedule", next(iter(schedules._due)))):
        store.put(Record(kind=kind, id="e x", fields={"sealed": b"x"}, bucket=bucket, sort="no time"))
    assert Parked(store, clock).next_due() == 0
    assert schedules.next_due() == 0
    assert [kept.due for kept in schedules.all()] in ([0], [])


@pytest.mark.parametrize("value", WRONG)
def test_a_revocation_that_was_not_sealed_by_us_revokes_nothing(store: Any, clock: Any, value: Any) -> None:
    def unseal(id: str, data: bytes) -> bytes:
        raise EnvelopeError("UNSEAL")

    control = Control(store, clock, Seals(keep, unseal, str))
    now = f"{int(clock.now() * 1000):013d}"
    store.put(Record(kind="revoked", id="a", fields={"sealed": value}, bucket="all", sort=now))
    assert control.snapshot() is NONE


# ------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    "column", ["attributes = 'x'", "attributes = '[]'", "attributes = x'00'", "body = x'00ff'", "body = 7",
               "body = CAST(x'ff' AS TEXT)", "receives = 1e300", "receives = -5", "group_id = 7", "source = 7"],
)  # fmt: skip
def test_a_message_of_rubbish_does_not_keep_a_receive_from_the_others(
    database: Database, clock: ManualClock, sql: Any, column: str
) -> None:
    broker = EmbeddedBroker(database, clock=clock)
    broker.send("default", [Entry(id="a", body="one"), Entry(id="b", body="two")])
    sql(f"UPDATE message SET {column} WHERE body = 'one'")
    found = broker.receive("default", visibility_seconds=30)
    assert [message.body for message in found][-1] == "two"
    assert all(isinstance(message.body, str) and message.receipt.receive_count < 2**20 for message in found)
    refused = broker.delete("default", [message.receipt for message in found])
    assert refused == [] or column == "receives = 1e300", "which makes it a delivery that nobody had"


def test_text_that_is_none_is_in_nobodys_way_inside_another_write_either(
    database: Database, clock: ManualClock, sql: Any
) -> None:
    """So does the emulator: it catches the error of each client's call inside of what it does for all."""
    broker = EmbeddedBroker(database, clock=clock)
    broker.send("default", [Entry(id="a", body="one"), Entry(id="b", body="two")])
    sql("UPDATE message SET body = CAST(x'ff' AS TEXT) WHERE body = 'one'")
    bodies: list[str] = []

    def for_all(connection: Any) -> None:
        with contextlib.suppress(sqlite3.Error):
            bodies.extend(message.body for message in broker.receive("default", visibility_seconds=30))

    database.write(for_all)
    assert bodies == ["\ufffd", "two"]


def test_who_was_reading_when_another_learned_that_text_may_be_none_reads_on(database: Database, sql: Any) -> None:
    sql("CREATE TABLE note (body)")
    sql("INSERT INTO note VALUES (CAST(x'61ff' AS TEXT))")

    def bodies(connection: Any) -> list[str]:
        return [body for (body,) in connection.execute("SELECT body FROM note")]

    def beside_another(connection: Any) -> list[str]:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(database.read, bodies).result() == ["a\ufffd"]
        return bodies(connection)

    assert database.read(beside_another) == ["a\ufffd"]
