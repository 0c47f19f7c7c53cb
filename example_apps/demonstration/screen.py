"""What the demonstration prints: numbered steps and a table; colours only where a person looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_COLOURS = {"bold": "1", "soft": "2", "red": "31", "green": "32", "accent": "36"}


def paint(text: str, colour: str) -> str:
    """`text` in `colour` on a terminal (and without NO_COLOR); plain anywhere else."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


class Screen:
    def __init__(self) -> None:
        self._step = 0

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def step(self, text: str) -> None:
        self._step += 1
        self.say(f"{paint(f'{self._step:>2}', 'accent')}  {text}")

    def more(self, text: str) -> None:
        """A further line of the step above."""
        self.say(f"    {paint(text, 'soft')}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their widest cell; a cell that is a number or a time stands to the right."""
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        self.say("    " + paint(_line(head, widths), "bold"))
        for row in rows:
            self.say("    " + _line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    aligned = (cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width) for cell, width in pairs)
    return "  ".join(aligned).rstrip()
