"""`fnqueue.testing` with a Flask app: an engine in memory, the app's own configuration, hooks and contexts."""

from __future__ import annotations

import pytest
from flask import current_app
from flask_login import LoginManager, UserMixin, login_user

from fnqueue import PolicyDenied
from fnqueue.clock import ManualClock
from fnqueue.errors import AppNotFound
from fnqueue.policies import authenticated
from fnqueue.testing import Drain, in_memory


class User(UserMixin):
    def __init__(self, id: str) -> None:
        self.id = id


@pytest.fixture
def people(app):
    known = {"ada": User("ada")}
    LoginManager(app).user_loader(known.get)
    return known


@pytest.fixture
def held(app, fn):
    """`fn` in memory, inside the app's context."""
    with app.test_request_context("/"), in_memory(fn, ManualClock()) as made:
        yield made


def test_nothing_reaches_the_apps_own_queue(app, fn, held, tmp_path):
    ran = []

    @fn.task(name="note")
    def note(text: str) -> None:
        ran.append((text, current_app.import_name))

    handle = note.defer("x")
    assert Drain(fn.runtime)() == 1
    assert ran == [("x", "shop")]
    assert handle.state == "SUCCESS"
    assert not (tmp_path / "shop").exists()


def test_the_apps_configuration_and_users_count(make_app, fn, people, app):
    app.config["FNQUEUE_DEFAULT_POLICY"] = "authenticated"
    ran = []

    @fn.task(name="note")
    def note() -> None:
        ran.append(1)

    with app.test_request_context("/"), in_memory(fn, ManualClock()):
        with pytest.raises(PolicyDenied):
            note.defer()
        login_user(people["ada"])
        note.defer()
        note.defer()
        drain = Drain(fn.runtime)
        drain()
        assert ran == [1, 1]
        note.defer()
        del people["ada"]
        drain()
        assert ran == [1, 1]


def test_afterwards_the_app_has_its_own_queue_again(app, fn):
    @fn.task(name="note", policy=authenticated)
    def note() -> None: ...

    with app.app_context():
        with in_memory(fn):
            assert fn.runtime().engine.path is None
        assert fn.runtime().engine.path is not None


def test_outside_an_app_context_it_says_what_to_do(fn, app):
    with pytest.raises(AppNotFound, match="Wrap it: with app.app_context"), in_memory(fn):
        pass
