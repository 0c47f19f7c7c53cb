"""Where the keys are that a command is about: a file, or a text that somebody put into the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault
from fnqueue.clock import SystemClock
from fnqueue.runtime import Runtime
from fnqueue.security import keyfile
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keys import FileKeys
from fnqueue.security.secrets_manager import SCHEME, SecretKeys
from fnqueue.settings import environment_value


@dataclass(frozen=True)
class Place:
    """Where a ring is: a file, or a text that somebody put into the environment."""

    shown: str
    path: Path | None = None
    text: str | None = None

    def read(self) -> str:
        if self.text is not None and self.text.startswith(SCHEME):
            return SecretKeys(self.text, SystemClock()).text()
        return keyfile.read(self.path) if self.path is not None else self.text or ""

    def ring(self) -> KeyRing:
        return KeyRing.from_text(self.read(), source=self.shown)

    def change(self, change: Callable[[str], str]) -> None:
        """Change the file, or print the changed text: only whoever set it can set it anew."""
        if self.path is not None:
            keyfile.update(self.path, change)
            return
        changed = change(self.read())
        click.echo(f"# set {self.shown} to this; it is secret", err=True)
        click.echo(",".join(changed.split()))


def find_place(ctx: click.Context, file: str | None) -> Place:
    """The file given; FNQUEUE_KEYS_FILE; FNQUEUE_KEYS; what the application says."""
    path = file or environment_value("KEYS_FILE")
    if path:
        return Place(path, Path(path))
    text = environment_value("KEYS")
    if text:
        return Place("FNQUEUE_KEYS", text=text)
    app: Application = find_application(ctx, needs_tasks=False)
    return _of_runtime(app.runtime)


def _of_runtime(runtime: Runtime) -> Place:
    if runtime.settings.keys:
        return Place("FNQUEUE_KEYS", text=runtime.settings.keys)
    source = runtime.keys
    if isinstance(source, FileKeys):
        if not Path(source.path).exists():
            runtime.ring()  # made at first use, and this is one
        return Place(str(source.path), Path(source.path))
    raise Fault("the keys of a queue in memory end with its process: there is nothing to list or rotate")
