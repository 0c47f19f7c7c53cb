"""Policies about the login itself, by real logins of Flask-Login: how long ago it was, and whether its password still
holds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import request
from flask_login import LoginManager, UserMixin, confirm_login, login_user

from fnqueue.clock import ManualClock
from fnqueue.policies import fresh, same_credentials, same_tenant
from fnqueue.testing import Drain, in_memory

ROOMS = {7: {"tenant_id": "acme"}}


class User(UserMixin):
    def __init__(self, id: str, password: str = "first", company: str = "acme") -> None:
        self.id, self.password, self.company = id, password, company


@pytest.fixture
def people():
    return {"ada": User("ada"), "bob": User("bob", company="other")}


@pytest.fixture
def shop(app, fn, people):
    """The app's client, logged in as ada, its clock, `defer(task)` in a view, and `drain`."""
    manager = LoginManager(app)
    manager.user_loader(people.get)
    clock, handles = ManualClock(), []

    @app.post("/login/<name>")
    def login(name):
        return str(login_user(people[name], remember=True))

    @app.post("/confirm")
    def confirm():
        confirm_login()
        return ""

    @app.post("/<task>")
    def defer(task):
        if "Token" in request.headers:
            manager._update_request_context_with_user(people[request.headers["Token"]])
        handles.append(fn.registry.find(task).defer(7))
        return ""

    with app.app_context(), in_memory(fn, clock):
        client = app.test_client()
        client.post("/login/ada")
        yield SimpleNamespace(
            app=app, client=client, clock=clock, handles=handles, drain=Drain(fn.runtime), post=client.post
        )


@pytest.fixture(autouse=True)
def _tasks(fn):
    fn.task(name="transfer", policy=fresh(minutes=15))(lambda room: None)
    fn.task(name="close", policy=same_credentials)(lambda room: None)
    fn.task(name="paint", policy=same_tenant("room", load=ROOMS.get))(lambda room: None)


# ---------------------------------------------------------------- fresh


def test_a_login_of_a_moment_ago_is_fresh_and_stays_so_while_the_call_waits(shop):
    shop.clock.advance(minutes=14)
    assert shop.post("/transfer").status_code == 200
    shop.clock.advance(hours=20)
    shop.drain()
    assert shop.handles[0].state == "SUCCESS"


def test_a_login_of_long_ago_is_refused_until_the_user_confirms_it(shop):
    shop.clock.advance(minutes=16)
    answer = shop.post("/transfer")
    assert (answer.status_code, "logged in 16 minutes before it" in answer.text) == (403, True)
    shop.post("/confirm")
    assert shop.post("/transfer").status_code == 200


def test_a_user_whom_a_remember_me_cookie_brought_back_is_not_fresh(shop):
    with shop.client.session_transaction() as kept:
        kept.clear()
    answer = shop.post("/transfer")
    assert (answer.status_code, "user 'ada' has no auth_time" in answer.text) == (403, True)


def test_a_session_that_flask_login_calls_stale_is_not_fresh(shop):
    with shop.client.session_transaction() as kept:
        kept["_fresh"] = False
    assert shop.post("/transfer").status_code == 403


def test_the_login_time_of_the_session_does_not_count_for_somebody_whom_a_token_brought(shop):
    answer = shop.post("/transfer", headers={"Token": "bob"})
    assert (answer.status_code, "user 'bob' has no auth_time" in answer.text) == (403, True)


def test_what_stands_in_the_session_for_a_time_and_is_none_is_not_fresh(shop):
    with shop.client.session_transaction() as kept:
        kept["_fnqueue_login_time"] = "yesterday"
    assert shop.post("/transfer").status_code == 403


# ---------------------------------------------------------------- same_credentials, same_tenant


def test_a_password_changed_while_the_call_waits_denies_the_run(fn, shop, people):
    fn.describe_user(lambda user: {"credential_version": user.password})
    for changed, state in ((False, "SUCCESS"), (True, "DENIED")):
        assert shop.post("/close").status_code == 200
        people["ada"].password = "second" if changed else "first"
        shop.drain()
        assert shop.handles[-1].state == state


def test_an_application_that_says_nothing_of_credentials_has_none_that_are_the_same(shop):
    answer = shop.post("/close")
    assert (answer.status_code, "has no credential version" in answer.text) == (403, True)


def test_a_tenant_counts_at_the_call_and_again_at_the_run(fn, shop, people):
    fn.describe_user(lambda user: {"tenant": user.company})
    assert shop.post("/paint").status_code == 200
    shop.drain()
    assert shop.handles[-1].state == "SUCCESS"
    shop.post("/paint")
    people["ada"].company = "other"
    shop.drain()
    assert shop.handles[-1].state == "DENIED"
    assert shop.post("/paint").status_code == 403
