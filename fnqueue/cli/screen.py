"""What the command line prints: tables and JSON on stdout, notes on stderr; colours only where a person looks.

Colours follow NO_COLOR and whether the stream is a terminal. A question is asked only where somebody can answer.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from fnqueue.clock import to_datetime
from fnqueue.settings import foreign_environment

_NUMBER = re.compile(r"-|[\d.,]+( [a-z]{1,3})?")


def coloured(stream: Any) -> bool:
    """Whether colours are welcome on a stream."""
    if foreign_environment("NO_COLOR") or foreign_environment("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


def paint(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour is not None and coloured(sys.stdout) else text


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    empty: str,
    colour: Callable[[Sequence[str]], str | None] = lambda row: None,
) -> None:
    """Columns as wide as their widest cell. Without rows the sentence `empty`. `colour` of a row, or none."""
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    numbers = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    click.echo(_line(head, widths, numbers))
    for row in rows:
        click.echo(paint(_line(row, widths, numbers), colour(row)))


def as_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def confirm_name(what: str, name: str, *, yes: bool) -> None:
    """Have `name` typed before something is lost. `--yes` skips it; without a terminal only `--yes` will do."""
    if yes:
        return
    if not is_asked():
        raise click.UsageError(f"{what}. Nobody can be asked here: give --yes.")
    click.echo(f"{what}.")
    if click.prompt("Type the name to go on", default="", show_default=False) != name:
        raise click.ClickException("that is not the name; nothing was changed")


def is_asked() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


# ---------------------------------------------------------------- cells


def seconds(value: float | None) -> str:
    """0.0123 -> "12 ms", 75 -> "75 s", 7200 -> "2 h"; None -> "-"."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 100:
        return f"{value:.1f} s"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if value >= size * 2:
            return f"{value / size:.0f} {unit}"
    return f"{value:.0f} s"


def moment(unix_seconds: float) -> str:
    """ISO 8601 with milliseconds and its zone, UTC."""
    return to_datetime(unix_seconds).isoformat(timespec="milliseconds")


def count(number: int, noun: str) -> str:
    """1 message, 2 messages."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """One line without control characters: what a stranger wrote must not steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _line(cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> str:
    shown = [
        cell.rjust(width) if number else cell.ljust(width)
        for cell, width, number in zip(cells, widths, numbers, strict=True)
    ]
    return "  ".join(shown).rstrip()
