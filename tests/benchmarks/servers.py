"""The servers that contestants need, on 127.0.0.1 and free ports: Redis without persistence, and an SQS in Node.

Each may be missing; then its contestants are left out, with the reason.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.benchmarks.processes import Started

FAUXQS = "fauxqs@1.9.2"
_SCRIPT = Path(__file__).with_name("fauxqs.mjs")


class Missing(Exception):
    """A server cannot be had here; the text says why."""


class Redis:
    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("redis-server is not installed")
        self.port = free_port()
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = Started(command, env=env, cwd=folder, log=folder / "redis.log")
        _wait_for(self.port)

    def stop(self) -> None:
        self.process.stop()


class Sqs:
    """`scratch`: where the Node package is installed, and found again by the next run."""

    def __init__(self, scratch: Path, env: dict[str, str]) -> None:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise Missing("node and npm are not installed")
        home = scratch / "fauxqs"
        _install(npm, home)
        shutil.copy(_SCRIPT, home / _SCRIPT.name)
        self.process = Started([node, _SCRIPT.name], env=env, cwd=home, log=home / "server.log", talks=True)
        try:
            self.endpoint = f"http://127.0.0.1:{int(self.process.line())}"
        except (RuntimeError, ValueError) as error:
            self.process.stop()
            raise Missing(f"the SQS server did not start: {error}") from error

    def requests(self) -> dict[str, int]:
        """By operation, since last asked."""
        counts: dict[str, int] = self.process.ask()
        return counts

    def stop(self) -> None:
        self.process.stop()


def _install(npm: str, home: Path) -> None:
    if (home / "node_modules" / "fauxqs").is_dir():
        return
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text('{"private": true}\n')
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel", "error", FAUXQS]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Missing(f"npm install {FAUXQS}: {done.stderr.strip()[-300:]}")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise Missing(f"nothing answers on port {port}") from None
            time.sleep(0.02)
