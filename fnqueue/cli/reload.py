"""Starts a command anew when a file that it imported changes: for development.

One thread looks at the files' times once a second. A change stops the worker as SIGTERM does, and then the same
command replaces this process: same pid, same terminal. If the new text cannot even be imported, the command
waits here for the next change.
Knows modules and files; knows nothing of workers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping

import click

POLL_SECONDS = 1.0


class Reloader:
    """`changed` names the file that changed; None before."""

    def __init__(self, poll_seconds: float = POLL_SECONDS) -> None:
        self.changed: str | None = None
        self._poll_seconds = poll_seconds
        self._more: tuple[str, ...] = ()
        self._seen: dict[str, float] = {}
        self._stop = threading.Event()

    def watch(self, on_change: Callable[[], None]) -> None:
        """In a thread of its own, from now on: call `on_change` once, at the first change."""
        self._seen = self.times()
        threading.Thread(target=self._watch, args=(on_change,), name="fnqueue-reload", daemon=True).start()

    def wait_for_change(self, files: Iterable[str] = (), *, since: Mapping[str, float] | None = None) -> None:
        """Return when one of the imported modules, or of these files, changes, or has changed since `times()` said."""
        self._more = tuple(files)
        self._seen = dict(since) if since is not None else self.times()
        click.echo("fnqueue: waiting for a change", err=True)  # from here on none is missed
        while not self._look():
            self._stop.wait(self._poll_seconds)

    def start_anew(self) -> None:
        """Replace this process by the command that began it. Does not return."""
        click.echo(f"fnqueue: {self.changed} changed, starting anew", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line

    def _watch(self, on_change: Callable[[], None]) -> None:
        while not self._look():
            self._stop.wait(self._poll_seconds)
        on_change()

    def _look(self) -> bool:
        now = self.times()
        for file, time in now.items():
            # A file that was not there before is a module that was imported since, and no change.
            if self._seen.setdefault(file, time) != time:
                self.changed = file
                return True
        return False

    def times(self) -> dict[str, float]:
        """When each imported module's file was written."""
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        found = {}
        for file in (*files, *self._more):
            try:
                found[file] = os.stat(file).st_mtime if file else 0.0
            except OSError:
                pass  # in an archive, or just being replaced by an editor: the next look sees it
        return {file: time for file, time in found.items() if file}
