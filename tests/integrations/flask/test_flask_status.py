"""The status page of a call: JSON for whoever deferred it, and 404 for all else."""

from __future__ import annotations

import pytest
from flask_login import LoginManager, UserMixin, login_user

from fnqueue.clock import ManualClock
from fnqueue.policies import public


class User(UserMixin):
    def __init__(self, id: str) -> None:
        self.id = id


@pytest.fixture
def clock(app):
    """Ask for it before `client`. Not for tests with a worker: its threads wait in real time."""
    made = ManualClock()
    app.extensions["fnqueue"].runtime.clock = made
    return made


@pytest.fixture
def client(app, fn):
    """A client logged in as ada. POST /add defers a call and answers with its status url."""
    manager = LoginManager(app)
    manager.user_loader(User)

    @fn.task(name="add", policy=public)
    def add(a: int, b: int) -> int:
        return a + b

    @fn.task(name="fail", policy=public)
    def fail(secret: str) -> None:
        raise ValueError(f"{secret} is in the exception's text")

    @app.post("/login/<name>")
    def login(name):
        return str(login_user(User(name)))

    @app.post("/add")
    def defer():
        return fn.status_url(add.defer(2, 3), expires_seconds=60)

    @app.post("/fail")
    def defer_fail():
        return fn.status_url(fail.defer("hunter2"))

    made = app.test_client()
    made.post("/login/ada")
    return made


def test_the_url_tells_the_state_and_at_last_the_result(app, client, work):
    url = client.post("/add").text
    assert url.startswith("/fnqueue/status/")
    before = client.get(url)
    assert (before.status_code, before.json["state"], before.json["task"]) == (200, "PENDING", "add")
    work(app)
    after = client.get(url)
    assert (after.json["state"], after.json["result"], after.json["attempts"]) == ("SUCCESS", 5, 1)
    assert after.headers["Cache-Control"] == "no-store"


def test_of_a_failure_only_the_type_is_told(app, client, work):
    url = client.post("/fail").text
    work(app)
    answer = client.get(url)
    assert (answer.json["state"], answer.json["error"]) == ("FAILURE", "ValueError")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


def test_another_user_and_nobody_find_nothing(app, client):
    url = client.post("/add").text
    bob = app.test_client()
    assert bob.get(url).status_code == 404
    bob.post("/login/bob")
    assert bob.get(url).status_code == 404
    assert client.get(url).status_code == 200


def test_an_expired_url_finds_nothing(clock, client):
    url = client.post("/add").text
    clock.advance(seconds=61)
    assert client.get(url).status_code == 404


def test_whatever_is_wrong_the_answer_is_the_same(app, clock, client):
    url = client.post("/add").text
    altered = url[:-1] + ("A" if url[-1] != "A" else "B")
    answers = {client.get(wrong).data for wrong in (altered, "/fnqueue/status/x", "/fnqueue/status/" + "y" * 3000)}
    clock.advance(seconds=61)
    answers.add(client.get(url).data)
    assert answers == {b"not found\n"}
    json = client.get("/fnqueue/status/x", headers={"Accept": "application/json"})
    assert (json.status_code, json.json) == (404, {"error": "not found", "reason": "not found"})
    assert json.headers["Cache-Control"] == "no-store"


def test_the_page_only_reads(client):
    url = client.post("/add").text
    assert client.post(url).status_code == 405
