"""The types of the public surface: mypy accepts what must be accepted, and fails where it should fail."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE.parent.parent
FILES = ("ok", "bad", "flask_ok")
FOUND = re.compile(r"^(?P<file>\w+)\.py:(?P<line>\d+): error: (?P<text>.*)  \[(?P<code>[\w-]+)\]$")
EXPECTED = re.compile(r"# E: (?P<codes>[\w-]+(?:, [\w-]+)*)$")


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, set[str]]]:
    """File -> line -> codes. Mypy runs once for all files, without the project's own configuration."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    command += [
        "--no-error-summary",
        "--cache-dir",
        str(tmp_path_factory.mktemp("mypy")),
        *(f"{name}.py" for name in FILES),
    ]
    environment = {"MYPYPATH": f"{PACKAGE}:{PACKAGE / 'integrations'}", "PATH": ""}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, dict[int, set[str]]] = {name: defaultdict(set) for name in FILES}
    for line in done.stdout.splitlines():
        if match := FOUND.match(line):
            found[match["file"]][int(match["line"])].add(f"{match['code']}: {match['text']}")
    return found


def test_what_a_user_writes_is_accepted(complaints: dict[str, dict[int, set[str]]]) -> None:
    assert dict(complaints["ok"]) == dict(complaints["flask_ok"]) == {}


def test_each_wrong_line_fails_with_its_code_and_no_other_line_does(complaints: dict[str, dict[int, set[str]]]) -> None:
    expected = {
        number: set(match["codes"].split(", "))
        for number, line in enumerate((HERE / "bad.py").read_text().splitlines(), 1)
        if (match := EXPECTED.search(line))
    }
    assert len(expected) > 25
    found = {line: {text.partition(":")[0] for text in texts} for line, texts in complaints["bad"].items()}
    assert found.keys() == expected.keys(), dict(complaints["bad"])
    # A mypy of another version may say more about a line, never less.
    assert {line: codes & expected[line] for line, codes in found.items()} == expected


def test_the_accepted_examples_are_true_at_run_time() -> None:
    names = runpy.run_path(str(HERE / "ok.py"), run_name="shop.tasks")
    assert names["plain"].name == "shop.tasks.plain"
    assert names["plain"](7, names["november"]) == "7 2026-11-01 1"
