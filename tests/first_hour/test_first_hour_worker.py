"""The worker: older than the web, of another environment, with nothing to do, or told to stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment, started
from tests.first_hour.conftest import Says

SHOP = """
from fnqueue import FnQueue
from fnqueue.policies import public, authenticated
fn = FnQueue()

@fn.task(policy=public)
def resize(photo_id: int) -> None: ...
"""
FLASK = """
from flask import Flask
from flask_fnqueue import FnQueue
app = Flask(__name__)
fn = FnQueue(app)
"""
pytestmark = pytest.mark.system


def deferred(says: Says, file: str, code: str, **env: str) -> None:
    """By a web process whose shop.py is `file`."""
    says.write(shop=file)
    says.note(f">>> {code}    # {' '.join(f'{n}={v}' for n, v in env.items())}".rstrip(" #"))
    subprocess.run(
        [sys.executable, "-c", f"from shop import *\n{code}"], cwd=says.folder, env=environment(**env), check=True
    )


def test_a_worker_older_than_the_web_that_lacks_the_task(says: Says) -> None:
    deferred(says, SHOP + "\n@fn.task(policy=public)\ndef crop(photo_id: int): ...\n", "crop.defer(7)")
    says.write(shop=SHOP)
    says.worker(env={"FNQUEUE_UNKNOWN_GRACE_SECONDS": "0"}, shown={})


def test_a_worker_older_than_the_web_that_lacks_an_argument(says: Says) -> None:
    deferred(says, SHOP.replace("photo_id: int", "photo_id: int, width: int"), "resize.defer(7, width=400)")
    says.write(shop=SHOP)
    says.worker(env={"FNQUEUE_UNKNOWN_GRACE_SECONDS": "0"}, shown={})


def test_a_worker_newer_than_the_web_that_wants_an_argument_more(says: Says) -> None:
    deferred(says, SHOP, "resize.defer(7)")
    says.write(shop=SHOP.replace("photo_id: int", "photo_id: int, width: int"))
    says.worker(env={"FNQUEUE_UNKNOWN_GRACE_SECONDS": "0"}, shown={})


def test_a_worker_of_another_environment(says: Says) -> None:
    deferred(says, SHOP, "resize.defer(7)", FNQUEUE_ENVIRONMENT="staging")
    says.worker(env={"FNQUEUE_ENVIRONMENT": "production"})


def test_a_worker_with_other_keys(says: Says) -> None:
    deferred(says, SHOP, "resize.defer(7)")
    (says.folder / "fnqueue.keys").unlink()
    says.worker()


def test_a_task_that_raises(says: Says) -> None:
    deferred(says, SHOP.replace("...\n", "1 / (photo_id - 7)\n"), "resize.defer(7)")
    says.worker()


def test_a_queue_that_no_task_uses(says: Says) -> None:
    says.write(shop=SHOP)
    says.worker("--queues", "mail")


def test_a_hard_time_limit_of_a_thread(says: Says) -> None:
    says.write(shop=SHOP.replace("policy=public", "policy=public, time_limit_seconds=5"))
    says.worker()


def test_ctrl_c_and_ctrl_c_again(says: Says, tmp_path: Path) -> None:
    slow = SHOP.replace("...\n", "open('began', 'w').close(); import time; time.sleep(60)\n")
    deferred(says, slow, "resize.defer(7)")
    arguments = ("fnqueue", "--app", "shop", "worker", "--log-format", "text")
    says.note("$ fnqueue --app shop worker --log-format text")
    with started(*arguments, cwd=says.folder, log=tmp_path / "log") as worker:
        worker.until((says.folder / "began").exists)
        worker.signal(signal.SIGINT)
        worker.until_it_says("stopping")
        worker.signal(signal.SIGINT)
        code_ = worker.wait()
        says.note(f"^C^C\n{worker.output}\n[exit {code_}]")


def test_the_port_is_taken(says: Says) -> None:
    says.write(
        shop="from flask import Flask\nfrom flask_fnqueue import FnQueue\napp = Flask(__name__)\nfn = FnQueue(app)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        says.replaced = [(str(port), "5000")]
        says.command(
            "flask", "--app", "shop", "fnqueue", "dev", "--port", str(port), as_="flask --app shop fnqueue dev"
        )
