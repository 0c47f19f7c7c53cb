"""`django_fnqueue.testing` as users run it: manage.py test, in parallel too, and pytest-django. Real projects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run

pytestmark = pytest.mark.system

SETTINGS = """
from pathlib import Path

BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "of a test"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_fnqueue", "shop"]
MIDDLEWARE = ["django_fnqueue.middleware.FnQueueMiddleware"]
ROOT_URLCONF = "shop.urls"
DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(BASE_DIR / f"{alias}.sqlite3")}
    for alias in ("default", "other")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
FNQUEUE = {"URL": "sqlite:///must-not-be-made.db"}
"""
MANAGE = """
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
MODELS = """
from django.db import models

class Order(models.Model):
    paid = models.BooleanField(default=False)
    mailed = models.IntegerField(default=0)
"""
TASKS = """
from django.db import transaction
from django.db.models import F
from django_fnqueue import fn
from shop.models import Order

@fn.task
def pay(order: int) -> None:
    with transaction.atomic():
        Order.objects.filter(pk=order).update(paid=True)
        mail.defer(order)

@fn.task
def pay_in_vain(order: int) -> None:
    with transaction.atomic():
        mail.defer(order)
        raise ValueError("no money")

@fn.task
def mail(order: int) -> int:
    Order.objects.filter(pk=order).update(mailed=F("mailed") + 1)
    return order

@fn.task
async def count() -> int:
    return await Order.objects.acount()
"""
URLS = """
from django.db import transaction
from django.http import JsonResponse
from django.urls import path
from shop.models import Order
from shop.tasks import pay

def order(request):
    with transaction.atomic():
        made = Order.objects.create()
        handle = pay.defer(made.pk)
    return JsonResponse({"order": made.pk, "held": handle.held})

urlpatterns = [path("orders", order)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    for name, text in {"settings": SETTINGS, "models": MODELS, "tasks": TASKS, "urls": URLS, "__init__": ""}.items():
        (tmp_path / "shop" / f"{name}.py").write_text(text)
    (tmp_path / "manage.py").write_text(MANAGE)
    return tmp_path


def django_tests(project: Path, text: str, *options: str):
    (project / "shop" / "tests.py").write_text(text)
    done = run("manage", "test", *options, cwd=project)
    left = {path.name for path in project.iterdir()}
    assert not {name for name in left if "fnqueue" in name or "must-not" in name}, left
    return done


ORDERS = """
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from django_fnqueue import fn
from django_fnqueue.testing import FnQueueTestCase
from fnqueue import PolicyDenied
from shop.models import Order
from shop.tasks import count, mail, pay, pay_in_vain


class InATestCase(FnQueueTestCase, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.order = Order.objects.create()
        cls.handle = mail.defer(cls.order.pk)

    def test_what_the_class_deferred_waits_for_a_commit_that_never_comes(self):
        self.assertTrue(self.handle.held)
        self.assertEqual(self.drain(), 0)
        self.order.refresh_from_db()
        self.assertEqual(self.order.mailed, 0)
        self.assertNotDeferred(mail)

    def test_a_view_defers_and_the_call_is_held(self):
        answer = self.client.post("/orders").json()
        self.assertTrue(answer["held"])
        (call,) = self.assertDeferred(pay, args=(answer["order"],), held=True)
        self.assertEqual(self.drain(), 0)

    def test_captured_calls_are_sent_and_what_they_defer_in_atomic_runs_too(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            answer = self.client.post("/orders").json()
        self.assertEqual(len(callbacks), 1)
        self.assertEqual(self.drain(), 2)
        order = Order.objects.get(pk=answer["order"])
        self.assertEqual((order.paid, order.mailed), (True, 1))

    def test_what_a_task_defers_and_rolls_back_does_not_run(self):
        with self.captureOnCommitCallbacks(execute=True):
            pay_in_vain.defer(self.order.pk)
        self.assertEqual(self.drain(), 1)
        self.assertNotDeferred(mail)

    def test_a_rollback_of_the_view_drops_the_call(self):
        with self.captureOnCommitCallbacks(execute=True), self.assertRaises(ValueError):
            with transaction.atomic():
                mail.defer(self.order.pk)
                raise ValueError
        self.assertNotDeferred(mail)
        with self.assertRaisesRegex(AssertionError, "Dropped, and never sent"):
            self.assertDeferred(mail)

    def test_a_coroutine_task_sees_what_the_test_wrote(self):
        with self.captureOnCommitCallbacks(execute=True):
            handle = count.defer()
        self.drain()
        self.assertEqual(handle.result(), 1)

    async def test_an_async_test_drains_in_a_thread(self):
        handle = await sync_to_async(lambda: self.captured(count))()
        await sync_to_async(self.drain)()
        self.assertEqual(handle.result(), 1)

    def captured(self, task, *args):
        with self.captureOnCommitCallbacks(execute=True):
            return task.defer(*args)

    def test_settings_that_a_test_overrides_count_and_end_with_it(self):
        with override_settings(FNQUEUE={"URL": "sqlite:///must-not-be-made.db", "DEFAULT_POLICY": "authenticated"}):
            with self.assertRaises(PolicyDenied):
                mail.defer(1)
            with fn.as_service("night"):
                self.captured(mail, 1)
        self.captured(mail, 2)
        self.assertDeferred(mail, count=2)
        self.assertEqual(self.drain(), 2)

    def test_subtests_work_in_parallel_too(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertDeferred(mail) if n == 9 else self.assertNotDeferred(mail)

    def test_wrong_settings_are_told_where_something_is_deferred(self):
        from fnqueue import SettingsInvalid
        with override_settings(FNQUEUE={"URLL": "x"}), self.assertRaises(SettingsInvalid):
            mail.defer(1)
        mail.defer(1)

    @override_settings(FNQUEUE={"ENVIRONMENT": "staging"})
    def test_a_decorated_test_too(self):
        self.assertEqual(fn.runtime().settings.environment, "staging")
        self.assertEqual(fn.runtime().settings.url, "sqlite://")


@override_settings(FNQUEUE={"ENVIRONMENT": "of-a-class"})
class OfAnOverriddenClass(FnQueueTestCase, TestCase):
    def test_it(self):
        self.assertEqual(fn.runtime().settings.environment, "of-a-class")


class InATransactionTestCase(FnQueueTestCase, TransactionTestCase):
    def test_commits_are_real(self):
        answer = self.client.post("/orders").json()
        self.assertEqual(self.drain(), 2)
        self.assertEqual(Order.objects.get(pk=answer["order"]).mailed, 1)

    def test_a_coroutine_task_runs(self):
        handle = count.defer()
        self.drain()
        self.assertEqual(handle.result(), 0)


class Eagerly(FnQueueTestCase, TestCase):
    eager = "raise"

    def test_it_runs_after_the_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/orders").json()
            self.assertFalse(Order.objects.get(pk=answer["order"]).paid)
        order = Order.objects.get(pk=answer["order"])
        self.assertEqual((order.paid, order.mailed), (True, 1))

    def test_a_failure_comes_out_of_the_commit(self):
        with self.assertRaisesRegex(ValueError, "no money"), self.captureOnCommitCallbacks(execute=True):
            pay_in_vain.defer(1)


class WithoutADatabase(FnQueueTestCase, SimpleTestCase):
    def test_it(self):
        mail.using(delay_seconds=60).defer(1)
        self.assertDeferred(mail, held=False)
        self.assertEqual(self.drain(), 0)
"""


@pytest.mark.parametrize(
    "options", [(), ("--parallel=2",), ("--parallel=2", "--shuffle=7")], ids=["alone", "parallel", "shuffled"]
)
def test_manage_py_test(project, options):
    done = django_tests(project, ORDERS, *options)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Ran 17 tests" in done.stderr


def test_in_parallel_by_spawned_processes(project):
    manage = project / "manage.py"
    manage.write_text(
        MANAGE.replace(
            "from django.core.management",
            "import multiprocessing; multiprocessing.set_start_method('spawn')\n    from django.core.management",
        )
    )
    done = django_tests(project, ORDERS, "--parallel=2")
    assert done.returncode == 0, done.stderr + done.stdout


def test_pytest_django_captures_commits(project):
    pytest.importorskip("pytest_django")
    (project / "conftest.py").write_text(
        """
import pytest
from django_fnqueue.testing import in_memory

@pytest.fixture
def fn(clock):
    with in_memory(clock=clock) as fn:
        yield fn
"""
    )
    (project / "test_shop.py").write_text(
        """
import pytest
from fnqueue import PolicyDenied
from shop.models import Order
from shop.tasks import count, mail

@pytest.mark.django_db
def test_an_order(client, drain, assert_deferred, django_capture_on_commit_callbacks):
    from shop.tasks import pay
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        answer = client.post("/orders").json()
        assert_deferred(pay, args=(answer["order"],), held=True)
    assert len(callbacks) == 1
    assert drain() == 2
    assert Order.objects.get(pk=answer["order"]).mailed == 1

@pytest.mark.django_db(transaction=True)
def test_a_real_commit(client, drain):
    answer = client.post("/orders").json()
    assert drain() == 2
    assert Order.objects.get(pk=answer["order"]).mailed == 1

@pytest.mark.django_db
def test_a_coroutine_sees_the_tests_rows(fn, drain, django_capture_on_commit_callbacks):
    Order.objects.create()
    with django_capture_on_commit_callbacks(execute=True):
        handle = count.defer()
    drain()
    assert handle.result() == 1

def test_settings(fn, settings):
    settings.FNQUEUE = {"DEFAULT_POLICY": "authenticated"}
    with pytest.raises(PolicyDenied):
        mail.defer(1)

@pytest.mark.django_db
def test_chaos_finds_the_second_mail(drain, chaos, django_capture_on_commit_callbacks):
    order = Order.objects.create()
    with django_capture_on_commit_callbacks(execute=True):
        mail.defer(order.pk)
    drain()
    order.refresh_from_db()
    assert order.mailed > 1
"""
    )
    done = run("pytest", "-q", "-p", "no:cacheprovider", "--ds", "shop.settings", cwd=project)
    assert "5 passed" in done.stdout, done.stdout
    assert not list(project.glob("*must-not*"))
