"""Not a queue but its floor: what bare SQLite and AES-GCM allow on this machine. BENCH_VARIANT: full or relaxed.

At least once, a lease, deletes in batches with the next receive, a bell; and no framework: no policy, no retry, no
result, no record, no stop.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import sqlite3
import sys
import threading
import time
from typing import Any

from tests.benchmarks import effects
from tests.benchmarks.contestants.floor_seal import open_sealed, sealed

AT_ONCE = 100
_FILE = os.path.join(effects.folder(), "floor.db")
_BELL = os.path.join(effects.folder(), "bell")
_SEND = "INSERT INTO message (queue, ready_at, body) VALUES ('bench', ?, ?)"
_READY = "SELECT 1 FROM message WHERE queue = 'bench' AND ready_at <= ? LIMIT 1"
_RECEIVE = """
    UPDATE message SET ready_at = ?, receives = receives + 1 WHERE id IN
        (SELECT id FROM message WHERE queue = 'bench' AND ready_at <= ? ORDER BY ready_at, id LIMIT ?)
    RETURNING id, body
"""
_WINDOW = 64
_bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
_bell.setblocking(False)


def _connect() -> sqlite3.Connection:
    connection = sqlite3.connect(_FILE, isolation_level=None, timeout=10, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={'FULL' if os.environ['BENCH_VARIANT'] == 'full' else 'NORMAL'}")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, ready_at REAL NOT NULL,"
        " receives INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL)"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS message_line ON message (queue, ready_at, id)")
    return connection


_connection: Any = None


def begin() -> None:
    global _connection
    _connection = _connection or _connect()
    _connection.execute("DELETE FROM message")


def _send(task: str, arguments: tuple[Any, ...]) -> None:
    _connection.execute(_SEND, (time.time(), sealed(task, arguments)))
    _ring()


def _ring() -> None:
    try:
        _bell.sendto(b"!", _BELL)
    except OSError:
        pass  # nobody listens


def defer(*arguments: Any) -> None:
    _send("noop", arguments)


def defer_stamped(sent_at: float) -> None:
    _send("arrive", (sent_at,))


def defer_many(count: int) -> None:
    _connection.execute("BEGIN IMMEDIATE")
    _connection.executemany(_SEND, [(time.time(), sealed("noop", effects.ARGUMENTS)) for _ in range(count)])
    _connection.execute("COMMIT")
    _ring()


def worker() -> list[str]:
    return [sys.executable, "-c", "from tests.benchmarks.contestants.floor_sqlite import work; work()"]


def work() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    todo: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    for _ in range(8):
        threading.Thread(target=_run, args=(todo, done), daemon=True).start()
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if os.path.exists(_BELL):
        os.unlink(_BELL)
    ear.bind(_BELL)
    connection, held = _connect(), 0
    while True:
        finished = _all(done)
        rows = _trip(connection, finished, _WINDOW - held + len(finished))
        held += len(rows) - len(finished)
        for row, body in rows:
            todo.put((row, open_sealed(body)))
        if not rows:
            _listen(ear, 0.002 if held else 0.25)


def _run(todo: queue.SimpleQueue[tuple[int, dict[str, Any]]], done: queue.SimpleQueue[int]) -> None:
    tasks = {"noop": lambda *arguments: effects.noop(), "arrive": effects.arrived}
    while True:
        row, message = todo.get()
        tasks[message["task"]](*message["args"])
        done.put(row)


def _all(done: queue.SimpleQueue[int]) -> list[tuple[int]]:
    return [(done.get_nowait(),) for _ in range(done.qsize())]


def _trip(connection: sqlite3.Connection, finished: list[tuple[int]], room: int) -> list[tuple[int, bytes]]:
    """Delete what is done and receive what there is room for, in one transaction."""
    now = time.time()
    more = room >= _WINDOW // 2 and connection.execute(_READY, (now,)).fetchone() is not None
    if not finished and not more:
        return []
    connection.execute("BEGIN IMMEDIATE")
    if finished:
        connection.executemany("DELETE FROM message WHERE id = ?", finished)
    rows = connection.execute(_RECEIVE, (now + 60, now, room)).fetchall() if more else []
    connection.execute("COMMIT")
    return rows


def _listen(ear: socket.socket, seconds: float) -> None:
    ear.settimeout(seconds)
    try:
        while True:
            ear.recv(16)
            ear.settimeout(0)
    except (TimeoutError, BlockingIOError):
        pass
