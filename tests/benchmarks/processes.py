"""Processes that the harness starts, watches and ends: contestants' clients and workers, and the servers.

Everything is ended by the id that it was started with, its children by theirs.
Knows nothing of what they are for.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil


class Started:
    """One process and its children. `log`: where its output goes. `talks`: over its standard input and output."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, talks: bool = False
    ) -> None:
        self.started_at = time.monotonic()
        self._log = log
        with log.open("ab") as file:
            streams = (subprocess.PIPE, subprocess.PIPE) if talks else (subprocess.DEVNULL, file)
            self._process: subprocess.Popen[str] = subprocess.Popen(
                command, env=env, cwd=cwd, text=True, stdin=streams[0], stdout=streams[1], stderr=file
            )
        self._watched = psutil.Process(self._process.pid)

    def alive(self) -> bool:
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children, those that ended included."""
        return sum(_cpu(process) for process in self._tree())

    def rss_mb(self) -> float:
        return sum(_rss(process) for process in self._tree()) / 2**20

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-600:].strip()

    def stop(self, seconds: float = 3) -> None:
        """Ask it to end, wait, and end what is left."""
        tree = self._tree()
        if self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        for process in tree:
            try:
                process.kill()
            except psutil.Error:
                pass  # it ended
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._watched, *self._watched.children(recursive=True)]
        except psutil.Error:
            return []

    # ---------------------------------------------------------------- talking

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"it ended without an answer: {self.last_words()}")
        return line

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self.line())


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
