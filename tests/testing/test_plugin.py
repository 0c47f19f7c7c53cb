"""The pytest plugin in projects of users: its fixtures, its cost, and how a project's own fixtures win."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment, run

pytestmark = pytest.mark.system

SHOP = """
from fnqueue import FnQueue

fn = FnQueue(url="sqlite:///must-not-be-made.db")
charged = []

@fn.task
def charge(account: int) -> int:
    charged.append(account)
    return account

@fn.task(once=True)
def charge_once(account: int) -> None:
    charged.append(account)
"""
CONFTEST = """
import pytest
import shop
from fnqueue.testing import in_memory

@pytest.fixture
def fn(clock):
    shop.charged.clear()
    with in_memory(shop.fn, clock) as fn:
        yield fn
"""


def project(folder: Path, text: str, *options: str, conftest: str = CONFTEST, env: dict[str, str] | None = None):
    (folder / "shop.py").write_text(SHOP)
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_shop.py").write_text(text)
    return run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django", *options, cwd=folder, env=env)


def test_a_project_tests_its_own_queue_and_no_file_is_made(tmp_path):
    done = project(
        tmp_path,
        """
import shop

def test_all_of_it(fn, drain, advance, clock, assert_deferred, assert_not_deferred):
    assert_not_deferred(shop.charge)
    handle = shop.charge.defer(7)
    shop.charge.using(delay_seconds=60).defer(8)
    assert_deferred(shop.charge, args=(7,), count=1)
    assert drain() == 1
    assert handle.result() == 7
    advance(minutes=1)
    assert shop.charged == [7, 8]

def test_eager(fn, eager):
    assert shop.charge.defer(7).result() == 7
""",
    )
    assert "2 passed" in done.stdout, done.stdout
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["conftest.py", "shop.py", "test_shop.py"]


CHAOTIC = """
import shop

def test_a_charge(drain, chaos):
    shop.charge.defer(7)
    drain()
    assert shop.charged == [7]
"""


def test_chaos_catches_a_task_that_is_not_idempotent_and_says_its_seed(tmp_path):
    done = project(tmp_path, CHAOTIC)
    assert "1 failed" in done.stdout
    seed = re.search(r"pytest --fnqueue-chaos-seed=(\d+) test_shop.py::test_a_charge", done.stdout)
    assert seed is not None, done.stdout
    again = project(tmp_path, CHAOTIC, f"--fnqueue-chaos-seed={seed[1]}")
    shown = re.findall(r"assert \[7.*\] == \[7\]", done.stdout)
    assert shown
    assert re.findall(r"assert \[7.*\] == \[7\]", again.stdout) == shown
    by_environment = project(tmp_path, CHAOTIC, env={"FNQUEUE_CHAOS_SEED": seed[1]})
    assert f"--fnqueue-chaos-seed={seed[1]} " in by_environment.stdout


def test_a_once_task_survives_it(tmp_path):
    assert (
        "1 passed"
        in project(tmp_path, CHAOTIC.replace("charge.defer", "charge_once.defer"), "--fnqueue-chaos-seed=3").stdout
    )


def test_a_projects_own_fixture_of_the_same_name_wins(tmp_path):
    done = project(
        tmp_path,
        """
def test_theirs(clock, advance, fn):
    assert (clock, advance) == ("a grandfather clock", "of a loan")
""",
        conftest="""
import pytest

@pytest.fixture
def clock():
    return "a grandfather clock"

@pytest.fixture
def advance():
    return "of a loan"

@pytest.fixture
def fn():
    return "theirs"
""",
    )
    assert "1 passed" in done.stdout, done.stdout


def test_a_clock_of_the_projects_own_is_told_from_ours_with_what_to_do(tmp_path):
    done = project(
        tmp_path,
        "def test_it(fn): pass",
        conftest=CONFTEST + "\n@pytest.fixture\ndef clock():\n    return 'a grandfather clock'\n",
    )
    assert "call in_memory(fn) without one" in done.stdout


def test_a_run_that_asks_for_no_fixture_imports_nothing_of_fnqueue_but_the_plugin(tmp_path):
    done = project(
        tmp_path,
        """
import sys

def test_it():
    found = sorted(name for name in sys.modules if name.startswith(("fnqueue", "flask_fnqueue", "django_fnqueue")))
    assert found == ["fnqueue", "fnqueue.testing", "fnqueue.testing.plugin"]
""",
        conftest="",
    )
    assert "1 passed" in done.stdout, done.stdout


def test_users_of_unittest_need_no_pytest(tmp_path):
    code = "import sys; sys.modules['pytest'] = None; from fnqueue.testing import *; print(FnQueueTestCase, Drain)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert "FnQueueTestCase" in shown.stdout


def test_a_clash_with_other_plugins_names_is_none():
    """Names that the common plugins have: pytest itself, pytest-django, pytest-flask, freezegun's, pytest-mock."""
    from fnqueue.testing import plugin

    names = {name for name, value in vars(plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"}
    assert names == {
        "advance",
        "assert_deferred",
        "assert_not_deferred",
        "chaos",
        "clock",
        "drain",
        "eager",
        "fn",
        "fnqueue_aws",
        "fnqueue_aws_session",
    }
    others = "app client db settings rf admin_client admin_user mailoutbox live_server transactional_db freezer mocker"
    assert not names & set(others.split())


def test_what_users_write_is_accepted_by_mypy(tmp_path):
    (tmp_path / "test_shop.py").write_text(
        """
from collections.abc import Callable

from fnqueue import FnQueue
from fnqueue.testing import AssertDeferred, Chaos, Drain, FnQueueTestCase, ManualClock, Sent, in_memory

def test_it(fn: FnQueue, drain: Drain, advance: Callable[..., int], assert_deferred: AssertDeferred) -> None:
    @fn.task
    def add(a: int) -> int:
        return a
    count: int = drain() + advance(hours=1) + drain.advance(days=1)
    calls: list[Sent] = assert_deferred(add, args=(7,), held=False)
    assert_deferred.not_(add)

class MyQueue(FnQueue): ...

with in_memory(MyQueue(), ManualClock(), eager="raise") as mine:
    kept: MyQueue = mine

class Tests(FnQueueTestCase):
    fn = MyQueue()
    chaos = Chaos(seed=7, delays=False)

    def test_it(self) -> None:
        self.drain()
        self.advance(hours=3)
"""
    )
    done = run("mypy", "--strict", "--config-file=", "test_shop.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
