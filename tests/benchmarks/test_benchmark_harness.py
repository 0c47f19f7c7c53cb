"""The benchmark works: everything is measured once, small, and every target gets its row. No figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.report import judged, targets_table
from tests.benchmarks.targets import TARGETS, Reading

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The floor's bell is a Unix socket, whose path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="fnq-") as folder:
        yield Path(folder)


@pytest.mark.system
def test_a_quick_benchmark_measures_us_and_the_floor(short_folder: Path) -> None:
    found = short_folder / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json", str(found), "--folder", str(short_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    made = json.loads(found.read_text())
    assert made["absent"] == {}
    for figure in ("drain", "cpu", "defer", "beside_p95", "cold", "pickup", "idle", "rss"):
        assert figure in made["medians"]["ours full"], figure
    assert made["medians"]["ours full"]["left"] == 0
    assert made["medians"]["floor full"]["drain"] > 0
    assert all(target.what in done.stdout for target in TARGETS)
    assert not list(short_folder.glob("fnqueue-bench-*"))


def test_what_was_not_measured_is_said_and_not_guessed() -> None:
    assert {row["verdict"] for row in judged({})} == {"not measured"}
    assert "not measured" in targets_table({})


def test_a_verdict_says_by_how_much_a_target_was_missed() -> None:
    assert Reading(3.0, 3.0, "", at_least=True).verdict == "met"
    assert Reading(2.4, 3.0, "", at_least=True).verdict == "missed by 20%"
    assert Reading(0.5, 0.5, "").verdict == "met"
    assert Reading(0.6, 0.5, "").verdict == "missed by 20%"
