"""`request_context=True`: a request for code that will not do without one, and that nobody made."""

from __future__ import annotations

import pytest
from flask import current_app, g, has_request_context, render_template_string, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user

from fnqueue import Backoff, Principal
from fnqueue.errors import OptionInvalid
from fnqueue.policies import public


@pytest.fixture
def seen():
    return []


@pytest.fixture
def page(app):
    app.add_url_rule("/photos/<int:id>", "photo", lambda id: str(id))


def test_urls_are_built_as_the_configuration_says(make_app, fn, work, seen):
    app = make_app(SERVER_NAME="shop.example:8443", APPLICATION_ROOT="/here", PREFERRED_URL_SCHEME="https")
    fn.init_app(app)
    app.add_url_rule("/photos/<int:id>", "photo", lambda id: str(id))

    @fn.task(name="mail", policy=public, request_context=True)
    def mail() -> None:
        seen.append(url_for("photo", id=7))
        seen.append(render_template_string("{{ url_for('photo', id=7, _external=True) }} {{ request.path }}"))

    with app.app_context():
        mail.defer()
    work(app)
    assert seen == ["/here/photos/7", "https://shop.example:8443/here/photos/7 /"]


def test_nothing_of_the_request_that_deferred_it_is_there(app, fn, work, seen, page):
    @fn.task(name="look", policy=public, request_context=True)
    def look() -> None:
        seen.append((request.method, request.url, dict(request.headers), dict(session), request.cookies, request.data))

    @app.post("/defer")
    def defer():
        session["secret"] = 1
        g.secret = 1
        look.defer()
        return ""

    headers = {"X-Secret": "1", "Authorization": "Bearer x", "Host": "evil.example"}
    assert app.test_client().post("/defer?secret=1", data=b"1", headers=headers).status_code == 200
    work(app)
    assert seen == [("GET", "http://localhost/", {"Host": "localhost"}, {}, {}, b"")]


def test_without_it_there_is_no_request(app, fn, work, seen):
    @fn.task(name="look", policy=public, request_context=False)
    def look() -> None:
        seen.append(has_request_context())

    with app.test_request_context("/"):
        look.defer()
    work(app)
    assert seen == [False]


def test_a_changed_copy_and_a_coroutine_have_it_too(app, fn, work, seen):
    @fn.task(name="look", policy=public, request_context=True, bind=True)
    async def look(context, number: int) -> None:
        seen.append((number, request.path, context.attempt))

    with app.app_context():
        look.using(retry=2).defer(1)
    work(app)
    assert seen == [(1, "/", 1)]


def test_the_principal_is_the_tasks_and_never_the_requests(app, fn, work, seen):
    class User(UserMixin):
        def __init__(self, id: str) -> None:
            self.id = id

    manager = LoginManager(app)
    manager.user_loader(User)
    manager.request_loader(lambda request: User("whoever asks"))

    @fn.task(name="child", policy=public, bind=True)
    def child(context) -> None:
        seen.append((context.principal.id, context.principal.via))

    @fn.task(name="parent", policy=public, request_context=True)
    def parent() -> None:
        assert current_user.id == "whoever asks"  # of the application's own making; it counts for nothing
        seen.append(fn.current_principal().id)
        child.defer()
        login_user(User("eve"))
        child.defer()

    with app.app_context(), fn.as_principal(Principal(id="ada", kind="user")):
        parent.defer()
    work(app)
    assert seen == ["ada", ("ada", ("parent",)), ("ada", ("parent",))]


@pytest.mark.parametrize("custom", [True, False])
def test_whoever_asks_after_the_task_is_told_nobody(app, fn, work, seen, custom):
    if custom:
        fn.principal(lambda request: Principal(id="root", kind="user"))
    else:
        LoginManager(app).request_loader(lambda request: UserMixin())

    @app.teardown_request
    def after_the_task(error):
        seen.append((request.path, fn.current_principal().kind, fn.hooks.in_request()))

    @fn.task(name="look", policy=public, request_context=True)
    def look() -> None: ...

    with app.app_context():
        look.defer()
    work(app)
    assert seen == [("/", "anonymous", False)]


def test_each_attempt_has_a_request_of_its_own_which_is_torn_down(app, fn, work, seen):
    torn_down = []
    app.before_request(lambda: seen.append("before_request"))
    app.teardown_request(lambda error: torn_down.append(session.get("attempt")))
    app.teardown_appcontext(lambda error: torn_down.append(g.get("attempt")))

    @fn.task(name="flaky", policy=public, request_context=True, retry=Backoff(1, first_seconds=0), bind=True)
    def flaky(context) -> None:
        seen.append((session.get("attempt"), g.get("attempt")))
        session["attempt"] = g.attempt = context.attempt
        if context.attempt == 1:
            raise OSError("once")

    with app.app_context():
        handle = flaky.defer()
    torn_down.clear()
    work(app)
    while handle.state == "RETRY":
        work(app)
    assert seen == [(None, None), (None, None)]
    assert [attempt for attempt in torn_down if attempt is not None] == [1, 1, 2, 2]


def test_a_teardown_of_the_request_that_fails_keeps_neither_outcome_nor_the_other_teardown(app, fn, work, caplog):
    others = []
    app.teardown_appcontext(lambda error: others.append(g.get("ran")))

    @app.teardown_request
    def broken(error):
        raise OSError("the log could not be written")

    @fn.task(name="count", policy=public, request_context=True, retry=3)
    def count() -> int:
        g.ran = 1
        return 7

    with app.app_context():
        handle = count.defer()
    work(app)
    assert handle.result() == 7
    assert 1 in others
    assert "shop: a teardown function failed after a task" in caplog.text


def test_apply_has_it_inside_of_another_request_too(app, fn, page):
    @fn.task(name="look", policy=public, request_context=True)
    def look() -> str:
        return f"{request.path} {current_app.import_name}"

    with app.test_request_context("/photos/1"):
        assert look.apply().value == "/ shop"
        assert request.path == "/photos/1"


def test_it_is_true_or_false(fn):
    with pytest.raises(OptionInvalid, match="request_context='/photos': must be True or False"):
        fn.task(request_context="/photos")
