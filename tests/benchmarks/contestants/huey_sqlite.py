"""huey on SQLite. BENCH_VARIANT: fsync-1, fsync-8, relaxed-1: whether it syncs, and its threads.

It deletes a message when it takes it: what a crashed worker held is lost.
"""

from __future__ import annotations

import os
from typing import Any

from huey import SqliteHuey

from tests.benchmarks import effects
from tests.benchmarks.contestants import script

_mode, _, _threads = os.environ["BENCH_VARIANT"].partition("-")
_file = os.path.join(effects.folder(), "huey.db")
huey = SqliteHuey("bench", filename=_file, results=False, fsync=_mode == "fsync", journal_mode="wal")


@huey.task()
def noop(number: int, address: str, options: dict[str, Any]) -> None:
    effects.noop()


@huey.task()
def arrive(sent_at: float) -> None:
    effects.arrived(sent_at)


def begin() -> None:
    huey.storage.flush_all()


defer, defer_stamped = noop, arrive


def worker() -> list[str]:
    return [
        *script("huey_consumer"),
        "tests.benchmarks.contestants.huey_sqlite.huey",
        "-q",
        "-k",
        "thread",
        "-w",
        _threads,
    ]
