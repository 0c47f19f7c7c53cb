"""Mistakes at `@fn.task`: they show when the module is imported."""

from __future__ import annotations

import pytest

from fnqueue import FnQueue, policies
from tests.first_hour.conftest import Says

NAMES = {"fn": None, "policies": policies, **{name: getattr(policies, name) for name in ("authenticated", "role")}}


def wrong(says: Says, code: str) -> None:
    says.python(code, **NAMES | {"fn": FnQueue(url="sqlite://"), "__name__": "shop"})


def test_a_lambda(says: Says) -> None:
    wrong(says, "fn.task(lambda photo: photo)")


def test_a_function_inside_a_function(says: Says) -> None:
    wrong(says, "def create_app():\n    @fn.task\n    def thumbnail(photo): ...\n\ncreate_app()")


def test_two_tasks_of_one_name(says: Says) -> None:
    wrong(says, "@fn.task(name='shop.pay')\ndef pay(): ...\n\n@fn.task(name='shop.pay')\ndef pay_invoice(): ...")


def test_a_class_or_a_method(says: Says) -> None:
    wrong(says, "@fn.task\nclass Invoice: ...")
    wrong(says, "class Invoice:\n    @fn.task\n    def send(self): ...\n\nInvoice().send.defer()")


def test_a_generator(says: Says) -> None:
    wrong(says, "@fn.task\ndef rows():\n    yield 1")


def test_the_decorator_stands_twice(says: Says) -> None:
    wrong(says, "@fn.task\n@fn.task\ndef pay(): ...")


def test_an_options_name_is_wrong(says: Says) -> None:
    wrong(says, "@fn.task(retries=3)\ndef pay(): ...")
    wrong(says, "@fn.task(delay_seconds=3)\ndef pay(): ...")
    wrong(says, "@fn.task(max_retries=3)\ndef pay(): ...")


def test_an_options_value_is_wrong(says: Says) -> None:
    wrong(says, "@fn.task(retry='3')\ndef pay(): ...")
    wrong(says, "@fn.task(queue='my queue')\ndef pay(): ...")
    wrong(says, "@fn.task(expires_seconds=0)\ndef pay(): ...")
    wrong(says, "@fn.task(priority='urgent')\ndef pay(): ...")


def test_a_policy_is_not_called(says: Says) -> None:
    wrong(says, "@fn.task(policy=role)\ndef pay(): ...")


def test_a_policy_is_called_that_is_none(says: Says) -> None:
    wrong(says, "@fn.task(policy=authenticated())\ndef pay(): ...")
    wrong(says, "@fn.task(policy='authenticated')\ndef pay(): ...")
    wrong(says, "@fn.task(policy=lambda ctx: True)\ndef pay(): ...")


def test_and_or_and_not_between_policies(says: Says) -> None:
    wrong(says, "@fn.task(policy=authenticated and role('staff'))\ndef pay(): ...")
    wrong(says, "@fn.task(policy=not role('staff'))\ndef pay(): ...")


def test_a_policy_looks_at_an_argument_that_the_task_has_not(says: Says) -> None:
    wrong(says, "@fn.task(policy=policies.owns('acount_id', load=dict))\ndef pay(account_id: int): ...")


@pytest.mark.system
def test_a_task_of_a_script_that_is_run(says: Says) -> None:
    """`python shop.py` names the task as the worker will."""
    says.write(shop="from fnqueue import FnQueue\nfn = FnQueue()\n@fn.task\ndef pay(): ...\nprint(pay)\n")
    says.command("shop", as_="python shop.py")
