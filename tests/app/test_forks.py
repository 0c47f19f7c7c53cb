"""A forked process defers as its parent does: whatever its parent's threads were doing, and whoever forked it.

Each scene is a process of its own: pytest's threads are not to be forked. `c_fork` is a fork that Python is not
told of, as uWSGI's is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fnqueue import FnQueue
from fnqueue.testing import Drain
from tests.security.rings import whole

HELPERS = """
import ctypes, faulthandler, os, sys, threading, time, warnings
from fnqueue import FnQueue
# Python 3.12 warns of a fork beside threads: what it warns of is what these scenes are about.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
c_fork = ctypes.PyDLL(None).fork
def child_of(fork, work):
    pid = fork()
    if pid:
        return pid
    code = 1
    faulthandler.dump_traceback_later(15)  # where it hangs
    try:
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)

def ended_well(*pids, seconds=20):
    end = time.monotonic() + seconds
    for pid in pids:
        while not (found := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                sys.exit(f"the child hung for {seconds} s")
            time.sleep(0.01)
        assert os.waitstatus_to_exitcode(found[1]) == 0, found[1]
"""
QUEUE = """
fn = FnQueue(url=f"sqlite:///{sys.argv[1]}/queue.db")

@fn.task(name="note")
def note(text: str) -> None: ...
"""


def scene(code: str, folder: Path, *, begin: str = HELPERS + QUEUE) -> None:
    command = [sys.executable, "-W", "error", "-c", begin + code, str(folder)]
    said = folder / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # children that hang, too
            process.wait()
    assert (process.returncode, said.read_text()) == (0, "")


def texts(folder: Path, **settings: str) -> list[str]:
    """What is in the queue, each message once, by running it."""
    fn = FnQueue(url=f"sqlite:///{folder}/queue.db", **settings)
    ran: list[str] = []

    @fn.task(name="note")
    def note(text: str) -> None:
        ran.append(text)

    try:
        Drain(fn.runtime)()
    finally:
        fn.close()
    return sorted(ran)


@pytest.mark.parametrize("fork", ["os.fork", "c_fork"])
def test_parent_and_children_defer_to_one_file(fork: str, tmp_path: Path) -> None:
    scene(
        f"""
note.defer("before")
def work():
    for i in range(20): note.defer(f"child {{os.getpid()}} {{i}}")
children = [child_of({fork}, work) for _ in range(4)]
for i in range(20): note.defer(f"parent {{i}}")
ended_well(*children)
note.defer("after")
""",
        tmp_path,
    )
    found = texts(tmp_path)
    assert len(found) == len(set(found)) == 1 + 4 * 20 + 20 + 1


@pytest.mark.parametrize("fork", ["os.fork", "c_fork"])
def test_a_child_keeps_its_file_when_its_parent_closes_it(fork: str, tmp_path: Path) -> None:
    """Who closes last removes SQLite's log: a child that only believes to hold its lock loses what it writes there."""
    scene(
        f"""
note.defer("before")
ours, theirs = os.pipe(), os.pipe()
def work():
    note.defer("child, before the parent closes")
    os.write(ours[1], b"1")
    os.read(theirs[0], 1)
    for i in range(3): note.defer(f"child {{i}}")
child = child_of({fork}, work)
os.read(ours[0], 1)
fn.close()
os.write(theirs[1], b"1")
ended_well(child)
note.defer("after")
""",
        tmp_path,
    )
    assert texts(tmp_path) == ["after", "before", "child 0", "child 1", "child 2", "child, before the parent closes"]


def test_a_child_of_a_thread_in_its_first_call_does_not_wait_for_it(tmp_path: Path) -> None:
    """Python 3.11's cached_property has one lock for all objects, and a child may inherit it held."""
    scene(
        """
class SlowKeys:
    asked, go_on = threading.Event(), threading.Event()
    def __init__(self, keys): self.keys = keys
    def ring(self):
        if threading.current_thread().name == "first":
            self.asked.set(); self.go_on.wait(30)
        return self.keys.ring()

other = FnQueue(url=f"sqlite:///{sys.argv[1]}/queue.db")
keys = fn.runtime().keys_override = SlowKeys(other.runtime().keys)
thread = threading.Thread(target=note.defer, args=("thread",), name="first")
thread.start()
assert keys.asked.wait(30)
child = child_of(os.fork, lambda: note.defer("child"))
ended_well(child)
keys.go_on.set()
thread.join()
""",
        tmp_path,
    )
    assert texts(tmp_path) == ["child", "thread"]


def test_no_lock_that_a_thread_held_is_held_in_the_child(tmp_path: Path) -> None:
    """Threads make apps, learn classes, open files and write to them while the process forks.

    They seal nothing: OpenSSL's own locks may be inherited held, and nobody but OpenSSL can mend that.
    """
    scene(
        """
from fnqueue.broker.base import Entry
from fnqueue.events import CallDeferred
stop = threading.Event()
def busy(number):
    while not stop.is_set():
        mine = FnQueue(url=f"sqlite:///{sys.argv[1]}/other{number}.db")
        mine.on(CallDeferred, lambda event: None)
        class Shape(__import__("msgspec").Struct):
            x: int
        @mine.task(name="shape")
        def shape(shape: Shape) -> Shape: ...
        broker = mine.runtime().engine.broker
        broker.send("default", [Entry(id="0", body="x")])
        broker.attributes("default")
        mine.close()
threads = [threading.Thread(target=busy, args=(i,), daemon=True) for i in range(3)]
for thread in threads: thread.start()
def work():
    note.defer("child")
    own = FnQueue(url=f"sqlite:///{sys.argv[1]}/child.db")
    own.on(CallDeferred, lambda event: None)
    @own.task(name="plain")
    def plain(x: list[int]) -> int: ...
    plain.defer([1])
ended_well(*[child_of(os.fork, work) for _ in range(20)], seconds=50)
stop.set()
for thread in threads: thread.join()
""",
        tmp_path,
    )
    assert texts(tmp_path) == ["child"] * 20


def test_a_child_that_dies_in_the_middle_of_deferring_leaves_no_lock(tmp_path: Path) -> None:
    scene(
        """
import signal
def work():
    while True: note.defer("child")
children = [child_of(os.fork, work) for _ in range(3)]
for child in children:
    for _ in range(10): note.defer("parent")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    note.defer("parent")
    assert time.monotonic() - began < 5
""",
        tmp_path,
    )
    found = texts(tmp_path)
    assert found.count("parent") == 33


def test_a_fork_that_had_begun_before_the_first_queue_was_made_is_survived(tmp_path: Path) -> None:
    """Python tells of it at its end only: whoever listens since then holds nothing that is to be freed."""
    scene(
        """
import logging  # it has hooks of its own, of the same kind
made = []
def first():
    if made:
        return
    fn = FnQueue(url=f"sqlite:///{sys.argv[1]}/queue.db")
    @fn.task(name="note")
    def note(text: str) -> None: ...
    made.append(note)
    note.defer("first")
os.register_at_fork(before=first)
ended_well(child_of(os.fork, lambda: made[0].defer("child")))
ended_well(child_of(os.fork, lambda: made[0].defer("second child")))
made[0].defer("parent")
""",
        tmp_path,
        begin=HELPERS,
    )
    assert texts(tmp_path) == ["child", "first", "parent", "second child"]


def test_a_fork_waits_for_the_first_import_of_a_first_call_that_began_beside_it(tmp_path: Path) -> None:
    """Who has an FnQueue is listened to from then on: else the lock of the module that a thread imports when the fork
    begins is held in the child for ever."""
    (tmp_path / "slow.py").write_text("import time, __main__\n__main__.begun.set()\ntime.sleep(0.5)\n")
    scene(
        """
from fnqueue import forks
sys.path.insert(0, sys.argv[1])
begun = threading.Event()

def first_call():
    with forks.importing():
        import slow

def beside():
    thread = threading.Thread(target=first_call)
    thread.start()
    begun.wait()

os.register_at_fork(before=beside)
ended_well(child_of(os.fork, first_call), seconds=10)
""",
        tmp_path,
        begin=f"{HELPERS}import logging  # as every framework does\n{QUEUE}",
    )


@pytest.mark.parametrize("fork", ["os.fork", "c_fork"])
def test_a_child_that_is_forked_inside_a_batch_sends_its_own_calls_and_none_of_its_parents(
    fork: str, tmp_path: Path
) -> None:
    scene(
        f"""
def work():
    note.defer("child")
    with fn.batch():
        note.defer("child, in a block of its own")
with fn.batch():
    note.defer("parent")
    ended_well(child_of({fork}, work))
""",
        tmp_path,
    )
    assert texts(tmp_path) == ["child", "child, in a block of its own", "parent"]


@pytest.mark.parametrize("way_out", ["pass", "sys.exit()"])
def test_a_child_that_leaves_the_batch_it_was_forked_in_neither_sends_nor_drops_its_parents_calls(
    way_out: str, tmp_path: Path
) -> None:
    scene(
        f"""
def leave():
    pid = None
    try:
        with fn.batch():
            note.using(dedupe="k").defer("parent")
            pid = os.fork()
            if not pid:
                note.defer("child")
                {way_out}
            else:
                ended_well(pid)
                elsewhere = threading.Thread(target=lambda: note.using(dedupe="k").defer("too late"))
                elsewhere.start()
                elsewhere.join()
    except SystemExit:
        assert not pid
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    if not pid:
        os._exit(0)
leave()
""",
        tmp_path,
    )
    assert texts(tmp_path) == ["child", "parent"]


@pytest.mark.parametrize("suite", ["split", "kms"])
def test_a_child_of_a_thread_that_loads_what_its_suite_needs_does_not_wait_for_it(suite: str, tmp_path: Path) -> None:
    """Web processes fork whenever they like, and a ring is first read by a thread that answers a request."""
    key = whole(suite)
    scene(
        f"""
class Slow:
    asked = threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == "fnqueue.security." + {{"split": "asymmetric", "kms": "kms.datakeys"}}[{suite!r}]:
            self.asked.set(); time.sleep(1)

sys.meta_path.insert(0, Slow())
fn = FnQueue(url=f"sqlite:///{{sys.argv[1]}}/queue.db", keys={key!r})
note = fn.task(name="note")(note.function)
thread = threading.Thread(target=note.defer, args=("thread",), name="first")
thread.start()
assert Slow.asked.wait(30)
ended_well(child_of(os.fork, lambda: note.defer("child")))
thread.join()
""",
        tmp_path,
    )
    assert texts(tmp_path, keys=key) == ["child", "thread"]


def test_a_child_of_a_thread_that_loads_the_audit_does_not_wait_for_it(tmp_path: Path) -> None:
    """The first call tells which keys there are, and loads what writes that down."""
    scene(
        """
class Slow:
    asked = threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == "fnqueue.audit.files":
            self.asked.set(); time.sleep(1)

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=note.defer, args=("thread",), name="first")
thread.start()
assert Slow.asked.wait(30)
ended_well(child_of(os.fork, lambda: fn.runtime().audit), seconds=8)
thread.join()
""",
        tmp_path,
    )
    assert texts(tmp_path) == ["thread"]
