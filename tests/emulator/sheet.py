"""A specification sheet's rows and the tests that name them: `@row("M1", "M2")` above a test. Knows no sheet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

_MARKED = re.compile(r"@row\(([^)]*)\)\n(?:@.*\n(?:(?:    |\)|\]).*\n)*)*def (test_\w+)")

#: row -> the tests that name it
Found = dict[str, list[str]]


def rows_of_tests(files: Iterable[Path]) -> Found:
    found: Found = {}
    for path in sorted(files):
        for ids, name in _MARKED.findall(path.read_text(encoding="utf-8")):
            for one in re.findall(r"\"(\w+)\"", ids):
                found.setdefault(one, []).append(f"{path.stem}.{name}")
    return found


def untested(letter: str, count: int, found: Found, without: Collection[str]) -> list[str]:
    """Of the rows `letter`1 to `letter``count`, those that have neither a test nor a reason."""
    return [one for i in range(count) if (one := f"{letter}{i + 1}") not in found and one not in without]


def invented(sheet: Mapping[str, int], found: Found) -> set[str]:
    """Rows that tests name and the sheet does not have. `sheet`: letter -> how many rows it has of it."""
    return set(found) - {f"{letter}{i + 1}" for letter, count in sheet.items() for i in range(count)}
