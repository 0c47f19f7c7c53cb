"""`fnqueue audit`: is it whole, and what was last.

Both only look: no file is made, and nothing is told to the audit.
"""

from __future__ import annotations

import os
from typing import Any

import click

from fnqueue.audit import lines
from fnqueue.audit.files import read_file
from fnqueue.audit.verifying import BYTES_MAX, Report
from fnqueue.audit.verifying import verify as verified
from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.clock import to_datetime
from fnqueue.runtime import Runtime

_folder = click.argument("folder", required=False, type=click.Path(file_okay=False))
_json = click.option("--json", "json_", is_flag=True, help="As JSON.")


@click.group()
def audit() -> None:
    """Check the audit, or show its last lines.

    FOLDER: of the files; without it FNQUEUE_AUDIT_DIR.
    """


@audit.command()
@_folder
@_json
@click.pass_context
@reported
def verify(ctx: click.Context, folder: str | None, json_: bool) -> None:
    """Exit 0 if no line was changed, dropped, added or moved, and no file cut or removed.

    Needs the keys that the lines were made with, and the store, which knows how far each file goes.
    """
    runtime, place = _looked_at(ctx, folder)
    links = runtime.audit_links()
    known = links.all() if links is not None else None  # before the files: they may grow meanwhile
    try:
        report = verified(place, known, runtime.sealing.audit_holds, now=to_datetime(runtime.clock.now()))
    except OSError as error:
        raise Fault(f"{place}: {error.strerror}") from None
    if known is None:
        report.doubts.append("there is no store, so nobody can say whether the end of each file is there")
    _show(report, json_)
    ctx.exit(1 if report.faults else 0)


def _show(report: Report, json_: bool) -> None:
    if json_:
        found = {"ok": not report.faults, "chains": report.chains, "lines": report.lines}
        screen.as_json({**found, "faults": report.faults, "doubts": report.doubts})
        return
    for word, told in (("FAULT", report.faults), ("doubt", report.doubts)):
        for text in told:
            click.echo(screen.paint(f"{word}: {screen.printable(text)}", "red" if word == "FAULT" else "yellow"))
    faults = screen.count(len(report.faults), "fault") if report.faults else "ok"
    click.echo(f"{faults}: {screen.count(report.lines, 'line')} in {screen.count(report.chains, 'chain')}")


@audit.command()
@_folder
@click.option("-n", "number", type=click.IntRange(1, 100_000), default=20, show_default=True, help="So many.")
@_json
@click.pass_context
@reported
def tail(ctx: click.Context, folder: str | None, number: int, json_: bool) -> None:
    """The last lines of all processes, oldest first, as they say: `verify` tells whether they are true."""
    _, place = _looked_at(ctx, folder)
    try:
        found = last_lines(place, number)
    except OSError as error:
        raise Fault(f"{place}: {error.strerror}") from None
    if json_:
        screen.as_json([{"at": line.at, "what": line.what, **line.told} for line in found])
        return
    for line in found:
        told = " ".join(f"{name}={_shown(value)}" for name, value in line.told.items())
        click.echo(screen.printable(f"{line.at} {line.what} {told}".rstrip()))


def last_lines(place: str, number: int) -> list[lines.Line]:
    found: list[lines.Line] = []
    for name in sorted(os.listdir(place)):
        if lines.NAME.fullmatch(name):
            data = read_file(os.path.join(place, name), BYTES_MAX) or b""
            read = [lines.read(text) for text in data.split(b"\n")[:-1]]
            found = sorted([*found, *(line for line in read if line is not None)], key=lambda line: line.at)[-number:]
    return found


def _shown(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return repr(text) if " " in text or not text else text


def _looked_at(ctx: click.Context, folder: str | None) -> tuple[Runtime, str]:
    app: Application = find_application(ctx, needs_tasks=False)
    runtime = app.runtime.to_look_at()
    place = folder or runtime.settings.audit_dir
    if place is None:
        raise Fault("there is no audit: FNQUEUE_AUDIT_DIR is not set; or name its folder")
    return runtime, place
