"""The newsroom's own tests, run as its developers run them: by Django's test runner, in one process and in two."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment

ROOT = Path(__file__).resolve().parents[2]
LABEL = "example_apps.django_newsroom.desk.tests"


@pytest.mark.parametrize("how", [(), ("--parallel", "2", "--shuffle", "7")], ids=["alone", "parallel"])
def test_its_own_tests_pass(tmp_path: Path, how: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "example_apps/django_newsroom/manage.py", "test", LABEL, *how],
        cwd=ROOT,
        env=environment(NEWSROOM_INSTANCE=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"Ran (\d+) tests", done.stderr)[1]) >= 12


def test_its_migrations_are_complete_and_its_checks_find_nothing(tmp_path: Path) -> None:
    for command in (["makemigrations", "--check", "--dry-run"], ["check", "--fail-level", "WARNING"]):
        done = subprocess.run(
            [sys.executable, "example_apps/django_newsroom/manage.py", *command],
            cwd=ROOT,
            env=environment(NEWSROOM_INSTANCE=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
