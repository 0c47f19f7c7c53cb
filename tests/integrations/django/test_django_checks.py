"""`manage.py check`: every fault has a number and a hint, and looking for it leaves nothing behind."""

from __future__ import annotations

import io
import re
from typing import get_args

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections
from django.test.utils import override_settings

import django_fnqueue
from django_fnqueue import FnQueue
from django_fnqueue.checks import NUMBERS, check_queue
from django_fnqueue.middleware import FnQueueMiddleware
from fnqueue.policies import authenticated, from_schedule, public, role, service
from fnqueue.runtime import FaultKind
from fnqueue.security.keyring import new_key
from tests.integrations.django.conftest import MIDDLEWARE

SQS = "sqs://eu-west-1/shop-"


def found(*, deploy: bool = False) -> list[str]:
    return sorted(each.id for each in run_checks(tags=["fnqueue"], include_deployment_checks=deploy))


def only(number: str):
    (error,) = [each for each in run_checks(tags=["fnqueue"]) if each.id == number]
    assert error.hint
    return error


def test_a_project_that_is_right_has_no_fault():
    assert found() == []


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        ({"URL": "redis://localhost"}, ["fnqueue.E001"]),
        ({"URL": SQS, "ENVIRONMENT": "production", "DEFAULT_POLICY": "public"}, ["fnqueue.E002"]),
        ({"URLL": "sqlite:///x.db", "CONCURRENCY": "many"}, ["fnqueue.E003", "fnqueue.E003"]),
        ({"URL": SQS, "KEYS": f"primary:{new_key()}", "DEFAULT_POLICY": "public"}, ["fnqueue.E008"]),
        ([("URL", "sqlite:///x.db")], ["fnqueue.E003"]),
    ],
)
def test_each_fault_of_the_settings_has_its_number_and_a_hint(settings, numbers):
    with override_settings(FNQUEUE=settings):
        assert found() == numbers
        assert all(each.hint for each in run_checks(tags=["fnqueue"]))


def test_what_tasks_lack_on_sqs_is_found(fn):
    fn.task(name="shop.open")(lambda: None)
    fn.task(name="shop.once", once=True, policy=public)(lambda: None)
    fn.task(name="shop.high", priority="high", policy=public)(lambda: None)
    fn.task(name="shop.fifo", queue="mail.fifo", policy=public)(lambda: None)
    fn.task(name="shop.mail", queue="mail", policy=public)(lambda: None)
    with override_settings(FNQUEUE={"URL": SQS, "KEYS": f"primary:{new_key()}", "ENVIRONMENT": "production"}):
        assert found() == ["fnqueue.E004", "fnqueue.E009", "fnqueue.E010", "fnqueue.E011"]
        assert "shop.open" in only("fnqueue.E004").msg


def test_every_fault_that_a_worker_refuses_to_start_for_is_an_error_of_the_check(fn):
    fn.task(name="shop.open")(lambda: None)
    with override_settings(FNQUEUE={"URL": SQS}):
        faults = fn.make().faults()
        assert len(faults) == 3
        assert {each.msg for each in run_checks(tags=["fnqueue"])} == set(faults)


def test_every_kind_of_fault_has_a_number():
    assert set(NUMBERS) == set(get_args(FaultKind))


def test_a_misspelled_setting_is_told_with_the_one_that_was_meant():
    with override_settings(FNQUEUE={"DEFAULT_POLICI": "public"}):
        assert "did you mean DEFAULT_POLICY?" in only("fnqueue.E003").msg


def test_a_setting_outside_the_dict_is_told_because_nobody_reads_it():
    with override_settings(FNQUEUE_URL="sqlite:///elsewhere.db"):
        assert 'FNQUEUE = {"URL": ...}' in only("fnqueue.E003").msg


@pytest.mark.parametrize(
    ("policy", "errors"),
    [
        (authenticated, 1),
        (role("editor") & ~role("banned"), 1),
        (public, 0),
        (service("import") | from_schedule, 0),
        (service("import") | role("editor"), 1),
    ],
)
def test_the_missing_middleware_is_told_where_a_policy_asks_who_is_logged_in(policy, errors):
    own = FnQueue()
    own.task(name="shop.send", policy=policy)(lambda: None)
    with override_settings(MIDDLEWARE=MIDDLEWARE[:-1]):
        assert [each.id for each in check_queue(own)] == ["fnqueue.E007"] * errors
    assert check_queue(own) == []


def test_a_default_policy_that_asks_who_is_logged_in_counts_too():
    own = FnQueue(default_policy="authenticated")
    own.task(name="shop.send")(lambda: None)
    with override_settings(MIDDLEWARE=[]):
        assert [each.id for each in check_queue(own)] == ["fnqueue.E007"]


class Derived(FnQueueMiddleware):
    pass


def test_a_middleware_derived_from_ours_is_ours():
    with override_settings(MIDDLEWARE=[f"{__name__}.Derived"]):
        assert found() == []


def test_sqlite_without_debug_is_a_warning_of_a_deployment_only():
    with override_settings(DEBUG=False):
        assert found() == []
        assert found(deploy=True) == ["fnqueue.W001"]
    with override_settings(DEBUG=True):
        assert found(deploy=True) == []


@pytest.mark.parametrize(
    ("database", "numbers"),
    [
        ({"OPTIONS": {"pool": True}}, ["fnqueue.W002"]),
        ({"OPTIONS": {"pool": {"max_size": 4}}, "CONN_HEALTH_CHECKS": True}, []),
        ({"OPTIONS": {"pool": False}}, []),
        ({"OPTIONS": {"pool": True}, "ENGINE": "django.db.backends.oracle"}, []),
    ],
)
def test_a_pool_that_hands_out_connections_unchecked_is_a_warning(database, numbers, monkeypatch):
    for name, value in database.items():
        monkeypatch.setitem(connections.settings["other"], name, value)
    assert found() == numbers
    if numbers:
        assert "'other'" in only("fnqueue.W002").msg


def fnqueue_check() -> tuple[int, str]:
    """Exit code, and what it says."""
    out, code = io.StringIO(), 0
    try:
        call_command("fnqueue", "check", stdout=out)
    except SystemExit as ended:
        code = ended.code
    return code, out.getvalue()


def test_fnqueue_check_says_once_what_manage_check_says(fn, monkeypatch):
    monkeypatch.setitem(connections.settings["other"], "OPTIONS", {"pool": True})
    with override_settings(MIDDLEWARE=[]):
        assert found() == ["fnqueue.E007", "fnqueue.W002"]
        code, said = fnqueue_check()
        assert all(said.count(each.msg) == 1 for each in run_checks(tags=["fnqueue"]))
    assert code == 1
    assert re.search(r"^error    app +The policy of ", said, re.MULTILINE)
    assert re.search(r"^ +Add 'django_fnqueue.middleware.FnQueueMiddleware' to MIDDLEWARE", said, re.MULTILINE)
    assert re.search(r"^warning  app +The database 'other' has a pool", said, re.MULTILINE)
    assert said.endswith("1 error, 1 warning; nothing was started\n")


def test_a_fault_that_a_worker_refuses_to_start_for_is_said_once_too():
    django_fnqueue.fn.task(name="shop.open")(lambda: None)
    with override_settings(FNQUEUE={"URL": SQS}):
        code, said = fnqueue_check()
        assert [said.count(each.msg.splitlines()[0]) for each in run_checks(tags=["fnqueue"])] == [1, 1, 1]
    assert code == 1


def test_what_is_silenced_is_silent_in_fnqueue_check_too(fn):
    with override_settings(MIDDLEWARE=[], SILENCED_SYSTEM_CHECKS=["fnqueue.E007"]):
        code, said = fnqueue_check()
    assert code == 0
    assert "MIDDLEWARE" not in said


def test_a_check_makes_no_file_and_opens_none(tmp_path):
    with override_settings(FNQUEUE={"URL": f"sqlite:///{tmp_path}/queue.db"}):
        assert found(deploy=True) == ["fnqueue.W001"]
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_that_others_can_read_is_told(tmp_path):
    path = tmp_path / "fnqueue.keys"
    path.write_text(f"primary:{new_key()}\n")
    path.chmod(0o644)
    with override_settings(FNQUEUE={"URL": f"sqlite:///{tmp_path}/queue.db"}):
        assert str(path) in only("fnqueue.E002").msg


def test_what_was_checked_is_checked_again_by_the_first_call(on_disk):
    with override_settings(FNQUEUE={"URL": "redis://"}):
        assert found() == ["fnqueue.E001"]
        assert on_disk._made == {}
