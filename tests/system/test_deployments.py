"""What operators do while the work goes on: misspell an environment, let a disk run full. (To rotate keys is in
test_rotation.py.)
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fnqueue.errors import DatabaseFull
from tests.system.fleet import ROOT, Fleet

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def test_a_worker_with_a_misspelled_environment_loses_none_of_a_thousand_messages(fleet: Fleet, full: bool) -> None:
    fleet.settings["FNQUEUE_ENVIRONMENT"] = "production"
    seconds = 60 if full else 6
    handles = fleet.fn.defer_many(fleet.task("work"), [(0.0,)] * 1000)
    wrong = fleet.start(environment="prodution")
    fleet.wait(lambda: len(fleet.by_call("refused")) == 1000, 60, "it sees them all")
    time.sleep(seconds)
    assert fleet.stop(wrong) == 0
    assert {line.word for line in fleet.lines("refused")} == {"CONTEXT"}
    assert fleet.lines("start") == []
    assert (fleet.left(), fleet.dead()) == (1000, 0)
    assert "prodution" in fleet.said()
    assert "production" in fleet.said()
    fleet.start()
    with fleet.timed("until the right one has run all"):
        fleet.wait(lambda: len(fleet.by_call("effect")) == 1000, 3 * seconds + 60, "all run")
    fleet.wait(lambda: fleet.left() == 0, 10)
    assert fleet.dead() == 0
    assert {handle.state for handle in handles} == {"SUCCESS"}
    assert fleet.by_call("effect").keys() == {handle.id for handle in handles}


# ------------------------------------------------------------------ a full disk

_PRODUCER = """
import json, resource, signal, sys
from fnqueue import FnQueue
from fnqueue.errors import DatabaseFull
url, limit = sys.argv[1], int(sys.argv[2])
fn = FnQueue(url=url)
@fn.task(name="store")
def store(text: str) -> None: ...
store.defer("x" * 20_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sent, full = 1, None
for _ in range(1000):
    try:
        store.defer("x" * 20_000)
        sent += 1
    except DatabaseFull as error:
        full = str(error)
        break
print(json.dumps({"sent": sent, "full": full}), flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(5):
    store.defer("x" * 20_000)
print(json.dumps({"sent": sent + 5}), flush=True)
"""


def test_a_full_disk_makes_defer_raise_and_nothing_is_half_written(fleet: Fleet) -> None:
    """The limit on the size of files stands for the disk: SQLite meets the same failed writes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FNQUEUE_")}
    process = subprocess.Popen(
        [sys.executable, "-c", _PRODUCER, fleet.settings["FNQUEUE_URL"], "1000000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        said = json.loads(process.stdout.readline())
        assert "no room" in said["full"]
        assert 1 < said["sent"] < 1000
        assert fleet.left() == said["sent"], "what was refused is not there, what was accepted is"
        process.stdin.write("go on\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
    assert fleet.left() == said["sent"]


def test_a_worker_whose_disk_is_full_goes_on_when_there_is_room(fleet: Fleet) -> None:
    worker = fleet.start(visibility_seconds="5")
    fleet.task("work").defer(0).result(30)
    fleet.wait(lambda: fleet.left() == 0, 10)
    # The file's log may not grow from here on: every commit of the worker fails.
    log = Path(fleet.fn.runtime().engine.path + "-wal")
    small = max(4096, log.stat().st_size // 2)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (small, resource.RLIM_INFINITY))
    handles = [fleet.task("work").defer(0.01) for _ in range(50)]
    fleet.wait(lambda: fleet.lines("trouble"), 30, "it says that it cannot write")
    time.sleep(3)
    assert worker.poll() is None
    assert any(handle.state != "SUCCESS" for handle in handles)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    fleet.wait(lambda: all(handle.state == "SUCCESS" for handle in handles), 60, "it goes on")
    fleet.wait(lambda: fleet.left() == 0, 10)
    assert fleet.dead() == 0
    assert fleet.stop(worker) == 0
    assert "no room" in fleet.said()


def test_the_database_in_the_tests_own_process_says_it_too(fleet: Fleet) -> None:
    """Without a limit of the process: SQLite's own bound on pages."""
    database = fleet.fn.runtime().engine.databases[0]
    fleet.task("work").defer(0)

    def bound(connection) -> int:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        return connection.execute(f"PRAGMA max_page_count={pages + 20}").fetchone()[0]

    database.write(bound)
    sent = 1

    def fill() -> None:
        nonlocal sent
        for _ in range(1000):
            fleet.fn.defer_many(fleet.task("work"), [(0.0,)] * 20)
            sent += 20

    with pytest.raises(DatabaseFull):
        fill()
    assert fleet.left() == sent
    database.write(lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchone())
    fleet.task("work").defer(0)
    assert fleet.left() == sent + 1
