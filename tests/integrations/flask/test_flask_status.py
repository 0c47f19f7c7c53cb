"""The status page of a call: JSON for whoever deferred it, and 404 for all else."""

from __future__ import annotations

import pytest
from flask import session
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

    @app.post("/kept")
    def defer_and_keep_the_id():
        return fn.status_url(fn.handle(add.defer(2, 3).id))

    @app.post("/long")
    def defer_long():
        return fn.status_url(add.defer(2, 3), expires_seconds=864_000)

    @app.post("/basket")
    def basket():
        session["basket"] = 1
        return ""

    @app.post("/first")
    def defer_and_begin_a_session():
        session["basket"] = 1
        return fn.status_url(add.defer(2, 3))

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


def test_a_url_made_of_an_id_that_was_kept_answers_while_the_call_waits_too(app, client, work):
    """A call that waits has no record, and its bare id does not say until when it may wait."""
    url = client.post("/kept").text
    before = client.get(url)
    assert (before.status_code, before.json["state"]) == (200, "UNKNOWN")
    work(app)
    assert client.get(url).json["result"] == 5


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


# ---------------------------------------------------------------- visitors who are not logged in


@pytest.fixture
def visitor(app, client):
    """`visitor()` is a browser that has been here before: it has a session, and nobody is logged in."""

    def made():
        browser = app.test_client()
        browser.post("/basket")
        return browser

    return made


def test_the_status_of_a_visitors_call_is_for_their_session_alone(app, client, visitor, work):
    mine, other = visitor(), visitor()
    url = mine.post("/add").text
    assert mine.get(url).status_code == 200
    assert other.get(url).status_code == 404
    assert app.test_client().get(url).status_code == 404
    assert client.get(url).status_code == 404  # ada
    work(app)
    assert mine.get(url).json["result"] == 5


def test_a_visitor_who_logs_in_goes_on_seeing_what_they_began(visitor):
    browser = visitor()
    url = browser.post("/add").text
    browser.post("/login/ada")
    assert browser.get(url).status_code == 200


def test_a_session_that_the_view_itself_began_is_the_visitors(app, client, visitor):
    browser = app.test_client()
    url = browser.post("/first").text
    assert browser.get(url).status_code == 200
    assert app.test_client().get(url).status_code == 404
    assert visitor().get(url).status_code == 404


def test_a_visitor_without_a_session_gets_none_and_has_the_address_alone(app, client, visitor):
    browser = app.test_client()
    answer = browser.post("/add")
    assert "Set-Cookie" not in answer.headers
    assert browser.get(answer.text).status_code == 200
    assert app.test_client().get(answer.text).status_code == 200
    assert client.get(answer.text).status_code == 404  # who is logged in is somebody else


def test_a_call_of_which_nothing_is_known_any_more_looks_like_any_bad_address(clock, client):
    url = client.post("/long").text
    assert client.get(url).json["state"] == "PENDING"
    clock.advance(days=5)  # it has expired, and no record of it was ever written
    answer = client.get(url)
    assert (answer.status_code, answer.data) == (404, b"not found\n")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("key", ["primary", "another"])
def test_a_token_of_another_purpose_or_another_key_finds_nothing(app, client, fn, key):
    """What is signed for something else under the same key, as an application's own links are, is no status token."""
    from hashlib import sha256

    from itsdangerous import Signer

    from fnqueue.security.keyring import KeyRing, new_key
    from fnqueue.security.primitives import lp

    url = client.post("/add").text
    token = url.rpartition("/")[2]
    runtime = app.extensions["fnqueue"].runtime
    record = runtime.ring().primary if key == "primary" else KeyRing.from_text(new_key()).primary
    bare = token.rpartition(".")[0]
    for salt in (b"fnq1 download" + lp(b"user:ada"), b"itsdangerous.Signer", b"fnq1 status", b""):
        signer = Signer(record.purpose("token"), salt=salt, key_derivation="hmac", digest_method=sha256)
        assert client.get(f"/fnqueue/status/{signer.sign(bare).decode()}").status_code == 404
    assert client.get(url).status_code == 200
