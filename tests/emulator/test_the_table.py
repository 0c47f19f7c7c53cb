"""Every row of the specification sheet that is not marked uncertain has a test: its `@row(...)`, or a bracket in the
broker's contract, which runs against the emulator too. The table is made of them, so it cannot be behind.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.emulator import sheet

HERE = Path(__file__).resolve().parent
CONTRACT = HERE.parent / "conformance" / "broker.py"

#: letter -> how many rows the sheet has of it
SHEET = {"P": 12, "E": 7, "X": 11, "L": 24, "C": 12, "A": 12, "M": 14, "B": 6, "R": 14, "V": 11, "G": 2, "D": 8}
SHEET |= {"T": 8, "Y": 5, "H": 5, "F": 15, "Q": 6}

#: Rows without a test, and why.
WITHOUT = {
    "C3": "uncertain: strings are compared, and tags are not",
    "M14": "uncertain: an unknown queue does beat what is wrong with a message",
    "R9": "uncertain: unknown names are ignored",
    "X11": "optional for an emulator: XML is the only answer of the query protocol",
    "L22": "a rate of AWS's, not a rule: nothing is throttled here",
    "H5": "says what boto3 does not check",
}


def rows() -> sheet.Found:
    found = sheet.rows_of_tests(HERE.glob("test_*.py"))
    for ids in re.findall(r"# \[([A-Z]\d+(?:, [A-Z]\d+)*)\]", CONTRACT.read_text(encoding="utf-8")):
        for one in ids.split(", "):
            found.setdefault(one, []).append("the broker's contract")
    return found


@pytest.mark.parametrize("letter", SHEET)
def test_every_row_has_a_test_or_a_reason(letter: str) -> None:
    assert sheet.untested(letter, SHEET[letter], rows(), WITHOUT) == []


def test_no_row_is_invented_and_no_reason_is_left_over() -> None:
    assert sheet.invented(SHEET, rows()) == set()
    assert set(rows()) & set(WITHOUT) == set()
