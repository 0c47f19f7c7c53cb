"""What `init_app` does, and what it leaves for later; configuration; several apps."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from flask import Blueprint, Flask, current_app

from flask_fnqueue import FnQueue
from flask_fnqueue.state import task_modules
from fnqueue.errors import AppNotFound, SettingsInvalid
from fnqueue.policies import public

#: What a user reads when something is wrong. A change here is a change of the product.
TEXTS = {
    "twice": "the app 'shop' has this FnQueue already: call init_app once per app (FnQueue(app) is that call)",
    "two": "the app 'shop' has another FnQueue already: call init_app once per app (FnQueue(app) is that call)",
    "outside": (
        "fnqueue needs an application context here, to know which app's queue is meant.\n"
        "Wrap it: with app.app_context(): ..."
    ),
    "outside, no app yet": (
        "fnqueue needs an application context here, to know which app's queue is meant.\n"
        "Wrap it: with app.app_context(): ...\n"
        "This FnQueue was not given to any app yet: fn.init_app(app), in the app's factory."
    ),
    "the wrong app": (
        "the current app 'blog' has no fnqueue: call fn.init_app(app) where it is made. This FnQueue belongs to 'shop'."
    ),
    "another's app": (
        "the current app 'blog' has another FnQueue than the one that this task belongs to: "
        "give the app this one with fn.init_app(app), or register the task with the app's. "
        "This FnQueue belongs to 'shop'."
    ),
}


def where(app: Flask) -> str | None:
    return app.extensions["fnqueue"].runtime.engine.path


def test_init_app_opens_nothing_and_starts_no_thread(make_app, fn, tmp_path):
    threads = threading.active_count()
    fn.init_app(make_app())
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads


def test_wrong_configuration_is_no_business_of_init_app(make_app, fn):
    app = make_app(FNQUEUE_URL="gopher://hole", FNQUEUE_COLOUR="red")
    fn.init_app(app)
    with app.app_context(), pytest.raises(SettingsInvalid) as caught:
        fn.runtime()
    assert caught.value.faults == ("FNQUEUE_COLOUR is no setting of fnqueue",)


def test_the_extension_keeps_no_app(tmp_path):
    fn = FnQueue()
    app = Flask("passing", instance_path=str(tmp_path))
    fn.init_app(app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_an_app_is_initialised_once(app, fn):
    with pytest.raises(RuntimeError) as caught:
        fn.init_app(app)
    assert str(caught.value) == TEXTS["twice"]


def test_an_app_has_one_fnqueue(app):
    with pytest.raises(RuntimeError) as caught:
        FnQueue(app)
    assert str(caught.value) == TEXTS["two"]


def test_the_constructor_takes_an_app_and_defaults(make_app):
    app = make_app()
    fn = FnQueue(app, environment="staging")
    assert app.extensions["fnqueue"].fn is fn
    assert app.extensions["fnqueue"].runtime.settings.environment == "staging"


# ---------------------------------------------------------------- which app


def test_outside_an_app_context_the_error_says_what_to_do(app, fn):
    @fn.task(name="shop.pay", policy=public)
    def pay() -> None: ...

    with pytest.raises(AppNotFound) as caught:
        pay.defer()
    assert str(caught.value) == TEXTS["outside"]


def test_without_any_app_the_error_says_that_too(fn):
    with pytest.raises(AppNotFound) as caught:
        fn.handle("x")
    assert str(caught.value) == TEXTS["outside, no app yet"]


def test_an_app_that_was_not_initialised_is_named(app, fn, make_app):
    @fn.task(name="shop.pay", policy=public)
    def pay() -> None: ...

    with make_app("blog").app_context(), pytest.raises(AppNotFound) as caught:
        pay.defer()
    assert str(caught.value) == TEXTS["the wrong app"]


def test_an_app_with_another_fnqueue_is_named(app, fn, make_app):
    @fn.task(name="shop.pay", policy=public)
    def pay() -> None: ...

    blog = make_app("blog")
    other = FnQueue(blog)
    with blog.app_context(), pytest.raises(AppNotFound) as caught:
        pay.defer()
    assert str(caught.value) == TEXTS["another's app"]
    other.close()


def test_one_fnqueue_serves_many_apps_each_with_its_own_queue(fn, make_app, work):
    ran = []

    @fn.task(name="note", policy=public)
    def note(text: str) -> None:
        ran.append((current_app.import_name, text))

    shop, blog = make_app("shop"), make_app("blog")
    for app in (shop, blog):
        fn.init_app(app)
    with shop.app_context():
        note.defer("to the shop")
    assert work(blog) == 0
    assert ran == []
    with blog.app_context():
        note.defer("to the blog")
    assert work(shop) == work(blog) == 0
    assert ran == [("shop", "to the shop"), ("blog", "to the blog")]
    assert where(shop) != where(blog)


def test_events_of_all_apps_are_heard_whenever_one_subscribes(fn, make_app):
    from fnqueue.events import CallDeferred

    early: list[str] = []
    late: list[str] = []

    @fn.task(name="note", policy=public)
    def note() -> None: ...

    fn.on(CallDeferred, lambda event: early.append(event.task))
    apps = [make_app("shop"), make_app("blog")]
    for app in apps:
        fn.init_app(app)
        with app.app_context():
            note.defer()
    fn.on(CallDeferred, lambda event: late.append(event.task))
    for app in apps:
        with app.app_context():
            note.defer()
    assert (len(early), len(late)) == (4, 2)


# ---------------------------------------------------------------- configuration


def test_a_relative_file_lies_in_the_instance_folder_which_is_made_at_first_use(app, tmp_path):
    assert not (tmp_path / "shop").exists()
    assert where(app) == str(tmp_path / "shop" / "fnqueue.db")
    assert (tmp_path / "shop").is_dir()


def test_flat_keys_beat_the_dict_which_beats_what_the_code_says(make_app, fn):
    app = make_app(FNQUEUE={"CONCURRENCY": 3, "max_crashes": 4, "FNQUEUE_ENVIRONMENT": "e"}, FNQUEUE_CONCURRENCY=5)
    fn.init_app(app, url="sqlite://", concurrency=1, max_crashes=1, heartbeat_seconds=2)
    settings = app.extensions["fnqueue"].runtime.settings
    assert (settings.concurrency, settings.max_crashes, settings.environment) == (5, 4, "e")
    assert (settings.url, settings.heartbeat_seconds) == ("sqlite://", 2)


def test_the_environment_beats_the_configuration(make_app, fn, monkeypatch):
    monkeypatch.setenv("FNQUEUE_CONCURRENCY", "7")
    app = make_app(FNQUEUE_CONCURRENCY=5)
    fn.init_app(app)
    assert app.extensions["fnqueue"].runtime.settings.concurrency == 7


def test_configuration_set_after_init_app_counts(app):
    app.config["FNQUEUE_ENVIRONMENT"] = "late"
    assert app.extensions["fnqueue"].runtime.settings.environment == "late"


def test_flasks_own_environment_gives_the_dict(make_app, fn, monkeypatch):
    monkeypatch.setenv("FLASK_FNQUEUE__ENVIRONMENT", "nested")
    app = make_app()
    app.config.from_prefixed_env()
    fn.init_app(app)
    assert app.extensions["fnqueue"].runtime.settings.environment == "nested"


def test_a_dict_that_is_none_is_said_so(make_app, fn):
    app = make_app(FNQUEUE="sqlite:///x.db")
    fn.init_app(app)
    with app.app_context(), pytest.raises(SettingsInvalid) as caught:
        fn.runtime()
    assert caught.value.faults == (
        "app.config['FNQUEUE'] must be a dict of settings, got str: "
        'write {"URL": "sqlite:///fnqueue.db"}, or set FNQUEUE_URL',
    )


def test_the_configuration_is_never_written_to(make_app, fn):
    app = make_app(FNQUEUE={"concurrency": 2})
    before = dict(app.config)
    fn.init_app(app, environment="e")
    app.extensions["fnqueue"].runtime
    assert dict(app.config) == before


# ---------------------------------------------------------------- where tasks are looked for, and the shell


def test_tasks_are_looked_for_beside_the_app_and_its_blueprints():
    app = Flask("shop.web")
    app.register_blueprint(Blueprint("billing", "shop.billing.views"))
    assert task_modules(app) == ["shop.web.tasks", "shop.tasks", "shop.billing.views.tasks", "shop.billing.tasks"]
    assert task_modules(Flask("solo")) == ["solo.tasks"]


def test_the_shell_knows_fn_and_the_tasks(app, fn):
    @fn.task(name="shop.tasks.pay", policy=public)
    def pay() -> None: ...

    context = app.make_shell_context()
    assert context["fn"] is fn
    assert context["pay"] is pay
