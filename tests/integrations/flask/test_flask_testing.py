"""`fnqueue.testing` with a Flask app: an engine in memory, the app's own configuration, hooks and contexts."""

from __future__ import annotations

import pytest
from flask import Flask, current_app, g, has_app_context
from flask_login import LoginManager, UserMixin, login_user

import flask_fnqueue.testing
from fnqueue import PolicyDenied
from fnqueue.clock import ManualClock
from fnqueue.errors import AppNotFound
from fnqueue.policies import authenticated
from fnqueue.testing import Drain, in_memory
from tests.commands import run


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


def test_an_app_says_itself_which_queue_is_its_own_and_no_context_stays_open(app, fn, tmp_path):
    @fn.task(name="note")
    def note(text: str) -> str:
        return current_app.import_name + text

    @app.post("/notes")
    def notes():
        g.seen = g.get("seen", 0) + 1
        return {"id": note.defer("!").id, "seen": g.seen}

    with flask_fnqueue.testing.in_memory(app, ManualClock()) as found:
        assert found is fn
        assert not has_app_context()
        drain = Drain(fn.runtime)
        answers = [app.test_client().post("/notes").json for _ in range(2)]
        assert [answer["seen"] for answer in answers] == [1, 1]
        assert drain() == 2
        assert fn.handle(answers[0]["id"]).result() == "shop!"
    assert not (tmp_path / "shop").exists()


def test_an_app_without_fnqueue_says_what_to_do():
    with pytest.raises(AppNotFound, match="call fn.init_app"), flask_fnqueue.testing.in_memory(Flask("bare")):
        pass


@pytest.mark.system
def test_unittest_with_a_flask_app(tmp_path):
    (tmp_path / "shop.py").write_text(
        """
from flask import Flask
from flask_fnqueue import FnQueue

fn = FnQueue()

@fn.task
def thumbnail(photo: int) -> str:
    return f"photo {photo}"

def create_app():
    app = Flask(__name__)
    fn.init_app(app)

    @app.post("/photos/<int:photo>")
    def upload(photo):
        return {"id": thumbnail.defer(photo).id}, 202

    return app
"""
    )
    (tmp_path / "test_shop.py").write_text(
        """
import shop
from flask_fnqueue.testing import FnQueueTestCase

class Uploads(FnQueueTestCase):
    def create_app(self):
        return shop.create_app()

    def test_it(self):
        answer = self.app.test_client().post("/photos/7")
        self.assertDeferred(shop.thumbnail, args=(7,))
        self.drain()
        self.assertEqual(self.fn.handle(answer.json["id"]).result(), "photo 7")

    def test_with_another_app(self):
        self.assertNotDeferred(shop.thumbnail)

class Forgotten(FnQueueTestCase):
    def test_it(self): ...
"""
    )
    done = run("unittest", "test_shop", cwd=tmp_path)
    assert "FAILED (errors=1)" in done.stderr, done.stderr
    assert "def create_app(self): return yourapp.create_app(...)" in done.stderr
    assert not (tmp_path / "instance").exists()


def test_commands_that_a_test_invokes_see_the_queue_in_memory_too(app, fn, tmp_path):
    @fn.task(name="note", queue="slow")
    def note() -> None: ...

    with flask_fnqueue.testing.in_memory(app):
        with app.app_context():
            note.defer()
        shown = app.test_cli_runner().invoke(args=["fnqueue", "queues", "list", "--json"])
    assert '"slow"' in shown.output
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("eager", [True, "raise"])
def test_eager_calls_of_a_session_run_after_its_commit_and_see_its_rows(app, fn, tmp_path, eager):
    sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/shop.db"
    db, seen = sqlalchemy.SQLAlchemy(app), []

    class Item(db.Model):
        id = db.Column(db.Integer, primary_key=True)

    @fn.task(name="count")
    def count(more: int) -> None:
        seen.append(db.session.query(Item).count())
        db.session.add(Item())
        db.session.commit()
        if more < 0:
            raise ValueError("no")
        if more:
            count.defer(more - 1)

    @app.post("/items/<more>")
    def items(more: str):
        db.session.add(Item())
        db.session.flush()
        handle = count.defer(int(more))
        held = handle.held
        db.session.commit()
        return {"held": held, "state": handle.state}

    with app.app_context():
        db.create_all()
    with flask_fnqueue.testing.in_memory(app, eager=eager):
        client = app.test_client()
        assert client.post("/items/2").json == {"held": True, "state": "SUCCESS"}
        assert seen == [1, 2, 3]
        if eager == "raise":
            with pytest.raises(ValueError, match="no"):
                client.post("/items/-1")
        else:
            assert client.post("/items/-1").json["state"] == "FAILURE"
        assert client.post("/items/0").json["state"] == "SUCCESS"
    with app.app_context():
        db.engine.dispose()
