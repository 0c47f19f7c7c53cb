"""A fuzzer guided by coverage, on everything that reads what others wrote. Bounded; in `make test-full` longer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import SEEDS, TARGETS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120 if os.environ.get("FNQUEUE_TEST_FULL") else 6
NEEDS = "atheris has no wheel for this Python or machine: pip install atheris"


def fuzz(name: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    if not os.environ.get("CI"):
        pytest.importorskip("atheris", reason=NEEDS)
    bounds = (f"-max_total_time={SECONDS}", "-rss_limit_mb=600", "-timeout=10", f"-artifact_prefix={tmp_path}/")
    # By way of a shell: the most memory that a process ever had is kept across exec, and this one had gigabytes.
    return subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "tests.fuzz", name, *bounds, *options],
        capture_output=True, text=True, cwd=ROOT, timeout=SECONDS + 120, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # libFuzzer ends the process before it has cleaned up
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "planted"])
def test_whatever_is_read_no_error_comes_out_that_is_not_of_the_tree(name: str, tmp_path: Path) -> None:
    done = fuzz(name, tmp_path, "-max_len=4096")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran = re.search(r"Done (\d+) runs", done.stderr)
    assert ran is not None and int(ran[1]) > 1000, done.stderr[-2000:]
    covered = [int(cov) for cov in re.findall(r"cov: (\d+)", done.stderr)]
    assert covered and covered[-1] > 10, "so that it looked into our code"


def test_the_fuzzer_finds_a_mistake_that_is_planted(tmp_path: Path) -> None:
    done = fuzz("planted", tmp_path)
    assert done.returncode != 0
    assert "IndexError: planted" in done.stdout + done.stderr


@pytest.mark.parametrize("name", SEEDS)
def test_what_a_fuzzer_begins_with_is_read_without_an_error(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)
