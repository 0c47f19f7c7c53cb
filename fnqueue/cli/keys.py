"""`fnqueue keys`: make, list, check and rotate keys, in a key file or as the text of FNQUEUE_KEYS.

Only `new` without a file, and changes to a text, print keys, because there is no other way to hand them over;
nothing else ever does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.errors import SettingsInvalid
from fnqueue.runtime import Runtime
from fnqueue.security import keyfile
from fnqueue.security.keyring import KeyRecord, KeyRing, new_key
from fnqueue.security.keys import FileKeys
from fnqueue.settings import environment_value

_file = click.option(
    "--file",
    "-f",
    "file",
    type=click.Path(dir_okay=False),
    help="The key file. Default: FNQUEUE_KEYS_FILE, FNQUEUE_KEYS, or the application's.",
)


@click.group()
def keys() -> None:
    """Make, list, check and rotate keys.

    \b
    To rotate without a stop, and without losing a message:
      1. fnqueue keys new --file F       a second key, which opens and does not seal yet
      2. let every web process and worker have it (a file is reread within a second;
         FNQUEUE_KEYS needs a restart)
      3. fnqueue keys promote ID --file F        the new key seals, the old one still opens
      4. when the last message of the old key is gone (the longest expiry of a task):
         fnqueue keys revoke OLD --file F

    \b
    After a theft: new, promote and revoke at once. What the stolen key sealed is refused.
    """


# ---------------------------------------------------------------- where the keys are


@dataclass(frozen=True)
class Place:
    """Where a ring is: a file, or a text that somebody put into the environment."""

    shown: str
    path: Path | None = None
    text: str | None = None

    def read(self) -> str:
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


# ---------------------------------------------------------------- commands


@keys.command()
@click.option("--file", "-f", "file", type=click.Path(dir_okay=False), help="Make it, or add the key to it.")
@reported
def new(file: str | None) -> None:
    """A new key: printed, or put into a file.

    In a file that has keys the new one opens messages and does not seal: promote it once every process has it.
    """
    if file is None:
        click.echo(new_key())
        click.echo("# the key; keep it secret, and give it to web and workers: FNQUEUE_KEYS=primary:...", err=True)
        return
    if not Path(file).exists():
        ring = keyfile.load_or_create(file)
        click.echo(f"made {file} with the key {ring.primary.key_id}, which is primary")
        return
    before = {record.key_id for record in keyfile.load(file)}
    key = new_key()
    keyfile.update(file, lambda text: keyfile.add(text, key))
    added = next(record.key_id for record in keyfile.load(file) if record.key_id not in before)
    click.echo(f"added the key {added} to {file}; it opens, and does not seal yet")
    click.echo(f"once every process has it: fnqueue keys promote {added} --file {file}", err=True)


@keys.command("list")
@_file
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def list_(ctx: click.Context, file: str | None, json_: bool) -> None:
    """The ids and states of the keys. Never the keys."""
    rows = [described(record) for record in find_place(ctx, file).ring()]
    if json_:
        screen.as_json(rows)
        return
    shown = [[row["key_id"], row["state"], _limits(row)] for row in rows]
    screen.table(["KEY", "STATE", "FOR"], shown, empty="there is no key; make one: fnqueue keys new")


@keys.command()
@_file
@click.pass_context
@reported
def check(ctx: click.Context, file: str | None) -> None:
    """Whether web and workers could start with these keys. Exit 1 and every fault if not."""
    place = find_place(ctx, file)
    try:
        ring = place.ring()
    except SettingsInvalid as error:
        raise Fault("\n".join(error.faults)) from None
    others = [f"{record.key_id} {record.state}" for record in ring if record is not ring.primary]
    click.echo(f"ok: {place.shown} has the primary key {ring.primary.key_id}" + "".join(f", {each}" for each in others))


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
@click.pass_context
@reported
def promote(ctx: click.Context, key_id: str, file: str | None) -> None:
    """Let this key seal from now on. The primary key of before still opens."""
    place = find_place(ctx, file)
    place.change(lambda text: keyfile.promote(text, key_id))
    click.echo(f"{key_id} is primary in {place.shown}", err=place.path is None)


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
@reported
def revoke(ctx: click.Context, key_id: str, file: str | None, yes: bool) -> None:
    """Refuse from now on what this key sealed: such messages go to the dead-letter queue."""
    place = find_place(ctx, file)
    screen.confirm_name(f"whatever {key_id} sealed would be refused from now on", key_id, yes=yes)
    place.change(lambda text: keyfile.revoke(text, key_id))
    click.echo(f"{key_id} is revoked in {place.shown}", err=place.path is None)


def described(record: KeyRecord) -> dict[str, Any]:
    limits = record.limits
    return {
        "key_id": record.key_id,
        "state": record.state,
        "suite": record.suite,
        "tasks": limits.tasks,
        "queues": limits.queues,
        "kinds": limits.kinds,
    }


def _limits(row: dict[str, Any]) -> str:
    named = [f"{name} {', '.join(row[name])}" for name in ("tasks", "queues", "kinds") if row[name]]
    return "; ".join(named) or "everything"
