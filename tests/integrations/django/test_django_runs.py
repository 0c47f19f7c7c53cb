"""A project on SQLite: what a view or a shell defers is run by a worker."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.test.utils import override_settings

from tests.commands import environment
from tests.integrations.django.newsstand.tasks import add


def test_a_call_deferred_in_the_project_is_run_by_a_worker(on_disk, work):
    handle = add.defer(1, 2)
    assert work() == 0
    assert handle.result() == 3


def test_the_fixtures_of_fnqueue_testing_work_with_the_projects_fn(fn, drain, assert_deferred):
    handle = add.defer(1, 2)
    assert_deferred(add, args=(1, 2), count=1)
    drain()
    assert handle.result() == 3


def test_changed_settings_count_at_the_next_use_and_the_old_queue_is_let_go(on_disk, tmp_path):
    before = on_disk.runtime()
    add.defer(1, 2)
    with override_settings(FNQUEUE={"URL": f"sqlite:///{tmp_path}/second.db"}):
        add.defer(3, 4)
        assert (tmp_path / "second.db").exists()
        assert on_disk.runtime() is not before
    assert on_disk.runtime() is not before
    assert on_disk.runtime().engine.path == str(tmp_path / "queue.db")


LAZY = """
from django_fnqueue import fn
from fnqueue.policies import public, authenticated

@fn.task(name="shop.early", policy=authenticated)
def early(): ...

with fn.as_service("x"):
    try:
        early.defer()
    except Exception as error:
        print(type(error).__name__, error)

from django.conf import settings
settings.configure(FNQUEUE={"URL": "sqlite://"}, USE_TZ=True)
with fn.as_service("x"):
    print(len(early.defer().id))
"""


@pytest.mark.system
def test_tasks_may_be_defined_before_django_knows_its_settings_and_a_call_says_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-Wd", "-c", LAZY], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=40
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert said[0] == "DjangoNotConfigured fnqueue needs Django's settings here, and DJANGO_SETTINGS_MODULE is not set."
    assert said[-1] == "26"
