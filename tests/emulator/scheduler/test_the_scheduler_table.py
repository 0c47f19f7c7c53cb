"""Every row of EventBridge Scheduler's sheet that is not marked uncertain has a test: its `@row(...)`, here or where
the rules are tested without a server. The table is made of them, so it cannot be behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulator import sheet

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


def rows() -> sheet.Found:
    return sheet.rows_of_tests([*HERE.glob("test_*.py"), *WITHOUT_A_SERVER.glob("test_*.py")])


@pytest.mark.parametrize("letter", SHEET)
def test_every_row_has_a_test_or_a_reason(letter: str) -> None:
    assert sheet.untested(letter, SHEET[letter], rows(), WITHOUT) == []


def test_no_row_is_invented_and_no_reason_is_left_over() -> None:
    assert sheet.invented(SHEET, rows()) == set()
    assert set(rows()) & set(WITHOUT) == set()
