"""Who a call is made for: Flask-Login's user, asked again before the run; and what a refusal looks like."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import Blueprint, jsonify, request
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, login_user
from werkzeug.exceptions import Forbidden, HTTPException

from fnqueue import PolicyDenied, Principal
from fnqueue.errors import OptionInvalid, PolicyUndecided
from fnqueue.policies import active, authenticated, custom, public, role

TEXTS = {
    "no user_loader": (
        "shop: users cannot be loaded again before their tasks run, because the login manager has no user_loader "
        "(a request_loader needs a request).\n"
        "Give one with @login_manager.user_loader, or @fn.load_principal: id -> Principal, None if gone."
    ),
    "a loader that needs a request": (
        "shop: the user_loader of the login manager needs a request, and a worker has none: "
        "users could not be loaded again before their tasks run.\n"
        "Let it use the id alone, or give @fn.load_principal: id -> Principal, None if gone."
    ),
    "no user": (
        "SimpleNamespace has neither get_id() nor id, or it is empty: no principal can be made of it. "
        "Give a fnqueue.Principal: Principal(id=str(user.pk), kind='user', roles=...)"
    ),
    "no principal": "@fn.principal whoever() must return a fnqueue.Principal or None, got str",
    "no roles": "User.roles must be names, got int",
    "a role without a name": "User.roles has a SimpleNamespace without a name: give names, or objects with .name",
    "denied outside": (
        "pay needs authenticated; nobody is logged in here (no request).\n"
        'Wrap it: with fn.as_principal(user): ...   or   with fn.as_service("import"): ...'
    ),
}


class User(UserMixin):
    def __init__(self, id: str, roles: object = (), is_active: bool = True) -> None:
        self.id, self.roles, self._active = id, roles, is_active

    @property
    def is_active(self) -> bool:
        return self._active


@pytest.fixture
def people():
    """Those whom the application knows, by id."""
    return {"ada": User("ada", ["editor"]), "bob": User("bob", ["viewer"]), "eve": User("eve", ["editor"], False)}


@pytest.fixture
def manager(app, people):
    made = LoginManager(app)
    made.user_loader(people.get)

    @app.post("/login/<name>")
    def login(name):
        return str(login_user(people[name]))

    return made


@pytest.fixture
def pay(app, fn):
    """A task for those who are logged in; its principals are kept in `pay.seen`. Deferred by POST /pay."""
    seen: list[Principal] = []

    @fn.task(name="pay", policy=authenticated, bind=True)
    def pay(context) -> None:
        seen.append(context.principal)

    @app.post("/pay")
    def view():
        return pay.defer().id

    return SimpleNamespace(defer=pay.defer, seen=seen)


def logged_in(app, name):
    client = app.test_client()
    client.post(f"/login/{name}")
    return client


# ---------------------------------------------------------------- Flask-Login


def test_a_call_is_made_for_the_user_who_is_logged_in(app, manager, pay, work):
    assert logged_in(app, "ada").post("/pay").status_code == 200
    work(app)
    (principal,) = pay.seen
    assert (principal.kind, principal.id, principal.roles) == ("user", "ada", {"editor"})


def test_without_a_login_there_is_nobody_and_nothing_is_sent(app, manager, pay, work):
    answer = app.test_client().post("/pay")
    assert (answer.status_code, answer.text) == (403, "needs authenticated\n")
    work(app)
    assert pay.seen == []


def test_an_inactive_user_is_nobody(app, manager, pay, people):
    client = logged_in(app, "ada")
    people["ada"]._active = False
    assert client.post("/pay").status_code == 403


def test_without_flask_login_there_is_nobody(app, pay):
    assert app.test_client().post("/pay").status_code == 403


def test_who_left_before_the_run_runs_nothing(app, manager, pay, people, work):
    client = logged_in(app, "ada")
    client.post("/pay")
    del people["ada"]
    work(app)
    assert pay.seen == []


def test_who_was_deactivated_before_the_run_runs_nothing(app, manager, pay, people, work):
    client = logged_in(app, "ada")
    client.post("/pay")
    people["ada"]._active = False
    work(app)
    assert pay.seen == []


def test_a_role_that_was_lost_before_the_run_is_lost(app, fn, manager, people, work):
    ran = []

    @fn.task(name="delete", policy=role("editor"))
    def delete() -> None:
        ran.append(1)

    @app.post("/delete")
    def view():
        return delete.defer().id

    client = logged_in(app, "ada")
    assert client.post("/delete").status_code == 200
    people["ada"].roles = ["viewer"]
    work(app)
    assert ran == []


def test_the_loader_runs_in_the_apps_context(app, pay, people, work, manager):
    from flask import current_app

    asked = []
    manager.user_loader(lambda id: (asked.append(current_app.import_name), people.get(id))[1])
    logged_in(app, "ada").post("/pay")
    asked.clear()
    work(app)
    assert asked == ["shop"]
    assert len(pay.seen) == 1


def test_active_is_asked_of_the_user(app, fn, manager, work):
    ran = []

    @fn.task(name="act", policy=active)
    def act() -> None:
        ran.append(1)

    @app.post("/act")
    def view():
        return act.defer().id

    logged_in(app, "ada").post("/act")
    work(app)
    assert ran == [1]


# ---------------------------------------------------------------- loaders that no worker could ask


def test_a_request_loader_alone_is_an_error_at_the_first_defer(app, pay, people):
    manager = LoginManager(app)
    manager.request_loader(lambda request: people["ada"])
    with app.test_request_context("/"), pytest.raises(OptionInvalid) as caught:
        pay.defer()
    assert str(caught.value) == TEXTS["no user_loader"]


def test_a_loader_that_needs_a_request_is_an_error_at_the_first_defer(app, manager, pay, people):
    manager.user_loader(lambda id: people[request.args.get("who", id)])
    with app.test_request_context("/"):
        login_user(people["ada"])
        with pytest.raises(OptionInvalid) as caught:
            pay.defer()
    assert str(caught.value) == TEXTS["a loader that needs a request"]


def test_a_loader_that_fails_otherwise_is_not_the_callers_trouble(app, manager, pay, people):
    def down(id):
        raise OSError("no route to the database")

    with app.test_request_context("/"):
        login_user(people["ada"])
        manager.user_loader(down)
        assert len(pay.defer().id) == 26


def test_load_principal_replaces_the_loader(app, fn, pay, people, work):
    manager = LoginManager(app)
    manager.request_loader(lambda request: people["ada"])
    fn.load_principal(lambda id: Principal(id=id, roles=["editor"]))
    with app.test_request_context("/"):
        pay.defer()
    work(app)
    assert [principal.id for principal in pay.seen] == ["ada"]


# ---------------------------------------------------------------- principals of one's own


def test_the_applications_own_principal_is_made_of_the_request(app, fn, pay, work):
    @fn.principal
    def of_the_header(request):
        name = request.headers.get("X-Program")
        return Principal(id=name, kind="service", scopes=["pay"]) if name else None

    client = app.test_client()
    assert client.post("/pay").status_code == 403
    assert client.post("/pay", headers={"X-Program": "import"}).status_code == 200
    work(app)
    assert [(p.id, p.kind, p.scopes) for p in pay.seen] == [("import", "service", {"pay"})]


def test_rights_of_the_applications_own_principal_are_not_compared_with_flask_logins_user(app, fn, manager, pay, work):
    fn.principal(lambda request: Principal(id="ada", roles=["editor"], scopes=["pay"]))
    with app.test_request_context("/"):
        pay.defer()
    work(app)
    assert [p.scopes for p in pay.seen] == [{"pay"}]


def test_what_is_no_principal_is_named(app, fn, pay):
    @fn.principal
    def whoever(request):
        return "ada"

    with app.test_request_context("/"), pytest.raises(OptionInvalid) as caught:
        pay.defer()
    assert str(caught.value) == TEXTS["no principal"]


def test_as_principal_takes_a_user(app, fn, manager, people, pay, work):
    with app.app_context(), fn.as_principal(people["bob"]):
        pay.defer()
    work(app)
    assert [(p.id, p.roles) for p in pay.seen] == [("bob", {"viewer"})]


def test_as_principal_of_an_anonymous_user_is_nobody(app, fn, pay):
    with app.app_context(), fn.as_principal(AnonymousUserMixin()), pytest.raises(PolicyDenied):
        pay.defer()


def test_as_principal_of_something_else_says_what_to_give(fn):
    with pytest.raises(OptionInvalid) as caught, fn.as_principal(SimpleNamespace(name="ada")):
        pass
    assert str(caught.value) == TEXTS["no user"]


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        (["editor", "viewer"], {"editor", "viewer"}),
        ([SimpleNamespace(name="editor")], {"editor"}),
        ("editor", {"editor"}),
        ("", set()),
        (None, set()),
    ],
)
def test_roles_are_names_objects_with_names_or_one_name(fn, roles, found):
    assert fn.to_principal(User("ada", roles)).roles == found


@pytest.mark.parametrize(("roles", "text"), [(7, "no roles"), ([SimpleNamespace()], "a role without a name")])
def test_other_roles_are_an_error(fn, roles, text):
    with pytest.raises(OptionInvalid) as caught:
        fn.to_principal(User("ada", roles))
    assert str(caught.value) == TEXTS[text]


def test_outside_a_request_the_refusal_says_how_to_go_on(app, pay):
    with app.app_context(), pytest.raises(PolicyDenied) as caught:
        pay.defer()
    assert str(caught.value) == TEXTS["denied outside"]


# ---------------------------------------------------------------- refusals as answers


def test_a_refusal_is_text_or_json_as_the_client_prefers(app, pay):
    client = app.test_client()
    text = client.post("/pay", headers={"Accept": "text/html,*/*;q=0.8"})
    json = client.post("/pay", headers={"Accept": "application/json"})
    assert (text.status_code, text.mimetype, text.text) == (403, "text/plain", "needs authenticated\n")
    assert (json.status_code, json.json) == (403, {"error": "forbidden", "reason": "needs authenticated"})
    assert text.headers["Cache-Control"] == "no-store"


def test_a_policy_that_cannot_decide_is_a_503_that_tells_no_secret(app, fn):
    @custom
    def broken(ctx):
        raise OSError("password=hunter2")

    @fn.task(name="pay", policy=broken)
    def pay() -> None: ...

    @app.post("/pay")
    def view():
        return pay.defer().id

    answer = app.test_client().post("/pay")
    assert answer.status_code == 503
    assert answer.text == "it could not be decided whether you may do this; nothing was sent\n"


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_applications_own_error_handler_wins(make_app, fn, when):
    app = make_app()

    def own(error):
        return jsonify(mine=error.reason), 418

    if when == "before":
        app.register_error_handler(PolicyDenied, own)
    fn.init_app(app)
    if when == "after":
        app.register_error_handler(PolicyDenied, own)

    @fn.task(name="pay", policy=authenticated)
    def pay() -> None: ...

    @app.post("/pay")
    def view():
        return pay.defer().id

    answer = app.test_client().post("/pay")
    assert (answer.status_code, answer.json) == (418, {"mine": "needs authenticated"})


@pytest.mark.parametrize("where", ["app", "blueprint"])
@pytest.mark.parametrize("handled", [403, Forbidden, HTTPException])
def test_a_refusal_gets_the_applications_own_page_for_403(make_app, fn, where, handled):
    app, shop = make_app(), Blueprint("shop", __name__)
    fn.init_app(app)

    @fn.task(name="pay", policy=authenticated)
    def pay() -> None: ...

    @shop.post("/pay")
    def view():
        return pay.defer().id

    def page(error):
        return f"our page: {error.description}", error.code

    (app if where == "app" else shop).register_error_handler(handled, page)
    app.register_blueprint(shop)
    answer = app.test_client().post("/pay")
    assert (answer.status_code, answer.text) == (403, "our page: needs authenticated")
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_handler_of_every_exception_is_not_asked_about_a_refusal(make_app, fn):
    app = make_app()
    fn.init_app(app)
    app.register_error_handler(Exception, lambda error: ("unexpected", 500))

    @fn.task(name="pay", policy=authenticated)
    def pay() -> None: ...

    app.add_url_rule("/pay", view_func=lambda: pay.defer().id, endpoint="pay")
    assert app.test_client().get("/pay").status_code == 403


def test_the_errors_are_still_errors_for_whoever_catches_them(app, fn):
    @custom
    def broken(ctx):
        raise OSError

    @fn.task(name="undecided", policy=broken)
    def undecided() -> None: ...

    @fn.task(name="fine", policy=public)
    def fine() -> None: ...

    with app.test_request_context("/"):
        with pytest.raises(PolicyUndecided):
            undecided.defer()
        assert len(fine.defer().id) == 26
