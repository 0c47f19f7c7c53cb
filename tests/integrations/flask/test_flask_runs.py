"""What a task finds around it: an app context of its own per attempt, torn down at its end."""

from __future__ import annotations

import pytest
from flask import current_app, g, has_request_context

from fnqueue import Backoff
from fnqueue.policies import public

AT_ONCE = Backoff(1, first_seconds=0)


def test_a_task_runs_in_its_apps_context_without_a_request(app, fn, work):
    seen = []

    @fn.task(name="look", policy=public)
    def look() -> None:
        seen.append((current_app.import_name, has_request_context()))

    with app.test_request_context("/"):
        look.defer()
    work(app)
    assert seen == [("shop", False)]


def test_each_attempt_has_a_context_of_its_own_which_is_torn_down(app, fn, work):
    seen, torn_down = [], []
    app.teardown_appcontext(lambda error: torn_down.append(getattr(g, "attempt", None)))

    @fn.task(name="flaky", policy=public, retry=AT_ONCE, bind=True)
    def flaky(context) -> None:
        seen.append(getattr(g, "attempt", "nothing of before"))
        g.attempt = context.attempt
        if context.attempt == 1:
            raise OSError("once")

    with app.app_context():
        handle = flaky.defer()
    torn_down.clear()
    work(app)
    while handle.state == "RETRY":
        work(app)
    assert seen == ["nothing of before", "nothing of before"]
    assert [attempt for attempt in torn_down if attempt is not None] == [1, 2]


def test_a_coroutine_task_runs_in_the_apps_context_too(app, fn, work):
    seen = []

    @fn.task(name="look", policy=public)
    async def look() -> None:
        seen.append(current_app.import_name)

    with app.app_context():
        look.defer()
    work(app)
    assert seen == ["shop"]


def test_a_teardown_that_fails_is_logged_and_does_not_repeat_the_task(app, fn, work, caplog):
    runs = []

    @app.teardown_appcontext
    def broken(error):
        if runs:
            raise OSError("the session could not be closed")

    @fn.task(name="count", policy=public, retry=3)
    def count() -> None:
        runs.append(1)

    with app.app_context():
        handle = count.defer()
    work(app)
    assert runs == [1]
    assert handle.state == "SUCCESS"
    assert "a teardown function failed after a task" in caplog.text


def test_a_task_defers_another_on_behalf_of_the_same_principal(app, fn, work):
    seen = []

    @fn.task(name="child", policy=public, bind=True)
    def child(context) -> None:
        seen.append((context.principal.id, context.principal.via))

    @fn.task(name="parent", policy=public)
    def parent() -> None:
        child.defer()

    with app.app_context(), fn.as_service("import"):
        parent.defer()
    work(app)
    assert seen == [("import", ("parent",))]


def test_a_handle_is_read_outside_of_its_app(app, fn, work):
    @fn.task(name="add", policy=public)
    def add(a: int, b: int) -> int:
        return a + b

    with app.app_context():
        handle = add.defer(2, 3)
    work(app)
    assert handle.result() == 5


def test_apply_runs_the_whole_pipe_inside_a_request(app, fn):
    @fn.task(name="add", policy=public)
    def add(a: int, b: int) -> int:
        return a + b

    with app.test_request_context("/"):
        assert add.apply(2, 3).value == 5


@pytest.mark.parametrize("path", ["/defer", "/adefer"])
def test_sync_and_async_views_defer(app, fn, work, path):
    seen = []

    @fn.task(name="note", policy=public)
    def note(text: str) -> None:
        seen.append(text)

    @app.get("/defer")
    def plain():
        return note.defer("/defer").id

    @app.get("/adefer")
    async def coroutine():
        return (await note.adefer("/adefer")).id

    assert len(app.test_client().get(path).text) == 26
    work(app)
    assert seen == [path]
