"""Database connections of a worker's threads, on PostgreSQL: kept, replaced, given back, never poisoned."""

from __future__ import annotations

import threading

import pytest
from django.db import OperationalError, connections, transaction
from django.db.transaction import atomic

from django_fnqueue.connections import around_attempt, close_all
from fnqueue.policies import public
from tests.worker.helpers import eventually


@pytest.fixture
def database(postgres):
    """Make the database alias `pg` with these settings."""
    made = []

    def make(**settings):
        wanted = {"ENGINE": "django.db.backends.postgresql", "HOST": postgres, "NAME": "postgres", "USER": "postgres"}
        options = {"application_name": "fnqueue-test", **settings.pop("OPTIONS", {})}
        wanted |= {"OPTIONS": options, **settings}
        connections.settings["pg"] = connections.configure_settings({"default": {}, "pg": wanted})["pg"]
        made.append("pg")
        query("CREATE TABLE IF NOT EXISTS notes (n integer)")
        query("DELETE FROM notes")
        close_all()

    yield make
    for alias in made:
        if getattr(connections[alias], "pool", None):
            connections[alias].close_pool()
        close_all()
        connections.settings.pop(alias)


@pytest.fixture
def admin(database, postgres):
    """SQL from beside: a connection that is none of Django's."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(host=postgres, user="postgres", dbname="postgres", autocommit=True) as made:
        yield lambda sql: made.execute(sql).fetchall()


def query(sql):
    with connections["pg"].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


KILL = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'fnqueue-test'"
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fnqueue-test'"
PID = "SELECT pg_backend_pid()"


@pytest.fixture
def backends(on_disk):
    """A task that notes which of the server's processes it talked to."""
    found = []

    @on_disk.task(name="ask", policy=public)
    def ask(n: int) -> None:
        found.extend(query(PID)[0])

    return found, ask


def test_a_persistent_connection_is_kept_from_one_attempt_to_the_next(database, backends, work):
    database(CONN_MAX_AGE=None)
    found, ask = backends
    for n in range(3):
        ask.defer(n)
    work(concurrency=1)
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_connection_that_may_not_grow_old_is_closed_after_each_attempt(database, admin, backends, work):
    database(CONN_MAX_AGE=0)
    found, ask = backends
    for n in range(3):
        ask.defer(n)
    work(concurrency=1)
    assert len(set(found)) == 3
    assert eventually(lambda: admin(OPEN) == [(0,)])


def test_a_connection_that_the_server_killed_between_two_attempts_is_replaced(database, admin, on_disk, backends, work):
    database(CONN_MAX_AGE=None)
    found, ask = backends

    @on_disk.task(name="kill", policy=public)
    def kill() -> None:
        admin(KILL)

    @on_disk.task(name="write", policy=public)
    def write() -> int:
        with atomic("pg"):
            query("INSERT INTO notes VALUES (1)")
        return 1

    ask.defer(1)
    kill.defer()
    handle = write.defer()
    kill.defer()
    ask.defer(2)
    work(concurrency=1)
    assert handle.result() == 1
    assert len(set(found)) == 2


def test_at_the_end_of_a_workers_thread_its_connections_are_closed(database, admin, backends, work):
    database(CONN_MAX_AGE=None)
    found, ask = backends
    for n in range(8):
        ask.defer(n)
    work(concurrency=4)
    assert len(found) == 8
    assert eventually(lambda: admin(OPEN) == [(0,)])


def test_a_pool_of_two_serves_eight_threads(database, admin, on_disk, work):
    database(OPTIONS={"pool": {"min_size": 0, "max_size": 2, "timeout": 20}})
    most, running, lock = [0], [0], threading.Lock()

    @on_disk.task(name="slow", policy=public)
    def slow(n: int) -> int:
        query("INSERT INTO notes VALUES (1)")
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        query("SELECT pg_sleep(0.02)")
        with lock:
            running[0] -= 1
        return n

    handles = [slow.defer(n) for n in range(40)]
    work(concurrency=8)
    assert [handle.result() for handle in handles] == list(range(40))
    assert admin("SELECT count(*) FROM notes") == [(40,)]
    assert most == [2]
    stats = connections["pg"].pool.get_stats()
    assert stats["pool_available"] == stats["pool_size"]


def test_a_pool_with_health_checks_replaces_what_the_server_killed(database, admin, on_disk, backends, work):
    database(CONN_HEALTH_CHECKS=True, OPTIONS={"pool": {"min_size": 0, "max_size": 2}})
    found, ask = backends

    @on_disk.task(name="kill", policy=public)
    def kill() -> None:
        admin(KILL)

    ask.defer(1)
    kill.defer()
    ask.defer(2)
    work(concurrency=1)
    assert len(set(found)) == 2


def left_without_autocommit():
    transaction.set_autocommit(False, using="pg")
    query("INSERT INTO notes VALUES (1)")


def left_inside_atomic():
    atomic("pg").__enter__()
    query("INSERT INTO notes VALUES (2)")


def left_inside_broken_atomic():
    atomic("pg").__enter__()
    query("INSERT INTO notes VALUES (3)")
    query("SELECT 1 / 0")


@pytest.mark.parametrize("leave", [left_without_autocommit, left_inside_atomic, left_inside_broken_atomic])
@pytest.mark.parametrize("settings", [{"CONN_MAX_AGE": None}, {"OPTIONS": {"pool": {"min_size": 0, "max_size": 1}}}])
def test_a_transaction_that_an_attempt_left_open_is_rolled_back_and_the_next_attempt_has_a_clean_one(
    database, admin, on_disk, work, leave, settings
):
    database(**settings)

    @on_disk.task(name="leaves", policy=public)
    def leaves() -> None:
        leave()

    @on_disk.task(name="writes", policy=public)
    def writes() -> None:
        with atomic("pg"):
            query("INSERT INTO notes VALUES (7)")
        query("INSERT INTO notes VALUES (8)")

    leaves.defer()
    handle = writes.defer()
    work(concurrency=1)
    assert handle.state == "SUCCESS"
    assert admin("SELECT n FROM notes ORDER BY n") == [(7,), (8,)]


def test_what_an_attempt_leaves_open_is_told(database, on_disk, work, caplog):
    database()

    @on_disk.task(name="leaves", policy=public)
    def leaves() -> None:
        left_inside_atomic()

    leaves.defer()
    work()
    assert "leaves left a transaction open in the database 'pg': rolled back" in caplog.text


def test_applying_a_task_leaves_the_callers_connections_alone(database, backends):
    database(CONN_MAX_AGE=0)
    found, ask = backends
    (before,) = query(PID)[0]
    assert ask.apply(1).state == "SUCCESS"
    assert (query(PID)[0], found) == ((before,), [before])


def test_inside_atomic_of_a_caller_nothing_is_closed(database, fn):
    @fn.task(name="look", policy=public)
    def look() -> None: ...

    database(CONN_MAX_AGE=0)
    with atomic("pg"):
        before = query(PID)
        with around_attempt(look):
            query("INSERT INTO notes VALUES (1)")
        assert query(PID) == before
    assert query("SELECT n FROM notes") == [(1,)]


def test_what_drain_runs_leaves_the_tests_connections_alone(database, fn, drain):
    @fn.task(name="look", policy=public)
    def look() -> list[int]:
        return list(query(PID)[0])

    database(CONN_MAX_AGE=0)
    handle = look.defer()
    before = query(PID)
    drain()
    assert (handle.result(), query(PID)) == (list(before[0]), before)


def test_a_database_that_is_down_fails_the_task_and_not_the_worker(database, on_disk, work):
    database()
    connections.settings["pg"]["HOST"] = "/nowhere"

    @on_disk.task(name="ask", policy=public, raises=(OperationalError,))
    def ask() -> None:
        query("SELECT 1")

    @on_disk.task(name="other", policy=public)
    def other() -> int:
        return 1

    failed, done = ask.defer(), other.defer()
    work(concurrency=1)
    assert (failed.state, done.state) == ("FAILURE", "SUCCESS")
