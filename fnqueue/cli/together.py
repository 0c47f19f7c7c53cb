"""Several processes as one: started together, stopped together, their output side by side.

They are one process group: Ctrl-C, SIGTERM, or the end of one of them stops them all. For `dev`, where web and worker
run in one terminal. Knows command lines; knows nothing of what they run.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

import click

from fnqueue.cli.faults import Fault
from fnqueue.cli.screen import paint

GRACE_SECONDS = 10.0
COLOURS = {"web": "cyan", "worker": "magenta"}


class Together:
    """Child processes by name, started in order as one process group."""

    def __init__(self, commands: dict[str, Sequence[str]]) -> None:
        self._commands = commands
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._ended = threading.Event()
        self._stops = 0
        self._printing = threading.Lock()

    def run(self) -> int:
        """Until they end; 0 when they were stopped, 1 when one of them ended by itself."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop())
        try:
            readers = [self._start(name, command) for name, command in self._commands.items()]
            self._say("Ctrl-C stops both")
            self._watch()
            asked = self._stops > 0
            self._end()
            for reader in readers:
                reader.join(2)
        finally:
            self._signal(signal.SIGKILL)
        return 0 if asked else 1

    def _start(self, name: str, command: Sequence[str]) -> threading.Thread:
        leader = next(iter(self._children.values()), None)
        child = subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=leader.pid if leader is not None else 0,
        )
        self._children[name] = child
        assert child.stdout is not None
        reader = threading.Thread(target=self._copy, args=(name, child.stdout), daemon=True)
        reader.start()
        return reader

    def _copy(self, name: str, lines: IO[str]) -> None:
        width = max(len(each) for each in self._commands)
        for line in lines:
            self._print(f"{paint(name.ljust(width), COLOURS.get(name))} | {line.rstrip()}")

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for name, child in self._children.items():
                if child.poll() is not None:
                    self._say(f"{name} ended with {child.returncode}; stopping all")
                    return

    def _stop(self) -> None:
        """Called by signals. A second one makes the worker give back what it runs."""
        self._stops += 1
        self._ended.set()
        self._signal(signal.SIGTERM)

    def _end(self) -> None:
        if self._stops == 0:
            self._signal(signal.SIGTERM)
        for child in self._children.values():
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                child.wait()

    def _signal(self, number: int) -> None:
        leader = next(iter(self._children.values()), None)
        if leader is not None:
            try:
                os.killpg(leader.pid, number)
            except (ProcessLookupError, PermissionError):
                pass  # they are gone

    def _say(self, text: str) -> None:
        self._print(f"fnqueue: {text}")

    def _print(self, text: str) -> None:
        with self._printing:
            click.echo(text)


def check_port(host: str, port: int) -> None:
    """Raises Fault when nobody can listen there. Asked before anything is started: a text instead of a traceback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Fault(
                    f"port {port} is taken: another program listens on {host}; choose one with --port"
                ) from None
            raise Fault(f"nobody can listen on {host}:{port}: {error.strerror}") from None
