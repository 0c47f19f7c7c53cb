"""The same commands on SQS, over HTTP: queues are made at deploy time, and dead letters looked into."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from fnqueue.cli.banner import banner
from fnqueue.cli.queues import make
from fnqueue.security.keyring import new_key
from tests.commands import environment, run

pytestmark = [pytest.mark.aws, pytest.mark.system]


@pytest.fixture
def on_sqs(moto_endpoint, request, monkeypatch):
    """The environment of a project on moto's server, with a store; also set in this process."""
    prefix = f"{request.node.name[:20].replace('_', '-')}{os.getpid()}-"
    settings = {
        "FNQUEUE_URL": f"sqs://us-east-1/{prefix}?endpoint={moto_endpoint}",
        "FNQUEUE_STORE_URL": "sqlite:///records.db",
        "FNQUEUE_KEYS": new_key(),
        "FNQUEUE_WAIT_TIME_SECONDS": "1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def test_queues_are_created_listed_and_purged(fnqueue, shop, on_sqs):
    made = fnqueue("queues", "create", "--app", "shop")
    assert made.exit_code == 0, made.output
    assert made.stdout == "billing: billing, billing__dead\ndefault: default, default__dead\n"
    assert fnqueue("queues", "create", "--app", "shop").exit_code == 0  # twice is no error
    rows = json.loads(fnqueue("queues", "list", "--app", "shop", "--json").stdout)
    assert [row["queue"] for row in rows] == ["billing", "billing__dead", "default", "default__dead"]
    assert (rows[2]["dead_letter_queue"], rows[2]["max_receive_count"]) == ("default__dead", 1000)
    assert {row["retention_seconds"] for row in rows} == {1_209_600}
    purged = fnqueue("queues", "purge", "default", "--yes", "--app", "shop")
    assert (purged.exit_code, purged.stdout) == (0, "0 messages deleted from default\n")


def test_a_dead_letter_is_shown_sent_back_and_runs_again(fnqueue, shop, on_sqs):
    assert fnqueue("queues", "create", "--app", "shop").exit_code == 0
    code = "import shop; print(shop.give_up.defer('hunter2').id)"
    env = environment(**on_sqs)
    deferred = subprocess.run([sys.executable, "-c", code], cwd=shop, env=env, capture_output=True, text=True)
    id = deferred.stdout.strip()
    assert len(id) == 26, deferred.stderr
    worker = ("fnqueue", "worker", "--app", "shop", "--burst", "--log-format", "text")
    first = run(*worker, cwd=shop, env=on_sqs)
    assert "DEAD-LETTERED shop.give_up" in first.stderr, first.stderr
    (row,) = json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout)
    assert (row["id"], row["task"], row["reason"], row["source"]) == (id, "shop.give_up", "DEAD_LETTER", "default")
    sent = fnqueue("dlq", "redrive", "default", "--app", "shop")
    assert sent.stdout == "1 message sent back to default\n", sent.output
    second = run(*worker, cwd=shop, env=on_sqs)
    assert "DEAD-LETTERED shop.give_up" in second.stderr, second.stderr
    gone = fnqueue("dlq", "discard", "default", "--all", "--yes", "--app", "shop")
    assert gone.stdout == "1 message deleted from default__dead\n"


def test_the_banner_warns_of_queues_that_are_not_there_and_makes_none(on_sqs, monkeypatch):
    from fnqueue import FnQueue

    # By this address the server is nobody's loopback, and so taken for Amazon's.
    monkeypatch.setenv("FNQUEUE_URL", on_sqs["FNQUEUE_URL"].replace("127.0.0.1", "0.0.0.0"))
    fn = FnQueue()

    @fn.task(name="shop.pay", queue="billing")
    def pay() -> None: ...

    @fn.task(name="shop.look")
    def look() -> None: ...

    def warnings():
        return banner(fn.runtime(), "shop", ["billing", "default"], []).warnings

    broker = fn.runtime().engine.broker
    assert warnings() == ("not there: billing, default; make them: fnqueue queues create",)
    assert broker.queues() == []
    make(fn.runtime(), "billing")
    broker.create("default")
    assert warnings() == ("no dead-letter queue, failed calls are lost: default; fnqueue queues create",)
    make(fn.runtime(), "default")
    assert warnings() == ()
    fn.close()


def test_a_queue_that_cannot_be_asked_is_a_warning_and_no_obstacle(on_sqs, monkeypatch):
    from fnqueue import FnQueue

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("FNQUEUE_URL", f"sqs://us-east-1/?endpoint=http://0.0.0.0:{port}")
    fn = FnQueue()
    (warning,) = banner(fn.runtime(), "shop", ["default"], []).warnings[1:]
    assert warning.startswith("the queue cannot be asked just now: ")
    fn.close()
