"""`manage.py fnqueue worker --reload`: Django's autoreloader says when, and the worker ends well before it starts anew.

Django's own way would be to run the worker in a thread, and to end the process under it, killing what runs. So only
its watching is used, with all that it knows (templates, watchman, watchfiles); the worker keeps the main thread and
its signals, and the new one has the old one's pid.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import click
from django.utils import autoreload

from django_fnqueue.project import command_line
from fnqueue.cli.reload import Reloader


class DjangoReloader(Reloader):
    def watch(self, on_change: Callable[[], None]) -> None:
        autoreload.file_changed.connect(self._note)
        threading.Thread(target=self._run, args=(on_change,), name="fnqueue-reload", daemon=True).start()

    def start_anew(self) -> None:
        """As soon as the project can be started: manage.py would end at a syntax error before we are asked."""
        while True:
            before = self.times()
            trouble = _trouble()
            if trouble is None:
                break
            click.echo(f"fnqueue: {self.changed} changed, and the project cannot be started:\n\n{trouble}", err=True)
            self.wait_for_change(_files(trouble), since=before)
        super().start_anew()

    def start_when_mended(self, trouble: str) -> None:
        """The project's checks failed: wait until somebody changes something. Does not return."""
        click.echo(trouble, err=True)
        self.wait_for_change(_files(trouble))
        self.start_anew()

    def _run(self, on_change: Callable[[], None]) -> None:
        try:
            autoreload.get_reloader().run(threading.main_thread())
        except SystemExit:  # its word for: start anew
            on_change()

    def _note(self, *, file_path: Any, **about: Any) -> None:
        """A receiver of `file_changed`. Others may say that this one is no reason to start anew, by returning True."""
        self.changed = str(file_path)


def _files(trouble: str) -> list[str]:
    """Those of a traceback: what could not be imported is no module to be watched yet."""
    return re.findall(r'File "([^"]+)"', trouble)


def _trouble() -> str | None:
    """What goes wrong when the project is started, its system checks included; None: nothing."""
    done = subprocess.run(  # noqa: S603 - our own command line
        command_line("check"), capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    return None if done.returncode == 0 else (done.stderr or done.stdout).rstrip()
