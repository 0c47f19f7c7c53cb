"""Every row of EventBridge Scheduler's sheet that is not marked uncertain has a test: its `@row(...)`, here or where
the rules are tested without a server. The table is made of them, so it cannot be behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
WITHOUT_A_SERVER = HERE.parent.parent / "schedule" / "service"

#: letter -> how many rows the sheet has of it
SHEET = {"W": 13, "S": 16, "G": 17, "X": 7, "K": 11, "Z": 6, "E": 8, "N": 5}

#: Rows without a test, and why.
WITHOUT = {
    "X2": "uncertain: taken, and it fires if it is of the last minute",
    "X3": "uncertain: the gap is refused, the first of two is taken, as tests/schedule says",
    "X5": "uncertain: both are taken",
    "X7": "uncertain: a changed rate counts from the change",
    "K7": "uncertain: lower case is refused",
    "K8": "uncertain: a range may wrap, as the vectors say",
    "K11": "uncertain: refused",
    "Z4": "uncertain: it pauses, as the vectors say",
    **{f"E{number}": "EventBridge rules are another API, which is not served" for number in range(1, 9)},
}


def rows_of_tests() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted([*HERE.glob("test_*.py"), *WITHOUT_A_SERVER.glob("test_*.py")]):
        pattern = r"@row\(([^)]*)\)\n(?:@.*\n(?:(?:    |\)|\]).*\n)*)*def (test_\w+)"
        for ids, name in re.findall(pattern, path.read_text(encoding="utf-8")):
            for one in re.findall(r"\"(\w+)\"", ids):
                found.setdefault(one, []).append(f"{path.stem}.{name}")
    return found


@pytest.mark.parametrize("letter", SHEET)
def test_every_row_has_a_test_or_a_reason(letter: str) -> None:
    found = rows_of_tests()
    missing = [one for i in range(SHEET[letter]) if (one := f"{letter}{i + 1}") not in found and one not in WITHOUT]
    assert missing == []


def test_no_row_is_invented_and_no_reason_is_left_over() -> None:
    known = {f"{letter}{i + 1}" for letter, count in SHEET.items() for i in range(count)}
    found = set(rows_of_tests())
    assert found - known == set()
    assert found & set(WITHOUT) == set()
