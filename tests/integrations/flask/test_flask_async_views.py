"""Async views: `adefer` and `aresult` work in threads, and still know the app, the request and its user."""

from __future__ import annotations

import asyncio

import pytest
from flask import Blueprint, current_app, g
from flask_login import LoginManager, UserMixin, login_user

from fnqueue import PolicyDenied, current_task
from fnqueue.policies import authenticated, public


class User(UserMixin):
    def __init__(self, id: str) -> None:
        self.id = id


@pytest.fixture
def client(app):
    LoginManager(app).user_loader(User)
    app.add_url_rule("/login/<name>", "login", lambda name: str(login_user(User(name))), methods=["POST"])
    return app.test_client()


def test_the_user_of_the_request_is_the_principal_of_each(app, fn, client, work):
    seen = []

    @fn.task(name="note", policy=authenticated)
    def note(number: int) -> None:
        seen.append((current_task.principal.id, number))

    blueprint = Blueprint("notes", __name__)

    @blueprint.post("/notes")
    async def notes():
        handles = await asyncio.gather(*(note.adefer(number) for number in range(3)), fn.adefer(note, 3))
        with fn.as_service("import"):
            handles.append(await note.adefer(4))
        return {"ids": [handle.id for handle in handles], "g": g.get("seen")}

    app.register_blueprint(blueprint)
    client.post("/login/ada")
    assert len(set(client.post("/notes").json["ids"])) == 5
    work(app)
    assert sorted(seen) == [("ada", 0), ("ada", 1), ("ada", 2), ("ada", 3), ("import", 4)]


def test_a_refusal_is_an_exception_in_the_view_and_else_a_403(app, fn, client):
    @fn.task(name="note", policy=authenticated)
    def note() -> None: ...

    @app.post("/caught")
    async def caught():
        try:
            await note.adefer()
        except PolicyDenied as error:
            return error.reason
        return "sent"

    @app.post("/raised")
    async def raised():
        await note.adefer()

    refused = client.post("/raised")
    assert refused.status_code == 403
    assert client.post("/caught").text == refused.text.strip() != "sent"


def test_a_result_is_awaited_while_other_coroutines_go_on(app, fn, client, work):
    @fn.task(name="add", policy=public)
    def add(a: int, b: int) -> str:
        return f"{a + b} in {current_app.import_name}"

    @app.post("/add")
    async def view():
        handle = await add.adefer(2, 3)
        found, code = await asyncio.gather(handle.aresult(20), asyncio.to_thread(work, app))
        return {"found": found, "code": code, "state": handle.state}

    assert client.post("/add").json == {"found": "5 in shop", "code": 0, "state": "SUCCESS"}


def test_a_batch_in_an_async_view_takes_what_its_coroutines_defer(app, fn, client, work):
    seen = []

    @fn.task(name="note", policy=public)
    def note(number: int) -> None:
        seen.append(number)

    @app.post("/batch")
    async def view():
        with fn.batch() as batch:
            await asyncio.gather(*(note.adefer(number) for number in range(12)))
            held = all(handle.held for handle in batch.handles)
        return {"held": held, "sent": not any(handle.held for handle in batch.handles)}

    assert client.post("/batch").json == {"held": True, "sent": True}
    work(app)
    assert sorted(seen) == list(range(12))
