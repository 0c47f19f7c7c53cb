"""The SQS servers that are measured as servers: ours on a real disk, the peers in memory, all on the same core.

LocalStack takes no part: its package only starts a container, and `make bench` asks for no Docker.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.processes import Started
from tests.benchmarks.servers import Missing, Sqs, free_port

OURS, FAUXQS, MOTO = "emulator fnqueue", "emulator fauxqs", "emulator moto"
NAMES = (OURS, FAUXQS, MOTO)
_START_SECONDS = 60
_LOOK_SECONDS = 0.002
_PROBE = b"GET /?Action=ListQueues HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"


class Endpoint:
    """A server on 127.0.0.1. `start_seconds`: from the start of its process to its first answer."""

    def __init__(self, port: int, process: Started) -> None:
        self.port, self.process = port, process
        self.start_seconds = _first_answer(port, process) - process.started_at


class Arena:
    """Where servers run: `folder` for their files, `scratch` for what is installed. A core for them, another for the
    client; -1 where there are not two.
    """

    def __init__(self, folder: Path, scratch: Path, env: Mapping[str, str]) -> None:
        self.folder, self.scratch, self.env = folder, scratch, dict(env)
        self.server_core, self.client_core = _cores()

    @contextmanager
    def running(self, name: str, folder: Path | None = None) -> Iterator[Endpoint]:
        """`folder`: of our file. Raises Missing."""
        where = folder or self.folder
        where.mkdir(parents=True, exist_ok=True)
        with _pinned(self.server_core):
            endpoint = _STARTS[name](self, where)
        try:
            yield endpoint
        finally:
            endpoint.process.stop()

    @contextmanager
    def client(self, endpoint: Endpoint) -> Iterator[Client]:
        command = [sys.executable, "-m", "tests.benchmarks.wire", str(endpoint.port), str(self.client_core)]
        log = self.folder / "wire.log"
        started = Started(command, env=self.env, cwd=Path.cwd(), log=log, talks=True)
        try:
            yield Client(started)
        finally:
            started.stop()


class Client:
    """`wire.py`, asked."""

    def __init__(self, process: Started) -> None:
        self._process = process

    def ask(self, verb: str, queue: str, **members: float) -> dict[str, float]:
        """Raises RuntimeError when an answer was not what it must be."""
        answer: dict[str, float] = self._process.ask(do=verb, queue=queue, **members)
        if "error" in answer:
            raise RuntimeError(str(answer["error"]))
        return answer


def _ours(arena: Arena, folder: Path) -> Endpoint:
    port = free_port()
    command = [sys.executable, "-m", "fnqueue", "emulator", "--port", str(port), "--db", str(folder / "emulator.db")]
    return Endpoint(port, Started(command, env=arena.env, cwd=folder, log=folder / "emulator.log"))


def _fauxqs(arena: Arena, folder: Path) -> Endpoint:
    server = Sqs(arena.scratch, arena.env)
    return Endpoint(int(server.endpoint.rpartition(":")[2]), server.process)


def _moto(arena: Arena, folder: Path) -> Endpoint:
    if importlib.util.find_spec("moto") is None:
        raise Missing("moto is not installed")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Endpoint(port, Started(command, env=arena.env, cwd=folder, log=folder / "moto.log"))


_STARTS: dict[str, Callable[[Arena, Path], Endpoint]] = {OURS: _ours, FAUXQS: _fauxqs, MOTO: _moto}


def _first_answer(port: int, process: Started) -> float:
    """When it came; any answer is one."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.alive():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_START_SECONDS) as probe:
                probe.sendall(_PROBE % port)
                if probe.recv(64):
                    return time.monotonic()
        except OSError:
            pass
        time.sleep(_LOOK_SECONDS)
    process.stop()
    raise Missing(f"it did not start: {process.last_words()}")


def _cores() -> tuple[int, int]:
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (usable[0], usable[1]) if len(usable) > 1 else (-1, -1)


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """What is started inside has this core: a process inherits it before it has threads."""
    if core < 0:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
