"""SECURITY.md claims nothing that no test shows: each row of its table of attacks names one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ROW = re.compile(
    r"^\| (?P<attack>.+?) \| (?P<suites>all|-|[1345](?:, [1345])*) \| (?P<result>.+?) \| `(?P<test>test_\w+)` \|$"
)


def rows() -> list[re.Match[str]]:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    lines = [line for line in text.split("## Attacks, suites, results")[1].splitlines() if "`test_" in line]
    found = [_ROW.match(line) for line in lines]
    assert all(found), [line for line, row in zip(lines, found, strict=True) if row is None]
    return [row for row in found if row is not None]


def test_at_least_sixty_attacks_are_named_each_once() -> None:
    attacks = [row["attack"] for row in rows()]
    assert len(attacks) >= 60
    assert len(set(attacks)) == len(attacks)


def test_every_attack_has_a_test_of_the_name_that_stands_there() -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert [row["test"] for row in rows() if row["test"] not in tests] == []
