"""`flask fnqueue ...`: the same commands for the app that flask found, and web and worker together."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import urllib.request

import pytest

from tests.commands import run, started

SHOP = """
from flask import Flask, current_app
from flask_fnqueue import FnQueue
from fnqueue.policies import public

fn = FnQueue()

@fn.task(policy=public)
def thumbnail(photo: int) -> str:
    return f"{photo} in {current_app.import_name}, VERSION"

def create_app(environment="default"):
    app = Flask(__name__)
    fn.init_app(app, environment=environment)

    @app.post("/photos/<int:photo>")
    def upload(photo):
        handle = thumbnail.defer(photo)
        return {"status": fn.status_url(handle)}

    return app
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP.replace("VERSION", "first"))
    return tmp_path


# ---------------------------------------------------------------- in this process


def test_the_commands_know_the_app_without_being_told(app, fn):
    @fn.task(name="shop.pay", queue="billing")
    def pay() -> None: ...

    runner = app.test_cli_runner()
    rows = json.loads(runner.invoke(args=["fnqueue", "tasks", "--json"]).stdout)
    assert [(row["task"], row["policy"]) for row in rows] == [("shop.pay", "open")]
    made = runner.invoke(args=["fnqueue", "queues", "create"])
    assert made.stdout == "billing: billing__high, billing, billing__low, billing__dead\n"
    assert runner.invoke(args=["fnqueue", "keys", "check"]).exit_code == 0


def test_a_fault_of_the_configuration_is_one_text_and_exit_1(make_app, fn):
    app = make_app(FNQUEUE_URL="gopher://hole")
    fn.init_app(app)
    done = app.test_cli_runner().invoke(args=["fnqueue", "queues", "list"])
    assert done.exit_code == 1
    assert done.stderr.startswith("fnqueue: 1 setting is wrong:\n  - FNQUEUE_URL='gopher://hole': must begin with")


def test_the_applications_own_command_of_that_name_stays(make_app, fn):
    import click

    app = make_app()
    own = click.Command("fnqueue", callback=lambda: click.echo("mine"))
    app.cli.add_command(own)
    fn.init_app(app)
    assert app.test_cli_runner().invoke(args=["fnqueue"]).stdout == "mine\n"


# ---------------------------------------------------------------- real processes


@pytest.mark.system
@pytest.mark.parametrize("app", ["shop", "shop:create_app", "shop.py:create_app('default')"])
def test_flask_finds_the_app_by_its_own_rules(shop, app):
    done = run("flask", "--app", app, "fnqueue", "worker", "--burst", "--log-format", "text", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert f"app          {app}, 1 task" in done.stderr
    assert f"queue        {shop}/instance/fnqueue.db" in done.stderr


@pytest.mark.system
def test_tasks_beside_the_app_are_found(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text(
        "from flask import Flask\nfrom shop.extensions import fn\n"
        "def create_app():\n    app = Flask(__name__)\n    fn.init_app(app)\n    return app\n"
    )
    (tmp_path / "shop" / "extensions.py").write_text("from flask_fnqueue import FnQueue\nfn = FnQueue()\n")
    nothing = run("fnqueue", "worker", "--app", "shop", "--burst", cwd=tmp_path)
    assert nothing.returncode == 1
    assert "shop has no task: looked at what it imports, and in shop.tasks." in nothing.stderr
    (tmp_path / "shop" / "tasks.py").write_text("from shop.extensions import fn\n@fn.task\ndef pay() -> None: ...\n")
    listed = run("flask", "--app", "shop", "fnqueue", "tasks", "--json", cwd=tmp_path)
    assert [row["task"] for row in json.loads(listed.stdout)] == ["shop.tasks.pay"]
    (tmp_path / "shop" / "tasks.py").write_text("import not_installed_anywhere\n")
    broken = run("flask", "--app", "shop", "fnqueue", "tasks", cwd=tmp_path)
    assert broken.returncode == 4
    assert "fnqueue: importing shop.tasks failed:" in broken.stderr
    assert "No module named 'not_installed_anywhere'" in broken.stderr


@pytest.mark.system
def test_a_healthcheck_loads_no_app(tmp_path):
    (tmp_path / "shop.py").write_text("raise SystemExit('imported')")
    done = run("flask", "--app", "shop", "fnqueue", "healthcheck", "-f", "h", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "fnqueue: no worker: h is not there\n")


# ---------------------------------------------------------------- dev


def get(url: str, data: bytes | None = None):
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.mark.system
def test_dev_runs_web_and_worker_reloads_both_and_ends_with_ctrl_c(shop, tmp_path):
    with started("flask", "--app", "shop", "fnqueue", "dev", "--port", "0", cwd=shop, log=tmp_path / "log") as dev:
        dev.until_it_says("worker |   runs")
        dev.until(lambda: ADDRESS.search(dev.output))
        assert result(dev, ADDRESS.search(dev.output)[1]) == "7 in shop, first"
        (shop / "shop.py").write_text(SHOP.replace("VERSION", "second"))
        dev.until_it_says("worker |   runs", times=2)
        dev.until(lambda: len(ADDRESS.findall(dev.output)) > 1 or answers(ADDRESS.findall(dev.output)[-1]))
        assert result(dev, ADDRESS.findall(dev.output)[-1]) == "7 in shop, second"
        children = pids_in_group_of(dev)
        assert len(children) >= 2
        dev.signal(signal.SIGINT)
        assert dev.wait() == 0, dev.output
        dev.until(lambda: not any(alive(pid) for pid in children), seconds=5)


ADDRESS = re.compile(r"web +\| .*Running on (http://127\.0\.0\.1:\d+)")


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=1).close()
    except urllib.error.HTTPError:
        return True  # 404: there is no page at /
    except OSError:
        return False
    return True


def result(dev, address: str) -> str:
    dev.until(lambda: answers(address))
    status = get(f"{address}/photos/7", b"")["status"]
    found: list[dict] = []
    dev.until(lambda: found.append(get(address + status)) or found[-1]["state"] == "SUCCESS")
    return found[-1]["result"]


def pids_in_group_of(dev) -> list[int]:
    """The children of `dev`, by their parent's pid."""
    shown = subprocess.run(["ps", "-o", "pid=", "--ppid", str(dev.process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in shown.stdout.split()]


def alive(pid: int) -> bool:
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True).returncode == 0


@pytest.mark.system
def test_dev_ends_when_one_of_the_two_ends(shop, tmp_path):
    (shop / "shop.py").write_text(SHOP + "\nimport os, sys\nif 'worker' in sys.argv: os._exit(7)\n")
    with started("flask", "--app", "shop", "fnqueue", "dev", "--port", "0", cwd=shop, log=tmp_path / "log") as dev:
        assert dev.wait() == 1
        assert "fnqueue: worker ended with 7; stopping all" in dev.output


@pytest.mark.system
def test_a_port_that_is_taken_is_said_before_anything_starts(shop):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = run("flask", "--app", "shop", "fnqueue", "dev", "--port", str(port), cwd=shop)
    assert done.returncode == 1
    assert (
        done.stderr == f"fnqueue: port {port} is taken: another program listens on 127.0.0.1; choose one with --port\n"
    )
    assert done.stdout == ""
