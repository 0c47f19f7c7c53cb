"""`make demo` as a newcomer types it: on SQLite, on SQS servers with two variables more, and when it must fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import psutil
import pytest

from example_apps.flask_photos.demo import ROOT

pytestmark = [pytest.mark.system]
STORY = (
    "36 calls deferred",
    "kill -9",
    "36 of 36",
    "36 thumbnails are JPEGs of the width",
    "contact sheet is laid out",
    "403, needs role 'editor'; user 'bob' has 'viewer'",
    "nothing was sent",
    "5 photographs are left",
    "38 calls",
    "All promises held",
)


def demonstrate(
    tmp_path: object, extra: Mapping[str, str] | None = None, *options: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FNQUEUE_", "AWS_", "PHOTOS_"))}
    return subprocess.run(
        [sys.executable, "-m", "example_apps.flask_photos.demo", *options],
        cwd=ROOT,
        env={**kept, "TMPDIR": str(tmp_path), **(extra or {})},
        capture_output=True,
        text=True,
        timeout=150,
    )


def left_behind(tmp_path: object) -> list[int]:
    """Processes that work in the demonstration's folder."""
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.environ().get("PHOTOS_INSTANCE", "").startswith(str(tmp_path)):
                found.append(process.pid)
        except psutil.Error:
            pass  # it ended meanwhile, or is none of ours
    return found


def test_the_demonstration_keeps_every_promise_on_sqlite(tmp_path) -> None:
    done = demonstrate(tmp_path)
    assert done.returncode == 0, done.stdout
    for part in (*STORY, "a thief reads make_thumbnail", "sqlite:///fnqueue.db"):
        assert part in done.stdout
    assert "\033[" not in done.stdout
    assert len(done.stdout.splitlines()) <= 24
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.aws
def test_the_same_demonstration_runs_on_an_sqs_server_with_no_line_changed(tmp_path, moto_endpoint: str) -> None:
    url = f"sqs://us-east-1/demo-?endpoint={moto_endpoint}"
    done = demonstrate(tmp_path, {"FNQUEUE_URL": url, "FNQUEUE_STORE_URL": "sqlite:///records.db"})
    assert done.returncode == 0, done.stdout
    for part in (*STORY, url):
        assert part in done.stdout
    assert left_behind(tmp_path) == []


def test_on_the_emulator_all_is_kept_though_that_is_killed_too_whatever_the_shell_is_set_up_for(tmp_path) -> None:
    shell = {
        "FNQUEUE_URL": "sqs://eu-west-1/production-",
        "FNQUEUE_STORE_URL": "none",
        "AWS_PROFILE": "one that is not there",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    done = demonstrate(tmp_path, shell, "--emulator")
    assert done.returncode == 0, done.stdout
    for part in (
        *STORY,
        "a thief reads make_thumbnail",
        "FNQUEUE_URL=sqs://us-east-1/demo-?endpoint=http://127.0.0.1:",
    ):
        assert part in done.stdout
    assert done.stdout.count("kill -9") == 2
    assert "on from its file, on the same port" in done.stdout
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_that_fails_says_why_and_leaves_nothing_behind(tmp_path) -> None:
    done = demonstrate(tmp_path, {"FNQUEUE_URL": "postgres://somewhere"})
    assert done.returncode == 1
    assert "The demonstration failed:" in done.stdout
    assert "must begin with sqlite:// (a file) or sqs://" in done.stdout
    assert "Traceback" not in done.stderr
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
