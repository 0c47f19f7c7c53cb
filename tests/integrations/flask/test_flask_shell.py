"""Real processes: `flask shell`, and app factories with arguments, for `flask` and for `fnqueue`."""

from __future__ import annotations

import json

import pytest

from tests.commands import run

SHOP = """
from flask import Flask, current_app
from shop.extensions import fn
from shop.billing import billing

def create_app(environment, *, debug=False):
    app = Flask("shop", instance_relative_config=True)
    app.config["FNQUEUE_ENVIRONMENT"] = f"{environment}{'-debug' if debug else ''}"
    fn.init_app(app)
    app.register_blueprint(billing)
    return app
"""
BILLING = {
    "__init__.py": 'from flask import Blueprint\nbilling = Blueprint("billing", __name__)\n',
    "tasks.py": """
from flask import current_app
from shop.extensions import fn
from fnqueue.policies import public

@fn.task(policy=public)
def invoice(number: int) -> str:
    print(f"invoice {number} of {current_app.config['FNQUEUE_ENVIRONMENT']}", flush=True)
    return f"invoice {number}"
""",
}

pytestmark = pytest.mark.system


@pytest.fixture
def shop(tmp_path):
    """A package with a factory that must be given an argument; its tasks are beside a blueprint."""
    (tmp_path / "shop" / "billing").mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").write_text(SHOP)
    (tmp_path / "shop" / "extensions.py").write_text("from flask_fnqueue import FnQueue\nfn = FnQueue()\n")
    for name, text in BILLING.items():
        (tmp_path / "shop" / "billing" / name).write_text(text)
    return tmp_path


def test_in_the_shell_a_call_is_deferred_and_a_worker_runs_it(shop):
    typed = (
        "from shop.billing.tasks import invoice\nhandle = invoice.defer(7)\nprint('id', len(handle.id), handle.state)\n"
    )
    done = run("flask", "--app", 'shop:create_app("test")', "shell", cwd=shop, given=typed)
    assert "id 26 PENDING" in done.stdout, done.stdout + done.stderr
    worked = run("flask", "--app", 'shop:create_app("test")', "fnqueue", "worker", "--burst", cwd=shop)
    assert worked.returncode == 0, worked.stderr
    assert worked.stdout.splitlines() == ["invoice 7 of test"]


@pytest.mark.parametrize("command", [("flask", "--app", "APP", "fnqueue"), ("fnqueue",)])
def test_a_factory_takes_its_arguments_from_the_command_line(shop, command):
    def fnqueue(app, verb, *options):
        words = [app if word == "APP" else word for word in command]
        mine = ["--app", app] if command == ("fnqueue",) else []
        return run(*words, verb, *mine, *options, cwd=shop)

    listed = fnqueue('shop:create_app("test")', "tasks", "--json")
    assert [row["task"] for row in json.loads(listed.stdout)] == ["shop.billing.tasks.invoice"], listed.stderr
    defer = "from shop.billing.tasks import invoice\ninvoice.defer(8)\n"
    run("flask", "--app", 'shop:create_app("test", debug=True)', "shell", cwd=shop, given=defer)
    worked = fnqueue('shop:create_app("test", debug=True)', "worker", "--burst", "--log-format", "text")
    assert worked.returncode == 0, worked.stderr
    assert worked.stdout.splitlines() == ["invoice 8 of test-debug"]
    assert 'shop:create_app("test", debug=True)' in worked.stderr


def test_a_factory_without_its_argument_says_so(shop):
    done = run("fnqueue", "tasks", "--app", "shop:create_app", cwd=shop)
    assert done.returncode != 0
    assert "create_app() missing 1 required positional argument: 'environment'" in done.stderr
