"""Where an application is looked for, how it is recognised, and what is said when there is none."""

from __future__ import annotations

import pytest

from fnqueue.cli.discovery import DJANGO, discover, find_path
from fnqueue.cli.faults import ImportFailed
from fnqueue.errors import AppNotFound

CORE = "from fnqueue import FnQueue\nfn = FnQueue(url='sqlite://', environment={name!r})\n"
FLASK = """
from flask import Flask
from flask_fnqueue import FnQueue
fn = FnQueue(url='sqlite://')
def make(name="made"):
    app = Flask(__name__)
    fn.init_app(app, environment=name)
    return app
"""


def found(path: str | None = None) -> str:
    """The environment's name of what was found: each project says its own."""
    return discover(path).runtime.settings.environment


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shop", CORE.format(name="seen")),
        ("shop:fn", CORE.format(name="seen")),
        ("shop.py", CORE.format(name="seen")),
        ("shop.py:fn", CORE.format(name="seen")),
        ("shop:box.fn", CORE.format(name="seen") + "class box: fn = fn\ndel fn"),
        ("shop:make", "from fnqueue import FnQueue\ndef make(): return FnQueue(url='sqlite://', environment='seen')"),
        ("shop:make('seen')", FLASK),
        ("shop:make(name='seen')", FLASK),
        ("shop", FLASK.replace('"made"', '"seen"') + "site = make()"),
        ("shop:make()", FLASK.replace('"made"', '"seen"')),
        ("shop:make", FLASK.replace('"made"', '"seen"')),
        ("shop", FLASK + "app = make('seen')"),
        ("shop", FLASK + "application = make('seen')"),
        ("shop", FLASK + "create_app = lambda: make('seen')"),
        ("shop", FLASK + "def make_app(): return make('seen')"),
        ("shop:other", FLASK + "app, other = make('not this'), make('seen')"),
    ],
)
def test_an_application_is_found_by_its_shape(project, path, text):
    project(shop=text)
    assert found(path) == "seen"


def test_a_package_and_a_folder_below_are_found(project):
    folder = project(shop____init__="", shop__web=CORE.format(name="package"), src__blog=CORE.format(name="below"))
    assert found("shop.web:fn") == "package"
    assert found("shop/web.py") == "package"
    assert found("src/blog.py:fn") == "below"
    assert folder.is_dir()


def test_the_place_that_comes_first_wins(project, monkeypatch):
    """--app, FNQUEUE_APP, pyproject.toml, FLASK_APP, Django's, app.py, wsgi.py: taken away one after the other."""
    places = {name: CORE.format(name=name) for name in ("given", "variable", "pyproject", "flask", "app", "wsgi")}
    folder = project(**places)
    (folder / "pyproject.toml").write_text('[tool.fnqueue]\napp = "pyproject:fn"\n')
    monkeypatch.setenv("FNQUEUE_APP", "variable")
    monkeypatch.setenv("FLASK_APP", "flask")
    monkeypatch.delitem(__import__("sys").modules, "flask", raising=False)
    assert found("given") == "given"
    assert found() == "variable"
    monkeypatch.delenv("FNQUEUE_APP")
    assert found() == "pyproject"
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert found() == "flask"
    monkeypatch.delenv("FLASK_APP")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")
    assert find_path() == DJANGO
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    (folder / "manage.py").write_text("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')")
    assert find_path() == DJANGO
    (folder / "manage.py").write_text("from flask_script import Manager")
    assert found() == "app"
    (folder / "app.py").unlink()
    assert found() == "wsgi"


def test_without_any_place_all_that_was_tried_is_listed(project):
    folder = project()
    with pytest.raises(AppNotFound) as caught:
        discover(None)
    assert str(caught.value) == (
        "no application was found. Looked at:\n"
        "  --app                   not given\n"
        "  FNQUEUE_APP             not set\n"
        f"  [tool.fnqueue] app      no pyproject.toml in {folder}\n"
        "  FLASK_APP               not set\n"
        "  DJANGO_SETTINGS_MODULE  not set\n"
        f"  manage.py               none of Django's in {folder}\n"
        f"  app.py                  not in {folder}\n"
        f"  wsgi.py                 not in {folder}\n"
        "Say which one: --app shop:app (or shop:create_app)"
    )


#: path, text of shop.py, what is said
MISSING = [
    ("nowhere:app", "", "there is no module 'nowhere': looked in {folder} and on sys.path"),
    ("shop.web", "", "there is no module 'shop.web': looked in {folder} and on sys.path"),
    ("shop:api", CORE.format(name="x"), "'shop' has no 'api'; it has fn"),
    (
        "shop",
        "x = 1",
        "'shop' has no application: no app, application, create_app, make_app, and no FnQueue. Name it: shop:name",
    ),
    (
        "shop",
        CORE.format(name="x") + "gn = FnQueue()",
        "'shop' has several FnQueues (fn, gn): name one, as shop:fn",
    ),
    (
        "shop",
        FLASK + "gn = FnQueue()\nsite, api = make(), Flask('api')\ngn.init_app(api)",
        "'shop' has several apps (site, api): name one, as shop:site",
    ),
    ("shop:fn()", CORE.format(name="x"), "shop:fn is no factory but a FnQueue: leave out the ()"),
    ("shop:x", "x = 1", "shop:x is an int; neither an app nor a FnQueue"),
    ("shop:make(x)", "x = 1", "--app shop:make(x): after ':' comes a name, or a call with literals"),
    ("shop:a b", "x = 1", "--app shop:a b: after ':' comes a name, or a call with literals"),
    (":app", "", "--app ':app': must be module or module:name, as shop:app"),
    (
        "shop:app",
        "from flask import Flask\napp = Flask(__name__)",
        "shop:app is a Flask; it has no fnqueue: call fn.init_app(app) where it is made",
    ),
    (
        "shop",
        "from flask import Flask\napp = Flask(__name__)",
        "shop is a Flask; it has no fnqueue: call fn.init_app(app) where it is made",
    ),
    ("shop:fn", FLASK, "shop:fn belongs to a framework's app: give --app the app, or its factory"),
]


@pytest.mark.parametrize(("path", "text", "said"), MISSING)
def test_what_is_no_application_is_said_so(project, path, text, said):
    folder = project(shop=text)
    with pytest.raises(AppNotFound) as caught:
        discover(path)
    assert str(caught.value) == said.format(folder=folder)


def test_an_import_that_fails_inside_the_application_shows_its_own_traceback(project):
    folder = project(shop="import shop_parts", shop_parts="import not_installed_anywhere")
    with pytest.raises(ImportFailed) as caught:
        discover("shop:app")
    assert caught.value.message == (
        "importing shop failed:\n\n"
        "Traceback (most recent call last):\n"
        f'  File "{folder}/shop.py", line 1, in <module>\n'
        "    import shop_parts\n"
        f'  File "{folder}/shop_parts.py", line 1, in <module>\n'
        "    import not_installed_anywhere\n"
        "ModuleNotFoundError: No module named 'not_installed_anywhere'"
    )
    assert caught.value.exit_code == 4
    assert caught.value.files == [f"{folder}/shop.py", f"{folder}/shop_parts.py"]


@pytest.mark.parametrize("text", ["def app(:", "1 / 0", "raise SystemExit('no')", "import sys; sys.exit(3)"])
def test_any_other_failure_of_the_application_is_shown_too(project, text):
    project(shop=text)
    with pytest.raises(ImportFailed) as caught:
        discover("shop")
    assert "importing shop failed" in caught.value.message
    assert "discovery.py" not in caught.value.message


def test_a_factory_that_fails_shows_its_traceback(project):
    folder = project(shop="def create_app():\n    return {}['missing']")
    with pytest.raises(ImportFailed) as caught:
        discover("shop")
    assert caught.value.message == (
        "importing shop:create_app failed:\n\n"
        "Traceback (most recent call last):\n"
        f'  File "{folder}/shop.py", line 2, in create_app\n'
        "    return {}['missing']\n"
        "           ~~^^^^^^^^^^^\n"
        "KeyError: 'missing'"
    )


def test_modules_with_tasks_are_imported_when_asked(project):
    text = "from fnqueue import FnQueue\nfn = FnQueue(url='sqlite://', imports='shop_tasks')"
    project(shop=text, shop_tasks="from shop import fn\n@fn.task\ndef pay() -> None: ...")
    app = discover("shop")
    assert len(app.runtime.registry) == 0
    assert app.import_tasks() == ["shop_tasks"]
    assert [task.name for task in app.runtime.registry] == ["shop_tasks.pay"]


def test_where_no_task_is_needed_the_environments_queue_will_do(project, monkeypatch):
    folder = project()
    monkeypatch.setenv("FNQUEUE_URL", "sqlite:///q.db")
    app = discover(None, needs_tasks=False)
    assert app.runtime.engine.path == str(folder / "q.db")
    app.runtime.close()
    with pytest.raises(AppNotFound):
        discover(None)


def test_a_task_is_named_as_one_and_not_called_as_a_factory(project):
    folder = project(
        shop="from fnqueue import FnQueue\nfn = FnQueue(url='sqlite://')\n"
        "@fn.task\ndef empty_the_shop(): open('it-ran', 'w').close()"
    )
    with pytest.raises(AppNotFound) as caught:
        discover("shop:empty_the_shop")
    assert str(caught.value) == "shop:empty_the_shop is a task: name the app, its factory or the FnQueue; it has fn"
    assert not (folder / "it-ran").exists()
