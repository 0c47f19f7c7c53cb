"""Who may: nobody is logged in, or not the right one, or nobody can be asked again."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user

from flask_fnqueue import FnQueue
from fnqueue.policies import authenticated, role
from tests.first_hour.conftest import Says


class User(UserMixin):
    id = "7"
    roles = ("customer",)


class Shop:
    """An app with two tasks; `loader`: the login manager's user_loader, or None."""

    def __init__(self, says: Says, loader: Any = None, login: bool = True) -> None:
        self.says = says
        self.app = Flask("shop", instance_path=str(says.folder / "instance"))
        self.app.secret_key = "of a test"
        self.fn = FnQueue(self.app)
        if login:
            manager = LoginManager(self.app)
            if loader is not None:
                manager.user_loader(loader)

        def send_invoice(account: int) -> None: ...
        def refund(account: int) -> None: ...

        self.tasks = {
            "send_invoice": self.fn.task(name="shop.send_invoice", policy=authenticated)(send_invoice),
            "refund": self.fn.task(name="shop.refund", policy=role("staff"))(refund),
        }

    def outside(self, code: str) -> None:
        with self.app.app_context():
            self.says.python(code, fn=self.fn, print=self.says.note, **self.tasks)
        self.fn.close()

    def in_a_request(self, code: str, user: Any = None) -> None:
        with self.app.test_request_context("/"):
            if user is not None:
                login_user(user)
            self.says.python(code, **self.tasks)
        self.fn.close()


def test_nobody_is_logged_in_and_there_is_no_request(says: Says) -> None:
    Shop(says).outside("send_invoice.defer(7)")


def test_nobody_is_logged_in(says: Says) -> None:
    Shop(says, lambda id: User()).in_a_request("send_invoice.defer(7)")


def test_nobody_can_log_in_because_the_app_has_no_flask_login(says: Says) -> None:
    Shop(says, login=False).in_a_request("send_invoice.defer(7)")


def test_a_user_without_the_role(says: Says) -> None:
    Shop(says, lambda id: User()).in_a_request("refund.defer(7)", User())


def test_the_user_loader_is_forgotten(says: Says) -> None:
    Shop(says).in_a_request("send_invoice.defer(7)", User())


def test_the_user_loader_needs_a_request(says: Says) -> None:
    from flask import request

    Shop(says, lambda id: request.user).in_a_request("send_invoice.defer(7)", User())


def test_what_is_no_user(says: Says) -> None:
    Shop(says).outside("with fn.as_principal('martha'): send_invoice.defer(7)")
    Shop(says).outside("with fn.as_principal(7): send_invoice.defer(7)")
    Shop(says).outside("with fn.as_service(''): send_invoice.defer(7)")


def test_as_service_or_as_a_user_it_works(says: Says) -> None:
    Shop(says).outside("with fn.as_service('import'): print(send_invoice.defer(7).state)")


def test_the_answer_that_a_browser_gets(says: Says) -> None:
    shop = Shop(says, lambda id: User())

    @shop.app.post("/invoices")
    def create() -> str:
        shop.tasks["send_invoice"].defer(7)
        return "sent"

    answer = shop.app.test_client().post("/invoices")
    says.note(f"POST /invoices -> {answer.status}\n{answer.text}")
    shop.fn.close()
