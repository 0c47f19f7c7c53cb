"""What the newsroom takes for a table, and what it says of its columns: no Django, no queue."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from example_apps.django_newsroom.demo_checks import expected_figures
from example_apps.django_newsroom.desk.figures import summary
from example_apps.django_newsroom.desk.tables import NotATable, Shape, look_at, rows

DATA = Path(__file__).resolve().parents[2] / "example_apps" / "django_newsroom" / "data"


@pytest.mark.parametrize(("name", "columns", "count"), [("airports", 7, 3376), ("seattle-weather", 6, 1461)])
def test_the_tables_of_the_example_are_taken_whole(name, columns, count) -> None:
    content = (DATA / f"{name}.csv").read_bytes()
    shape = look_at(content)
    assert (len(shape.columns), shape.rows) == (columns, count)
    assert len(list(rows(content))) == count


def test_quotes_a_byte_order_mark_and_lines_of_windows_are_understood() -> None:
    content = '\ufeffname,said\r\n"Ada, the first","""Hello""\nworld"\r\n\r\nBob,\r\n'.encode()
    assert look_at(content) == Shape(["name", "said"], 2)
    assert list(rows(content)) == [["Ada, the first", '"Hello"\nworld'], ["Bob", ""]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its first line is no heading"),
        (b"one\n1\n", "its first line is no heading of two or more columns"),
        (b"a,b\n", "it has a heading and no rows"),
        (b"a,a\n1,2\n", "two of its columns have the same name"),
        (b"a,\n1,2\n", "each column needs a name"),
        (b"a,b\n1,2\n1,2,3\n", "row 2 has 3 cells, and the heading has 2"),
        (b"a,b\n1\n", "row 1 has 1 cells, and the heading has 2"),
        (b'a,b\n"1,2\n', "it is no CSV file"),
        (b"\xff\xfea,b\n1,2\n", "it is not text in UTF-8"),
        (b"a,b\n1,\0\n", "it is not text"),
        (b"a,b\n" + b"1,2\n" * 100_001, "it has more than 100,000 rows"),
        (b"a,b\n" + b"x" * 9_000_000, "it is larger than 8 MB"),
        (",".join(f"c{n}" for n in range(101)).encode() + b"\n", "it has more than 100 columns"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(content, why) -> None:
    with pytest.raises(NotATable, match=why):
        look_at(content)


def test_rubbish_is_refused_and_breaks_nothing() -> None:
    chance = random.Random(7)
    for _ in range(300):
        with pytest.raises(NotATable):
            look_at(bytes(chance.choices(range(256), k=chance.randrange(200))) + b"\xff")


def test_numbers_have_a_spread_and_words_their_most_frequent() -> None:
    assert summary(["3", "1", "", "2"]) == {
        "kind": "number",
        "count": 3,
        "missing": 1,
        "minimum": 1.0,
        "maximum": 3.0,
        "mean": 2.0,
        "median": 2.0,
        "deviation": 1.0,
    }
    assert summary(["b", "a", "b", "1"]) == {
        "kind": "text",
        "count": 4,
        "missing": 0,
        "distinct": 3,
        "top": [["b", 2], ["1", 1], ["a", 1]],
    }


@pytest.mark.parametrize("cells", [["nan", "1"], ["inf"], ["1", "x"], ["", " "]])
def test_what_cannot_be_counted_with_is_words(cells) -> None:
    assert summary(cells)["kind"] == "text"


def test_one_number_deviates_from_nothing() -> None:
    assert summary(["5"])["deviation"] == 0.0


@pytest.mark.parametrize("name", ["airports", "seattle-weather"])
def test_the_figures_agree_with_a_calculation_of_another_kind(name) -> None:
    content = (DATA / f"{name}.csv").read_bytes()
    columns = look_at(content).columns
    table = list(rows(content))
    for position, (column, expected) in enumerate(expected_figures(DATA / f"{name}.csv").items()):
        found = summary([row[position] for row in table])
        assert columns[position] == column
        if found["kind"] == "number":
            shown = [f"{found[each]:.2f}" for each in ("minimum", "median", "mean", "maximum", "deviation")]
            given = [f"{float(each.removeprefix('<td>').removesuffix('</td>')):.2f}" for each in expected]
            assert shown == given
        else:
            assert expected[0] in (f"{found['distinct']} different", "all different")
