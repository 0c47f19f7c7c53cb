"""One SQLite file under threads, forks, other processes and bad luck. Real files and real processes."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fnqueue.clock import ManualClock
from fnqueue.database import Connection, Database
from fnqueue.database.group import Group, Here
from fnqueue.database.line import Line, Write
from fnqueue.errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseForeign,
    DatabaseFull,
    DatabaseNewer,
    DatabaseReadOnly,
)

NOTES = ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT);",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
def open_notes() -> Iterator[Callable[..., Database]]:
    opened: list[Database] = []

    def make(path: Path | None, **options: object) -> Database:
        database = Database(path, **options)  # type: ignore[arg-type]
        database.migrate("notes", NOTES)
        opened.append(database)
        return database

    yield make
    for database in opened:
        database.close()


@pytest.fixture(params=["disk", "memory"])
def notes(request: pytest.FixtureRequest, path: Path, open_notes: Callable[..., Database]) -> Database:
    return open_notes(path if request.param == "disk" else None)


def add(text: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute("INSERT INTO note (text) VALUES (?)", (text,))

    return work


def all_of(database: Database) -> list[str]:
    return database.read(lambda c: [text for (text,) in c.execute("SELECT text FROM note ORDER BY id")])


def in_threads(*calls: Callable[[], None]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@contextlib.contextmanager
def another_process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs `code` with `notes`, `add` and `say` at hand; it speaks by lines."""
    head = (
        "import os, sys, signal, threading\n"
        "from fnqueue.database import Database\n"
        "notes = Database(sys.argv[1])\n"
        f"notes.migrate('notes', {NOTES!r})\n"
        "def add(text): return lambda c: c.execute('INSERT INTO note (text) VALUES (?)', (text,)) and None\n"
        "def say(*words): print(*words, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its children end with it
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def open_file(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:  # it was the list's own
        return ""


class TestReadingAndWriting:
    def test_what_was_written_is_read(self, notes: Database) -> None:
        assert notes.write(lambda c: c.execute("INSERT INTO note (text) VALUES ('a') RETURNING id").fetchone()) == (1,)
        assert all_of(notes) == ["a"]

    def test_nothing_is_opened_before_the_first_use(self, path: Path, open_notes: Callable[..., Database]) -> None:
        open_notes(path).bell_count()
        assert not list(path.parent.iterdir())

    def test_the_file_is_for_its_owner_only(self, path: Path, open_notes: Callable[..., Database]) -> None:
        open_notes(path).write(add("a"), bell=True)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        assert modes.pop("notes.db.bells") == 0o700
        assert set(modes.values()) == {0o600}

    def test_an_error_undoes_what_its_work_did(self, notes: Database) -> None:
        def half(connection: Connection) -> None:
            add("half")(connection)
            raise LookupError("other half")

        notes.write(add("a"))
        with pytest.raises(LookupError, match="other half"):
            notes.write(half)
        notes.write(add("b"))
        assert all_of(notes) == ["a", "b"]

    def test_a_mistake_in_sql_is_told_as_it_is(self, notes: Database) -> None:
        with pytest.raises(sqlite3.OperationalError, match="no such table: missing"):
            notes.write(lambda c: c.execute("INSERT INTO missing VALUES (1)"))
        with pytest.raises(sqlite3.OperationalError, match="no such table: missing"):
            notes.read(lambda c: c.execute("SELECT * FROM missing"))

    def test_a_read_sees_one_moment_and_waits_for_no_writer(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        notes = open_notes(path)
        notes.write(add("a"))

        def twice(connection: Connection) -> tuple[int, int]:
            (before,) = connection.execute("SELECT count(*) FROM note").fetchone()
            in_threads(lambda: notes.write(add("b")))
            (after,) = connection.execute("SELECT count(*) FROM note").fetchone()
            return before, after

        assert notes.read(twice) == (1, 1)
        assert all_of(notes) == ["a", "b"]

    def test_a_read_inside_a_write_sees_what_it_wrote(self, notes: Database) -> None:
        def work(connection: Connection) -> list[str]:
            add("a")(connection)
            return all_of(notes)

        assert notes.write(work) == ["a"]

    def test_a_write_inside_a_read_is_refused(self, notes: Database) -> None:
        with pytest.raises(RuntimeError, match="inside Database.read"):
            notes.read(lambda _: notes.write(add("a")))

    def test_closed_twice_it_opens_again(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        notes.write(add("a"))
        notes.close()
        notes.close()
        assert all_of(notes) == ["a"]

    def test_a_database_that_nobody_holds_lets_go_of_its_files(self, path: Path) -> None:
        notes = Database(path)
        notes.migrate("notes", NOTES)
        notes.write(add("a"), bell=True)
        all_of(notes)
        notes.wait(notes.bell_count(), 0.01)
        gone = weakref.ref(notes)
        del notes
        gc.collect()
        assert gone() is None
        if os.path.isdir("/proc/self/fd"):
            assert [file for file in map(open_file, os.listdir("/proc/self/fd")) if file.startswith(str(path))] == []

    def test_a_database_forgotten_in_a_ring_of_objects_closes_its_connections_first(self, path: Path) -> None:
        """Whatever Python finalizes first: from 3.13 on it warns of a connection that nobody closed."""
        notes = Database(path)
        notes.migrate("notes", NOTES)
        notes.write(add("a"))
        ring: list[object] = [notes._connections._writer, [notes]]
        ring.append(ring)
        del notes
        gc.collect()  # it lines up what it leaves as it is reached: the connection before its Database
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            del ring
            gc.collect()
        assert [str(each.message) for each in told] == []


class TestGroupCommit:
    def test_threads_share_commits_and_lose_nothing(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        statements: list[str] = []
        notes.write(lambda c: c.set_trace_callback(statements.append))
        in_threads(*[lambda name=name: [notes.write(add(f"{name}{i}")) for i in range(50)] for name in "abcdefgh"])
        assert sorted(all_of(notes)) == sorted(f"{name}{i}" for name in "abcdefgh" for i in range(50))
        assert 7 <= statements.count("COMMIT") < 400

    def test_one_works_error_is_its_callers_alone(self, notes: Database) -> None:
        outcomes: dict[str, str] = {}

        def work(text: str, bad: bool) -> Callable[[Connection], None]:
            def run(connection: Connection) -> None:
                add(text)(connection)
                if bad:
                    raise ValueError(text)

            return run

        def write_many(name: str) -> None:
            for i in range(30):
                text = f"{name}{i}"
                try:
                    notes.write(work(text, bad=i % 3 == 0))
                    outcomes[text] = "done"
                except ValueError as error:
                    outcomes[text] = str(error)

        in_threads(*[lambda name=name: write_many(name) for name in "abcdef"])
        assert all(outcome in ("done", text) for text, outcome in outcomes.items())
        done = [text for text, outcome in outcomes.items() if outcome == "done"]
        assert len(done) == 6 * 20
        assert sorted(all_of(notes)) == sorted(done)

    def test_a_leader_that_is_interrupted_leaves_the_others_works_done(self, notes: Database) -> None:
        inside, followers = threading.Event(), 5

        def interrupted(connection: Connection) -> None:
            add("interrupted")(connection)
            inside.set()
            threading.Event().wait(0.05)  # the others come and stand in line
            raise KeyboardInterrupt

        def lead() -> None:
            with pytest.raises(KeyboardInterrupt):
                notes.write(interrupted)

        def follow(i: int) -> None:
            inside.wait(10)
            notes.write(add(f"{i}"))

        in_threads(lead, *[lambda i=i: follow(i) for i in range(followers)])
        assert sorted(all_of(notes)) == [f"{i}" for i in range(followers)]


def waits_for_the_disk(connection: Connection) -> bool:
    """Whether the transaction under way is synced at its commit: SQLite's synchronous is FULL."""
    return connection.execute("PRAGMA synchronous").fetchone() == (2,)


class TestDurability:
    def test_a_write_waits_for_the_disk_unless_it_says_that_it_need_not(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        notes = open_notes(path)
        asked = [True, False, False, True, False, True]
        assert [notes.write(waits_for_the_disk, durable=durable) for durable in asked] == asked
        relaxed = open_notes(path, durability="relaxed")
        assert [relaxed.write(waits_for_the_disk, durable=durable) for durable in (True, False)] == [False, False]

    def test_a_durable_write_is_never_in_a_commit_that_is_not(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        notes = open_notes(path)
        found: list[tuple[bool, bool]] = []

        def writes(text: str, durable: bool) -> None:
            def work(connection: Connection) -> bool:
                add(text)(connection)
                return waits_for_the_disk(connection)

            for _ in range(50):
                found.append((durable, notes.write(work, durable=durable)))

        calls = [lambda name=name: writes(name, name < "e") for name in "abcdefgh"]
        in_threads(*calls)
        assert len(all_of(notes)) == len(found) == 400
        assert (True, False) not in found
        # On a busy machine each one may happen to share its commit with one that waits.
        assert not notes.write(waits_for_the_disk, durable=False), "so that the test can fail"

    def test_whoever_leads_waits_for_the_disk_when_one_behind_it_must(self) -> None:
        line = Line()
        assert line.stand(Write())
        follower = threading.Thread(target=line.stand, args=(Write(lambda connection: None, durable=True),))
        follower.start()
        while not line:
            pass
        group = Group(Write(lambda connection: None, durable=False), line, Here())
        assert line.next(durable=group.durable) is None, "once its commit has begun it takes along no such one"
        assert group.close_ranks(), "and before it does it waits for the disk, too"
        taken = line.next(durable=group.durable)
        assert taken is not None
        taken.finish()
        follower.join(30)


class TestNestedWrites:
    def test_they_are_one_transaction(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        statements: list[str] = []
        notes.write(lambda c: c.set_trace_callback(statements.append))

        def outer(connection: Connection) -> None:
            add("outer")(connection)
            notes.write(lambda _: notes.write(add("inner")))

        notes.write(outer)
        assert statements.count("COMMIT") == 1 + 1  # the first is of the write that began to count
        assert all_of(notes) == ["outer", "inner"]

    def test_an_error_outside_undoes_the_inside(self, notes: Database) -> None:
        def outer(_: Connection) -> None:
            notes.write(add("inner"))
            raise LookupError

        with pytest.raises(LookupError):
            notes.write(outer)
        assert all_of(notes) == []

    def test_an_error_inside_that_is_caught_undoes_the_inside_alone(self, notes: Database) -> None:
        def half(connection: Connection) -> None:
            add("half")(connection)
            raise LookupError

        def outer(connection: Connection) -> None:
            add("before")(connection)
            with contextlib.suppress(LookupError):
                notes.write(half)
            add("after")(connection)

        notes.write(outer)
        assert all_of(notes) == ["before", "after"]

    def test_a_component_that_comes_late_gets_its_tables_inside(self, notes: Database) -> None:
        def outer(_: Connection) -> None:
            notes.migrate("late", ["CREATE TABLE late (a)"])
            notes.write(lambda c: c.execute("INSERT INTO late VALUES (1)"))

        notes.write(outer)
        assert notes.read(lambda c: c.execute("SELECT a FROM late").fetchall()) == [(1,)]


class TestMigrations:
    def test_steps_run_once_and_new_ones_follow(self, path: Path) -> None:
        steps = ["CREATE TABLE a (x); INSERT INTO a VALUES (1);"]
        for known in (steps, steps, [*steps, "INSERT INTO a VALUES (2); -- done;\n"]):
            database = Database(path)
            database.migrate("notes", known)
            database.write(lambda c: None)
            database.close()
        assert Database(path).read(lambda c: c.execute("SELECT x FROM a").fetchall()) == [(1,), (2,)]

    def test_a_step_that_fails_leaves_nothing_half_made(self, path: Path) -> None:
        database = Database(path)
        database.migrate("notes", ["CREATE TABLE a (x); CREATE TABLE a (y);"])
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="already exists"):
                database.write(lambda c: None)
        database.migrate("notes", ["CREATE TABLE a (x);"])
        assert database.read(lambda c: c.execute("SELECT * FROM a").fetchall()) == []

    def test_processes_that_begin_together_make_the_tables_once(self, path: Path) -> None:
        code = "say('ready'); sys.stdin.readline(); notes.write(add('a')); say('done')"
        with contextlib.ExitStack() as stack:
            processes = [stack.enter_context(another_process(code, path)) for _ in range(4)]
            assert [heard(process) for process in processes] == ["ready"] * 4
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            assert [heard(process) for process in processes] == ["done"] * 4
        assert Database(path).read(lambda c: c.execute("SELECT count(*) FROM note").fetchone()) == (4,)

    def test_a_file_of_a_newer_version_is_refused(self, path: Path) -> None:
        newer = Database(path)
        newer.migrate("notes", [*NOTES, "CREATE TABLE tomorrow (x)"])
        newer.write(add("a"))
        older = Database(path)
        older.migrate("notes", NOTES)
        for use in (lambda: older.write(add("b")), lambda: all_of(older)):
            with pytest.raises(DatabaseNewer, match=r"notes\.db was written by a newer fnqueue \(notes is at step 2"):
                use()


class TestFilesThatCannotBeUsed:
    def test_another_programs_database_is_left_alone(self, path: Path, open_notes: Callable[..., Database]) -> None:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE django_session (x)")
            other.commit()
        before = path.read_bytes()
        with pytest.raises(DatabaseForeign, match=f"{path} is a database of another program"):
            open_notes(path).write(add("a"))
        assert path.read_bytes() == before

    def test_a_file_that_is_no_database_is_left_alone(self, path: Path, open_notes: Callable[..., Database]) -> None:
        path.write_text("dear diary\n" * 100)
        with pytest.raises(DatabaseForeign, match=f"{path} is not an SQLite database"):
            open_notes(path).write(add("a"))
        assert path.read_text() == "dear diary\n" * 100

    def test_an_empty_file_is_taken(self, path: Path, open_notes: Callable[..., Database]) -> None:
        path.touch()
        open_notes(path).write(add("a"))
        assert all_of(open_notes(path)) == ["a"]

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path, open_notes: Callable[..., Database]) -> None:
        with pytest.raises(DatabaseError, match=f"the folder {tmp_path}/nowhere does not exist"):
            open_notes(tmp_path / "nowhere" / "notes.db").write(add("a"))

    def test_a_folder_instead_of_a_file_is_told(self, tmp_path: Path, open_notes: Callable[..., Database]) -> None:
        with pytest.raises(DatabaseError, match="is a folder"):
            open_notes(tmp_path).write(add("a"))

    @pytest.mark.parametrize("made_before", [True, False])
    def test_a_file_that_may_not_be_written_is_told(
        self, path: Path, open_notes: Callable[..., Database], made_before: bool
    ) -> None:
        if made_before:
            notes = open_notes(path)
            notes.write(add("a"))
            notes.close()
            path.chmod(0o400)
        path.parent.chmod(0o500)
        try:
            with another_process(OBEY_PERMISSIONS + SAY_THE_ERROR, path) as process:
                said = heard(process)
        finally:
            path.parent.chmod(0o700)
        assert said.startswith(f"{DatabaseReadOnly.__name__} {path} may not be written")

    def test_a_full_file_undoes_the_write_and_goes_on_when_there_is_room(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        notes = open_notes(path)
        notes.write(add("a"))
        notes.write(lambda c: c.execute("PRAGMA max_page_count = 10"))
        with pytest.raises(DatabaseFull, match=f"no room for {path}") as caught:
            notes.write(add("x" * 100_000))
        assert caught.value.retryable
        notes.write(add("small"))
        notes.write(lambda c: c.execute("PRAGMA max_page_count = 1000000"))
        notes.write(add("b"))
        assert all_of(notes) == ["a", "small", "b"]

    def test_a_full_file_fails_the_large_work_of_a_group_only(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        notes = open_notes(path)
        notes.write(lambda c: c.execute("PRAGMA max_page_count = 20"))
        failed: list[str] = []

        def write(text: str) -> None:
            for _ in range(20):
                try:
                    notes.write(add(text))
                except DatabaseFull:
                    failed.append(text[:1])

        in_threads(lambda: write("a"), lambda: write("x" * 100_000), lambda: write("b"))
        assert failed == ["x"] * 20
        assert sorted(all_of(notes)) == ["a"] * 20 + ["b"] * 20

    def test_a_disk_that_fills_up_loses_nothing_that_was_written(self, path: Path) -> None:
        with another_process(FILL_UP, path) as process:
            written, told = heard(process), heard(process)
            after = heard(process)
        assert told.startswith(f"{DatabaseFull.__name__} no room for {path}")
        assert int(written) > 10
        assert int(after) == int(written) + 1


# As root, permissions hold only without the capabilities that override them.
OBEY_PERMISSIONS = """
import ctypes
if os.geteuid() == 0:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) != 0: say('cannot drop capabilities')
"""
SAY_THE_ERROR = """
try: notes.write(add('b'))
except Exception as error: say(type(error).__name__, error)
"""
FILL_UP = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
count = 0
try:
    while count < 10_000:
        notes.write(add('x' * 3000)); count += 1
except Exception as error: say(count); say(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
notes.write(add('more'))
say(notes.read(lambda c: c.execute('SELECT count(*) FROM note').fetchone()[0]))
"""


class TestOtherProcesses:
    @pytest.mark.parametrize("what", ["notes.db", "notes.db*"])
    def test_a_file_that_was_removed_is_not_written_to_any_more(
        self, path: Path, open_notes: Callable[..., Database], monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        monkeypatch.setattr("fnqueue.database.connections._LOOK_SECONDS", 0.0)
        old, new = open_notes(path), open_notes(path)
        old.write(add("gone"))
        assert all_of(old) == ["gone"]
        for each in path.parent.glob(what):
            each.unlink() if not each.is_dir() else None
        new.write(add("a"))
        old.write(add("b"))
        assert all_of(new) == all_of(old) == ["a", "b"]

    def test_a_busy_process_does_not_starve_another(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path, busy_seconds=5)
        notes.write(add("start"))
        with another_process("say('ready')\nwhile True: notes.write(add('busy'))", path) as process:
            assert heard(process) == "ready"
            while "busy" not in all_of(notes):
                pass
            for _ in range(100):
                notes.write(add("mine"))
        texts = all_of(notes)
        first = texts.index("mine")
        between = texts[first : len(texts) - texts[::-1].index("mine")]
        assert between.count("mine") == 100
        assert between.count("busy") < 10 * 100  # in turn would be 100; unfair it is thousands

    def test_locks_that_cannot_be_had_cost_fairness_only(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        for lock in ("turn", "write"):
            path.with_name(f"{path.name}.{lock}").mkdir()
        path.with_name(f"{path.name}.bells").touch()
        notes.write(add("a"), bell=True)
        assert notes.wait(notes.bell_count(), 0.01) >= 1
        assert all_of(notes) == ["a"]

    def test_a_stuck_process_is_told_and_does_not_stop_readers(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        notes = open_notes(path, busy_seconds=0.2)
        notes.write(add("a"))
        with another_process("notes.write(lambda c: (say('inside'), sys.stdin.readline()))", path) as process:
            assert heard(process) == "inside"
            with pytest.raises(DatabaseBusy, match=f"{path} was locked by another process") as caught:
                notes.write(add("b"))
            assert caught.value.retryable
            assert all_of(notes) == ["a"]
            process.kill()
            process.wait()
            notes.write(add("c"))  # its locks died with it
        assert all_of(notes) == ["a", "c"]

    def test_a_shell_that_holds_a_transaction_is_told(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path, busy_seconds=0.2)
        notes.write(add("a"))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseBusy):
                notes.write(add("b"))
        notes.write(add("c"))
        assert all_of(notes) == ["a", "c"]


class TestForks:
    """Each scene runs in a process of its own: pytest's own threads are not to be forked."""

    def run(self, code: str, path: Path) -> list[str]:
        with another_process(code, path) as process:
            out, _ = process.communicate(timeout=60)
            assert process.returncode == 0
        return out.split()

    def test_parent_and_child_both_go_on(self, path: Path, open_notes: Callable[..., Database]) -> None:
        code = """
notes.write(add('before')); notes.read(lambda c: c.execute('SELECT * FROM note').fetchall())
for i in range(3):
    if os.fork() == 0:
        notes.write(add(f'child{i}')); os._exit(0)
    notes.write(add(f'parent{i}'))
for i in range(3): assert os.wait()[1] == 0
"""
        self.run(code, path)
        assert sorted(all_of(open_notes(path))) == [
            "before", "child0", "child1", "child2", "parent0", "parent1", "parent2",
        ]  # fmt: skip

    def test_a_fork_among_writing_threads_leaves_all_working(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        code = """
stop = threading.Event()
counts = [0, 0, 0]
def write(which):
    while not stop.is_set():
        notes.write(add('thread'), bell=True); counts[which] += 1
        notes.read(lambda c: c.execute('SELECT count(*) FROM note').fetchone())
threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
for thread in threads: thread.start()
for i in range(10):
    if os.fork() == 0:
        notes.write(add('child')); notes.write(add('child')); os._exit(0)
for i in range(10): assert os.wait()[1] == 0
stop.set()
for thread in threads: thread.join()
say(sum(counts))
"""
        (count,) = self.run(code, path)
        texts = all_of(open_notes(path))
        assert (texts.count("thread"), texts.count("child")) == (int(count), 20)

    def test_a_fork_beside_a_long_transaction_leaves_both_working(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        code = """
from fnqueue.database import database as module
module._FORK_PATIENCE_SECONDS = 0.1
notes.write(add('before'))
inside, go_on = threading.Event(), threading.Event()
def long(connection):
    add('long')(connection); inside.set(); go_on.wait(30)
thread = threading.Thread(target=lambda: notes.write(long)); thread.start(); inside.wait(30)
read, write = os.pipe()
if os.fork() == 0:
    assert notes.read(lambda c: c.execute('SELECT text FROM note').fetchall()) == [('before',)]
    os.write(write, b'1')
    notes.write(add('child'))
    os._exit(0)
os.read(read, 1)
go_on.set(); thread.join()
notes.write(add('after'))
assert os.wait()[1] == 0
"""
        self.run(code, path)
        assert sorted(all_of(open_notes(path))) == ["after", "before", "child", "long"]

    def test_a_fork_inside_a_write_is_the_parents_to_end(self, path: Path, open_notes: Callable[..., Database]) -> None:
        code = """
def work(connection):
    add('inside')(connection)
    global child
    child = os.fork()
try: notes.write(work)
except Exception as error: assert child == 0, error; os._exit(7)
assert child and os.waitpid(child, 0)[1] >> 8 == 7
notes.write(add('after'))
"""
        self.run(code, path)
        assert all_of(open_notes(path)) == ["inside", "after"]

    def test_a_child_of_a_waiting_process_leaves_its_ear_alone(
        self, path: Path, open_notes: Callable[..., Database]
    ) -> None:
        code = """
notes.write(add('a'))
notes.wait(notes.bell_count(), 0.01)
before = os.listdir(sys.argv[1] + '.bells')
if os.fork() == 0: notes.close(); sys.exit(0)
assert os.wait()[1] == 0
assert os.listdir(sys.argv[1] + '.bells') == before
"""
        self.run(code, path)
        assert [name for name in os.listdir(f"{path}.bells") if name != ".sign"] == []  # gone with its process


class TestBell:
    #: Looks for lost bells so seldom that only a real bell ends a wait.
    DEAF = "from fnqueue.database import bell\nbell._LOOK_SECONDS = 60\n"

    def waiter(self, path: Path) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        code = """
seen = notes.bell_count()
notes.read(lambda c: None)
seen = notes.wait(seen, 0.01)  # the first wait makes the ear, and returns
say('waiting')
for _ in range(2):
    now = notes.wait(seen, 30)
    say('rang' if now != seen else 'nothing'); seen = now
"""
        return another_process(self.DEAF + code, path)

    def test_it_is_heard_in_other_processes(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        with self.waiter(path) as one, self.waiter(path) as two:
            assert (heard(one), heard(two)) == ("waiting", "waiting")
            for _ in range(2):
                notes.write(add("a"), bell=True)
                assert (heard(one), heard(two)) == ("rang", "rang")

    def test_the_ear_of_a_dead_process_is_removed(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        with self.waiter(path) as process:
            assert heard(process) == "waiting"
            notes.write(add("a"), bell=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len([name for name in os.listdir(f"{path}.bells") if name != ".sign"]) == 1
        notes.write(add("b"), bell=True)
        assert [name for name in os.listdir(f"{path}.bells") if name != ".sign"] == []

    def test_without_fifos_a_change_is_found_by_looking(self, path: Path, open_notes: Callable[..., Database]) -> None:
        notes = open_notes(path)
        notes.write(add("a"))
        code = """
from fnqueue.database import bell
bell.FIFOS = False
seen = notes.wait(notes.bell_count(), 0.01)
say('waiting')
say('rang' if notes.wait(seen, 30) != seen else 'nothing')
"""
        with another_process(code, path) as process:
            assert heard(process) == "waiting"
            notes.write(add("b"))
            assert heard(process) == "rang"

    def test_a_bell_in_the_process_wakes_all_who_wait(self, notes: Database) -> None:
        notes.wait(notes.bell_count(), 0.01)
        seen = notes.bell_count()
        woken: list[bool] = []
        waiting = threading.Barrier(4)

        def wait() -> None:
            waiting.wait(10)
            woken.append(notes.wait(seen, 30) != seen)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        waiting.wait(10)
        notes.write(add("a"), bell=True)
        for thread in threads:
            thread.join(20)
        assert woken == [True, True, True]

    def test_a_bell_before_the_wait_is_not_missed(self, notes: Database) -> None:
        seen = notes.bell_count()
        notes.write(add("a"), bell=True)
        assert notes.wait(seen, 30) != seen

    def test_a_write_without_a_bell_and_a_failed_one_ring_none(self, notes: Database) -> None:
        notes.wait(notes.bell_count(), 0.01)
        seen = notes.bell_count()
        notes.write(add("a"))
        with pytest.raises(ZeroDivisionError):
            notes.write(lambda c: 1 / 0, bell=True)
        assert notes.bell_count() == seen

    def test_under_a_manual_clock_nobody_waits(self) -> None:
        clock = ManualClock()
        notes = Database(None, clock=clock)
        before = clock.now()
        notes.wait(notes.bell_count(), 3600)
        assert clock.now() == before + 3600
