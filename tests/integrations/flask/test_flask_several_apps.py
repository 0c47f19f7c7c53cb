"""Several apps in one process, each with its own queue: under one server, side by side, with blueprints."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask, current_app, g
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_fnqueue import FnQueue
from fnqueue import Backoff
from fnqueue.errors import AppNotFound
from fnqueue.policies import public


def serving(app: Flask, task) -> Flask:
    """`POST /defer` defers the task, and answers with the url of its status."""

    @app.post("/defer")
    def defer():
        return {"status": current_app.extensions["fnqueue"].fn.status_url(task.defer(current_app.import_name))}

    return app


def test_two_apps_under_one_server_defer_each_to_its_own_queue(fn, make_app, work):
    ran = []

    @fn.task(name="note", policy=public)
    def note(text: str) -> str:
        ran.append((current_app.import_name, text))
        return text

    shop, blog = serving(make_app("shop"), note), serving(make_app("blog"), note)
    fn.init_app(shop)
    fn.init_app(blog)
    client = Client(DispatcherMiddleware(shop, {"/blog": blog}))
    statuses = [client.post(f"{path}/defer").json["status"] for path in ("", "/blog")]
    assert statuses[1].startswith("/blog/fnqueue/status/")
    work(blog)
    assert ran == [("blog", "blog")]
    assert [client.get(status).json["state"] for status in statuses] == ["PENDING", "SUCCESS"]
    work(shop)
    assert client.get(statuses[0]).json["result"] == "shop"
    # The token of one app says nothing to the other.
    assert client.get(statuses[1].removeprefix("/blog")).status_code == 404


def test_a_batch_takes_the_calls_of_the_app_that_it_began_in(fn, make_app, work):
    ran = []

    @fn.task(name="note", policy=public)
    def note(text: str) -> None:
        ran.append((current_app.import_name, text))

    shop, blog = make_app("shop"), make_app("blog")
    fn.init_app(shop)
    fn.init_app(blog)
    with shop.app_context(), fn.batch():
        note.defer("1")
        with blog.app_context():
            assert not note.defer("2").held
            with fn.batch():
                note.defer("3")
                with shop.app_context():  # back again: the block of this app is the outer one
                    assert note.defer("4").held
        work(blog)
        work(shop)
        assert sorted(ran) == [("blog", "2"), ("blog", "3")]
    work(shop)
    assert sorted(ran[2:]) == [("shop", "1"), ("shop", "4")]


def test_a_batch_that_fails_drops_no_call_of_another_app(fn, make_app, work):
    ran = []

    @fn.task(name="note", policy=public)
    def note(text: str) -> None:
        ran.append((current_app.import_name, text))

    shop, blog = make_app("shop"), make_app("blog")
    fn.init_app(shop)
    fn.init_app(blog)
    with pytest.raises(ZeroDivisionError), shop.app_context(), fn.batch():
        note.defer("1")
        with blog.app_context(), pytest.raises(KeyError), fn.batch():
            with shop.app_context():
                note.defer("2")
            note.defer("3")
            raise KeyError
        with blog.app_context():
            note.defer("4")
        1 / 0
    work(blog)
    work(shop)
    assert ran == [("blog", "4")]


def test_the_wrong_apps_task_is_an_error_that_names_both(fn, make_app):
    @fn.task(name="shop.pay", policy=public)
    def pay(text: str) -> None: ...

    shop, blog = make_app("shop"), serving(make_app("blog"), pay)
    fn.init_app(shop)
    other = FnQueue(blog)
    client = Client(DispatcherMiddleware(shop, {"/blog": blog}))
    with pytest.raises(AppNotFound, match=r"'blog' has another FnQueue than .* This FnQueue belongs to 'shop'\."):
        client.post("/blog/defer")
    other.close()


def test_a_task_that_enters_another_app_defers_there(fn, make_app, work):
    ran = []

    @fn.task(name="note", policy=public)
    def note() -> None:
        ran.append(current_app.import_name)

    @fn.task(name="cross", policy=public)
    def cross() -> None:
        with apps["blog"].app_context():
            note.defer()
        note.defer()

    apps = {name: make_app(name) for name in ("shop", "blog")}
    for app in apps.values():
        fn.init_app(app)
    with apps["shop"].app_context():
        cross.defer()
    work(apps["shop"])
    assert ran == ["shop"]
    work(apps["blog"])
    assert ran == ["shop", "blog"]


def test_the_tasks_of_blueprints_are_those_of_the_app_that_registers_them(fn, make_app, work):
    ran = []
    billing = Blueprint("billing", "shop.billing", url_prefix="/billing")

    @fn.task(name="billing.invoice", policy=public)
    def invoice(number: int) -> None:
        ran.append((current_app.import_name, number))

    billing.add_url_rule("/<int:number>", "invoice", lambda number: invoice.defer(number).id, methods=["POST"])
    apps = [make_app("shop"), make_app("blog")]
    for number, app in enumerate(apps):
        fn.init_app(app)
        app.register_blueprint(billing)
        assert app.test_client().post(f"/billing/{number}").status_code == 200
    for app in apps:
        work(app)
    assert ran == [("shop", 0), ("blog", 1)]


# ---------------------------------------------------------------- teardown per attempt


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_every_attempt_is_torn_down_however_it_ends_and_the_next_begins_with_nothing(app, fn, work, kind):
    opened, closed, seen = [], [], []

    @app.teardown_appcontext
    def close(error):
        if "connection" in g:
            closed.append(g.connection)

    def attempt(number: int) -> None:
        seen.append(g.get("connection"))
        g.connection = len(opened)
        opened.append(number)
        if opened.count(number) <= number:
            raise OSError("again")

    options = {"name": "attempt", "policy": public, "retry": Backoff(1, first_seconds=0)}
    if kind == "function":
        task = fn.task(**options)(attempt)
    else:

        async def coroutine(number: int) -> None:
            attempt(number)

        task = fn.task(**options)(coroutine)
    with app.app_context():
        handles = [task.defer(number) for number in range(3)]  # ends well at the first, the second, and never
    work(app)
    while any(handle.state == "RETRY" for handle in handles):
        work(app)
    assert [handle.state for handle in handles] == ["SUCCESS", "SUCCESS", "FAILURE"]
    assert sorted(opened) == [0, 1, 1, 2, 2]
    assert seen == [None] * 5
    assert sorted(closed) == list(range(5))


@pytest.mark.parametrize("with_request", [False, True])
@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_teardown_functions_are_told_what_the_task_raised_as_they_are_in_a_view(app, fn, work, kind, with_request):
    """`if error is None: session.commit()` must not commit the half of an attempt that failed."""
    told = []
    app.teardown_appcontext(lambda error: told.append(error) if "ran" in g else None)

    def attempt(fails: bool) -> None:
        g.ran = True
        if fails:
            raise OSError("in the middle")

    async def coroutine(fails: bool) -> None:
        attempt(fails)

    task = fn.task(name="attempt", policy=public, request_context=with_request)(
        attempt if kind == "function" else coroutine
    )
    with app.app_context():
        handles = [task.defer(fails) for fails in (True, False)]
    work(app)
    assert [handle.state for handle in handles] == ["FAILURE", "SUCCESS"]
    assert sorted(repr(error) for error in told) == ["None", "OSError('in the middle')"]
