"""No application, or not the one that was meant."""

from __future__ import annotations

import pytest

from tests.first_hour.conftest import Says

FLASK = """
from flask import Flask
from flask_fnqueue import FnQueue
from fnqueue.policies import public

fn = FnQueue()
app = Flask(__name__)
fn.init_app(app)

@fn.task(policy=public)
def thumbnail(photo_id: int, width: int = 200) -> str:
    return f"photo {photo_id} at {width} px"
"""
PLAIN = FLASK.replace("from flask import Flask\n", "").replace("flask_fnqueue", "fnqueue")
PLAIN = PLAIN.replace("app = Flask(__name__)\nfn.init_app(app)\n", "")

pytestmark = pytest.mark.system


def test_no_app_is_named(says: Says) -> None:
    says.command("fnqueue", "worker")


def test_no_app_is_named_in_flask(says: Says) -> None:
    says.command("flask", "fnqueue", "worker")


def test_the_app_path_names_no_module(says: Says) -> None:
    says.write(shop=FLASK)
    says.command("fnqueue", "--app", "shopp:app", "worker")


def test_the_app_path_names_no_module_in_flask(says: Says) -> None:
    says.write(shop=FLASK)
    says.command("flask", "--app", "shopp", "fnqueue", "worker")


def test_the_module_has_no_such_name(says: Says) -> None:
    says.write(shop=FLASK)
    says.command("fnqueue", "--app", "shop:application", "worker")


def test_init_app_is_forgotten(says: Says) -> None:
    says.write(shop=FLASK.replace("fn.init_app(app)", ""))
    says.command("fnqueue", "--app", "shop", "worker")
    says.command("flask", "--app", "shop", "fnqueue", "worker")


def test_fnqueues_own_class_is_used_in_flask(says: Says) -> None:
    own = FLASK.replace("from flask_fnqueue", "from fnqueue")
    says.write(shop=own)
    says.command("fnqueue", "--app", "shop", "worker", "--burst")
    says.write(shop=own.replace("fn.init_app(app)", "fn = FnQueue(app)"))
    says.command("fnqueue", "--app", "shop", "worker", "--burst")


def test_a_module_of_the_app_is_not_installed(says: Says) -> None:
    says.write(shop="import pilow\n" + FLASK)
    says.command("fnqueue", "--app", "shop", "worker")
    says.command("flask", "--app", "shop", "fnqueue", "worker")


def test_the_app_has_a_typing_mistake(says: Says) -> None:
    says.write(shop="def index(:\n")
    says.command("fnqueue", "--app", "shop", "worker")


def test_the_tasks_module_raises(says: Says) -> None:
    says.write(shop___init=FLASK, shop__tasks="from shop import nothing_of_it\n")
    says.command("flask", "--app", "shop", "fnqueue", "worker")


def test_an_import_that_is_none(says: Says) -> None:
    says.write(shop=PLAIN)
    says.command("fnqueue", "--app", "shop", "worker", env={"FNQUEUE_IMPORTS": "shop.tasks"})


def test_there_are_no_tasks(says: Says) -> None:
    says.write(shop=PLAIN.partition("@fn.task")[0])
    says.command("fnqueue", "--app", "shop", "worker")
    says.write(shop=FLASK.partition("@fn.task")[0])
    says.command("flask", "--app", "shop", "fnqueue", "worker")


def test_a_command_or_an_option_is_misspelt(says: Says) -> None:
    says.write(shop=PLAIN)
    says.command("fnqueue", "--app", "shop", "wroker")
    says.command("fnqueue", "--app", "shop", "worker", "--concurency", "4")
    says.command("fnqueue", "--app", "shop", "worker", "--queues", "mail queue")


def test_defer_outside_an_app_context(says: Says) -> None:
    says.write(shop=FLASK)
    says.python("from shop import thumbnail\nthumbnail.defer(7)")


def test_defer_before_init_app(says: Says) -> None:
    says.write(shop=FLASK.replace("fn.init_app(app)", ""))
    says.python("from shop import thumbnail\nthumbnail.defer(7)")
    says.python("from shop import app, thumbnail\nwith app.app_context():\n    thumbnail.defer(7)")


def test_the_wrong_one_of_two_apps(says: Says) -> None:
    says.write(shop=FLASK, blog=FLASK.replace("Flask(__name__)", "Flask('blog')"))
    says.python("from blog import app\nfrom shop import thumbnail\nwith app.app_context():\n    thumbnail.defer(7)")


def test_an_app_is_given_twice(says: Says) -> None:
    says.write(shop=FLASK)
    says.python("from shop import app, fn\nfn.init_app(app)")
    says.python("from shop import app, FnQueue\nFnQueue(app)")


def test_what_is_no_app_is_given(says: Says) -> None:
    says.python("from flask_fnqueue import FnQueue\nFnQueue('shop')")
    says.python("from flask_fnqueue import FnQueue\nFnQueue('sqlite:///fnqueue.db')")
    says.python("from flask_fnqueue import FnQueue\nFnQueue(__name__)")
