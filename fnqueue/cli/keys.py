"""`fnqueue keys`: make, list, check, rotate and share out keys, in a key file or as the text of FNQUEUE_KEYS.

Only `new` without a file, `split-public`, and changes to a text print keys, because there is no other way to hand
them over; nothing else ever does.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click

from fnqueue.cli import screen
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.key_place import Place, find_place
from fnqueue.cli.operator import on_record, reason_option
from fnqueue.cli.resealing import reseal
from fnqueue.errors import SettingsInvalid
from fnqueue.security import keyfile
from fnqueue.security.keyrecord import POWERS, KeyRecord, Power
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keystrings import new_key
from fnqueue.security.suites import DIGITS

#: Files are reread within a second of a change.
ROTATE_SECONDS = 3.0
#: What a process of each role must be able to do, besides verifying.
NEEDS: dict[str, tuple[Power, ...]] = {"web": ("sign", "seal", "state"), "worker": ("open", "state"), "dashboard": ()}

_file = click.option(
    "--file",
    "-f",
    "file",
    type=click.Path(dir_okay=False),
    help="The key file. Default: FNQUEUE_KEYS_FILE, FNQUEUE_KEYS, or the application's.",
)


@click.group()
def keys() -> None:
    """Make, list, check, rotate and share out keys.

    \b
    `fnqueue keys rotate --file F` does it where all processes read one file. Step by step, without a stop and without
    losing a message:
      1. fnqueue keys new --file F       a second key, which opens and does not seal yet
      2. let every web process and worker have it (a file is reread within a second;
         FNQUEUE_KEYS needs a restart)
      3. fnqueue keys promote ID --file F        the new key seals, the old one still opens
      4. when the last message of the old key is gone (the longest expiry of a task):
         fnqueue keys revoke OLD --file F

    \b
    After a theft: new, promote and revoke at once. What the stolen key sealed is refused.
    """


keys.add_command(reseal)

# ---------------------------------------------------------------- commands


@keys.command()
@click.option("--file", "-f", "file", type=click.Path(dir_okay=False), help="Make it, or add the key to it.")
@click.option(
    "--suite",
    type=click.Choice(list(DIGITS)),
    help="local: one secret for all. signed: workers and dashboards cannot defer. split: nor can web nodes read. "
    "kms: AWS says who reads. "
    "Default: as the primary key of the file, else local.",
)
@click.option("--kms", metavar="ARN", help="Of suite kms: the AWS KMS key that seals and opens.")
@click.option(
    "--like",
    metavar="ID|primary",
    help="In a file: only the signing part is new, for workers whose tasks defer; see split-public.",
)
@reason_option
@click.pass_context
@reported
def new(
    ctx: click.Context, file: str | None, suite: str | None, kms: str | None, like: str | None, reason: str
) -> None:
    """A new key: printed, or put into a file.

    In a file that has keys the new one opens messages and does not seal: promote it once every process has it.
    """
    if file is None:
        if like is not None:
            raise Fault("--like is for a key of a --file: the others of its parts are there")
        click.echo(new_key(DIGITS[suite or "local"], kms=kms))
        click.echo("# the key; keep it secret, and give it to web and workers: FNQUEUE_KEYS=primary:...", err=True)
        if suite not in (None, "local"):
            click.echo("# what each of them is given of it: fnqueue keys split-public", err=True)
        return
    if not Path(file).exists():
        ring = keyfile.load_or_create(file, key=new_key(DIGITS[suite or "local"], kms=kms))
        click.echo(f"made {file} with the key {ring.primary.key_id}, which is primary")
        return
    before = keyfile.load(file)
    on_record(ctx, reason, "keys new", f"adds a key to {file}", file=file)
    if like is not None:
        model = before.primary.key_id if like == "primary" else like
        keyfile.update(file, lambda text: keyfile.like(text, model))
    else:
        key = new_key(DIGITS[suite] if suite else before.primary.suite, kms=kms)
        keyfile.update(file, lambda text: keyfile.add(text, key))
    added = _added(before, file)
    click.echo(f"added the key {added} to {file}; it opens, and does not seal yet")
    if like is not None:
        click.echo(f"what each process gets: fnqueue keys split-public --worker-signs {added} --file {file}", err=True)
    else:
        click.echo(f"once every process has it: fnqueue keys promote {added} --file {file}", err=True)


def _added(before: KeyRing, file: str | Path) -> str:
    return next(record.key_id for record in keyfile.load(file) if before.get(record.key_id) is None)


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
    shown = [[row["key_id"], row["state"], row["suite"], " ".join(row["parts"]), _limits(row)] for row in rows]
    screen.table(["KEY", "STATE", "SUITE", "PARTS", "FOR"], shown, empty="there is no key; make one: fnqueue keys new")


@keys.command()
@_file
@click.pass_context
@click.option("--role", type=click.Choice(list(NEEDS)), help="Whether such a process could do its work with them.")
@reported
def check(ctx: click.Context, file: str | None, role: str | None) -> None:
    """Whether web and workers could start with these keys. Exit 1 and every fault if not."""
    place = find_place(ctx, file)
    try:
        ring = place.ring()
    except SettingsInvalid as error:
        raise Fault("\n".join(error.faults)) from None
    lacking = _lacking(ring, role) if role else []
    if lacking:
        raise Fault("\n".join(lacking))
    others = [f"{record.key_id} {record.state}" for record in ring if record is not ring.primary]
    click.echo(f"ok: {place.shown} has the primary key {ring.primary.key_id}" + "".join(f", {each}" for each in others))


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
@reason_option
@click.pass_context
@reported
def promote(ctx: click.Context, key_id: str, file: str | None, reason: str) -> None:
    """Let this key seal from now on. The primary key of before still opens."""
    place = find_place(ctx, file)
    _is_there(place, key_id)
    on_record(ctx, reason, "keys promote", f"promotes the key {key_id} in {place.shown}", id=key_id, file=place.shown)
    place.change(lambda text: keyfile.promote(text, key_id))
    click.echo(f"{key_id} is primary in {place.shown}", err=place.path is None)


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@click.pass_context
@reported
def revoke(ctx: click.Context, key_id: str, file: str | None, yes: bool, reason: str) -> None:
    """Refuse from now on what this key sealed: such messages go to the dead-letter queue."""
    place = find_place(ctx, file)
    _is_there(place, key_id)
    screen.confirm_name(f"whatever {key_id} sealed would be refused from now on", key_id, yes=yes)
    on_record(ctx, reason, "keys revoke", f"revokes the key {key_id} in {place.shown}", id=key_id, file=place.shown)
    place.change(lambda text: keyfile.revoke(text, key_id))
    click.echo(f"{key_id} is revoked in {place.shown}", err=place.path is None)


@keys.command()
@_file
@click.option("--wait-seconds", type=click.FloatRange(0), default=ROTATE_SECONDS, show_default=True)
@reason_option
@click.pass_context
@reported
def rotate(ctx: click.Context, file: str | None, wait_seconds: float, reason: str) -> None:
    """A new key like the primary one, promoted once every process that reads this file has it.

    With FNQUEUE_KEYS, or a file per machine, nobody here knows when that is: only the first step is done, and the
    next is named.
    """
    place = find_place(ctx, file)
    before = place.ring()
    old = before.primary.key_id
    on_record(ctx, reason, "keys rotate", f"rotates the keys in {place.shown}", old=old, file=place.shown)
    place.change(keyfile.add_successor)
    if place.path is None:
        click.echo("# once every process has started with it: fnqueue keys promote, with the new key's id", err=True)
        return
    added = _added(before, place.path)
    click.echo(f"added the key {added} to {place.shown}; waiting {wait_seconds:g} s for whoever reads it")
    time.sleep(wait_seconds)
    place.change(lambda text: keyfile.promote(text, added))
    click.echo(f"{added} is primary in {place.shown}; {old} still opens")
    click.echo(f"when its last message is gone: fnqueue keys revoke {old} --file {place.shown}", err=True)


@keys.command("split-public")
@_file
@click.option("--role", type=click.Choice(list(keyfile.ROLES)), help="Only this one's, and nothing else: for a pipe.")
@click.option(
    "--worker-signs", "signs", metavar="ID", help="The key with which workers sign what their tasks defer (new --like)."
)
@reason_option
@click.pass_context
@reported
def split_public(ctx: click.Context, file: str | None, role: str | None, signs: str | None, reason: str) -> None:
    """What web nodes, workers and dashboards are given of these keys: FNQUEUE_KEYS for each. Secret but for the last.

    The whole keys stay where they were made, for rotating and resealing; no running process needs them.
    """
    place = find_place(ctx, file)
    text, roles = place.read(), [role] if role else list(keyfile.ROLES)
    shares = {each: keyfile.share(text, each, signs=signs) for each in roles}
    on_record(
        ctx, reason, "keys split-public", f"prints the keys in {place.shown}", roles=" ".join(roles), file=place.shown
    )
    for each, share in shares.items():
        shared = ",".join(re.sub(r"#[^\n]*", "", share).split())
        click.echo(shared if role else f"# {each}\nFNQUEUE_KEYS='{shared}'\n")


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
@click.pass_context
@reported
def show(ctx: click.Context, key_id: str, file: str | None) -> None:
    """One key: its suite, its parts, what a process can do with them and what it is limited to. Never the key."""
    record = _is_there(find_place(ctx, file), key_id)
    can = [power for power in POWERS if record.can(power)]
    rows = {
        "key": f"{record.key_id}, {record.state}",
        "suite": record.suite_name,
        "parts": " ".join(record.parts),
        "can": ", ".join(can) or "verify only",
        "sealing part": (record.sealing.key_id if record.sealing else None) or "-",
        "for": _limits(described(record)),
    }
    for name, value in rows.items():
        click.echo(f"{name:<14}{value}")


def _is_there(place: Place, key_id: str) -> KeyRecord:
    """Before anything is put on record: somebody may paste a key where its id is asked for."""
    record = place.ring().get(key_id)
    if record is None:
        named = "such key (an id is asked for, and that is a key)" if key_id.startswith("fnqk") else f"key {key_id}"
        raise Fault(f"there is no {named} here; list them: fnqueue keys list")
    return record


def described(record: KeyRecord) -> dict[str, Any]:
    limits = record.limits
    return {
        "key_id": record.key_id,
        "state": record.state,
        "suite": record.suite_name,
        "parts": list(record.parts),
        "tasks": limits.tasks,
        "queues": limits.queues,
        "kinds": limits.kinds,
        "mint": limits.mint,
    }


def _limits(row: dict[str, Any]) -> str:
    named = [f"{name} {', '.join(row[name])}" for name in ("tasks", "queues", "kinds") if row[name]]
    named += [] if row["mint"] else ["for users only by a mandate"]
    return "; ".join(named) or "everything"


def _lacking(ring: KeyRing, role: str) -> list[str]:
    """Of a web node the primary key is asked; a worker and a dashboard get messages of all."""
    if role == "web":
        return [sentence] if (sentence := ring.primary.lacks(*NEEDS[role])) else []
    return ring.lacking(*NEEDS[role])
