"""`make demo-django` ends well, leaves nothing behind, and runs the same on an SQS server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("demo"), pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
STORY = (
    "ada and bob upload 7 tables, 15,972 rows",
    "kill -9",
    "takes over: 15,972 rows",
    "Calculated again by hand: 149 figures on the pages are right.",
    "One mail for each table, with its figures: 6 to ada@example.org, 1 to bob@example.org.",
    "403, needs role 'staff'",
    "403, needs role 'editors'",
    "The queue is empty, and no table came or went",
    "What the store remembers of 23 calls",
    "All promises held",
)


def demonstrate(tmp_path: Path, extra: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FNQUEUE_", "AWS_", "NEWSROOM_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "example_apps.django_newsroom.demo"],
        cwd=ROOT,
        env={**kept, "TMPDIR": str(tmp_path), **(extra or {})},
        capture_output=True,
        text=True,
        timeout=200,
    )


def left_behind(tmp_path: Path) -> list[int]:
    """Processes that work in the demonstration's folder."""
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.environ().get("NEWSROOM_INSTANCE", "").startswith(str(tmp_path)):
                found.append(process.pid)
        except psutil.Error:
            pass  # it ended meanwhile, or is none of ours
    return found


def test_the_newsroom_keeps_every_promise_on_sqlite(tmp_path) -> None:
    done = demonstrate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part for part in STORY if part not in done.stdout] == []
    assert "\033[" not in done.stdout
    assert done.stderr == ""
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.aws
def test_the_same_newsroom_runs_on_an_sqs_server_with_no_line_changed(tmp_path, moto_endpoint: str) -> None:
    url = f"sqs://us-east-1/news-?endpoint={moto_endpoint}"
    done = demonstrate(
        tmp_path,
        {"FNQUEUE_URL": url, "FNQUEUE_STORE_URL": "sqlite:///records.db", "FNQUEUE_DEFAULT_POLICY": "authenticated"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part for part in (*STORY, url) if part not in done.stdout] == []
    assert left_behind(tmp_path) == []


def test_a_newsroom_that_fails_says_why_and_leaves_nothing_behind(tmp_path) -> None:
    done = demonstrate(tmp_path, {"FNQUEUE_URL": "postgres://somewhere"})
    assert done.returncode == 1
    assert "The demonstration failed:" in done.stdout
    assert "must begin with sqlite:// (a file) or sqs://" in done.stdout
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
