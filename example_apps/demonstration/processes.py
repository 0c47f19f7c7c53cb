"""Starts an example's processes, kills one, stops all: by pid, also when the demonstration fails.

Each process writes to a log file of its own; when something does not happen in time, the error carries the
logs' tails as a note. Knows nothing of what the processes do.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class DemoFailed(Exception):
    """A promise was not kept. The text says which; the notes are the logs' tails, where processes ran."""


class Process:
    """One child, started at once. stdout and stderr go to `log`."""

    def __init__(self, name: str, arguments: Sequence[str], *, log: Path, folder: Path, environment: Mapping[str, str]):
        self.name, self.log = name, log
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, env=dict(environment)
            )
        self.pid = self._child.pid

    @property
    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._child.poll()

    def kill(self) -> None:
        """SIGKILL: it cannot clean up, say goodbye, or finish what it does."""
        self._child.kill()
        self._child.wait(10)

    def stop(self, seconds: float = 8) -> None:
        """SIGTERM, and SIGKILL if that is not obeyed in time. Twice is no error."""
        if self.ended is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def tail(self, lines: int = 8) -> str:
        """The end of its log, without a web server's lines for requests that went well."""
        text = self.log.read_text(errors="replace").splitlines()
        telling = [line[:240] for line in text if '" 200 -' not in line][-lines:]
        return "\n".join(f"    {line}" for line in telling) or "    (nothing was written)"


class Stage:
    """The processes of one demonstration, and the time that it may take as a whole."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._processes: list[Process] = []

    def start(
        self, name: str, arguments: Sequence[str], *, log: Path, folder: Path, environment: Mapping[str, str]
    ) -> Process:
        process = Process(name, arguments, log=log, folder=folder, environment=environment)
        self._processes.append(process)
        return process

    def until(self, what: str, probe: Callable[[], T | None], *, seconds: float, pause_seconds: float = 0.1) -> T:
        """Ask `probe` until its answer is true. Raises DemoFailed when the time is over, or a process has ended."""
        end = min(time.monotonic() + seconds, self._deadline)
        while time.monotonic() < end:
            if answer := probe():
                return answer
            self._check_alive(what)
            time.sleep(pause_seconds)
        raise DemoFailed(f"{what} did not happen in time ({seconds:g} s)")

    def _check_alive(self, what: str) -> None:
        for process in self._processes:
            if process.ended not in (None, -signal.SIGKILL):
                ended = f"{process.name} (pid {process.pid}) ended with {process.ended}"
                raise DemoFailed(f"waiting for {what}, but {ended}")

    def tails(self) -> str:
        return "\n".join(f"  the end of {each.name}'s log:\n{each.tail()}" for each in self._processes)

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.tails())
        for process in reversed(self._processes):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                process.stop()
