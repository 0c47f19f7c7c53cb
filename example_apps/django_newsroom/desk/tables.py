"""CSV files: what is one, and its rows. Nothing of Django here, and nothing is kept.

A file is refused whole, with the line that is wrong: half a dataset would be a wrong dataset.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

BYTES_MAX = 8 * 1024 * 1024
ROWS_MAX = 100_000
COLUMNS_MAX = 100
NAME_LENGTH_MAX = 120


class NotATable(Exception):
    """Why a file is not taken, in words for the editor."""


@dataclass(frozen=True)
class Shape:
    columns: list[str]
    rows: int


def look_at(content: bytes) -> Shape:
    """Read all of it once. Raises NotATable."""
    if len(content) > BYTES_MAX:
        raise NotATable(f"it is larger than {BYTES_MAX // 1024**2} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotATable("it is not text in UTF-8") from None
    if "\0" in text:
        raise NotATable("it is not text")
    lines = _lines(text)
    columns = next(lines, [])
    _check_columns(columns)
    count = 0
    for count, row in enumerate(lines, 1):
        if len(row) != len(columns):
            raise NotATable(f"row {count} has {len(row)} cells, and the heading has {len(columns)}")
        if count > ROWS_MAX:
            raise NotATable(f"it has more than {ROWS_MAX:,} rows")
    if count == 0:
        raise NotATable("it has a heading and no rows")
    return Shape(columns, count)


def rows(content: bytes) -> Iterator[list[str]]:
    """The rows of a file that `look_at` has taken, without its heading."""
    lines = _lines(content.decode("utf-8-sig"))
    next(lines)
    return lines


def _lines(text: str) -> Iterator[list[str]]:
    """Without empty lines. Raises NotATable for what is no CSV."""
    try:
        yield from (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
    except csv.Error as error:
        raise NotATable(f"it is no CSV file: {error}") from None


def _check_columns(columns: list[str]) -> None:
    if len(columns) < 2:
        raise NotATable("its first line is no heading of two or more columns, separated by commas")
    if len(columns) > COLUMNS_MAX:
        raise NotATable(f"it has more than {COLUMNS_MAX} columns")
    for name in columns:
        if not name.strip() or len(name) > NAME_LENGTH_MAX:
            raise NotATable(f"each column needs a name of at most {NAME_LENGTH_MAX} characters")
    if len(set(columns)) < len(columns):
        raise NotATable("two of its columns have the same name")
