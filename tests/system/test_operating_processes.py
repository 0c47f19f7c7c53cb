"""Revocations and the audit between real processes: a web server's children, workers that are killed, commands."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run, started

SHOP = """
import os
import time
from fnqueue import FnQueue, PolicyDenied, Principal
from fnqueue.policies import public, role

fn = FnQueue(url="sqlite:///q.db", audit_dir="audit", heartbeat_seconds=0.5)

@fn.task(policy=public, bind=True)
def long(context):
    open("running", "w").close()
    until = time.monotonic() + 30
    while time.monotonic() < until and not context.revoked:
        time.sleep(0.02)
    open(f"told {context.revoked}", "w").close()
    context.progress(1)

@fn.task(policy=public)
def note(text):
    open(f"ran {text}", "w").close()

@fn.task(policy=role("clerk"))
def pay(): ...

def deny(times):
    for _ in range(times):
        try:
            with fn.as_principal(Principal(id=str(os.getpid()))):
                pay.defer()
        except PolicyDenied:
            pass
"""

#: As a preloading web server: the parent uses the queue, then forks; the children end as they will.
SERVER = """
import os, signal, sys, time
import shop

shop.deny(3)
children = []
for how in ("exit", "os._exit", "kill"):
    pid = os.fork()
    if pid == 0:
        shop.deny(5)
        if how == "kill":
            time.sleep(1.5)  # so that the store knows of its lines
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "os._exit":
            shop.fn.runtime().audit.link()
            os._exit(0)
        sys.exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
shop.deny(2)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path


def command(project: Path, *words: str, code: int = 0) -> str:
    done = run("fnqueue", "--app", "shop", *words, cwd=project)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def python(project: Path, text: str) -> str:
    (project / "script.py").write_text(text)
    done = run("script", cwd=project)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_for(done: Callable[[], Any], seconds: float = 20) -> Any:
    until = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def worker(project: Path) -> Any:
    return started("fnqueue", "--app", "shop", "worker", cwd=project, log=project / "worker.log")


def test_the_audit_of_a_forking_server_a_killed_worker_and_commands_is_whole(project: Path) -> None:
    assert run("server", cwd=project).returncode == 0
    with worker(project) as working:
        python(project, "import shop; shop.note.defer('1')")
        wait_for((project / "ran 1").exists)
        wait_for(lambda: len(list((project / "audit").iterdir())) >= 5)
        time.sleep(1.2)  # the store learns of a line within a second
        os.kill(working.process.pid, signal.SIGKILL)
        working.process.wait(10)
    command(project, "tasks", "revoke", "--principal", "user:1", "--reason", "a try")
    report = json.loads(command(project, "audit", "verify", "--json"))
    assert report["faults"] == []
    lines = [json.loads(line) for path in (project / "audit").iterdir() for line in path.read_bytes().splitlines()]
    denied = [line["principal"] for line in lines if line["what"] == "denied"]
    assert sorted(denied.count(who) for who in set(denied)) == [5, 5, 5, 5]  # the parent's three and two
    assert [line["reason"] for line in lines if line["what"] == "operator"] == ["a try"]

    largest = max((project / "audit").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1].rpartition(b"\n")[0] + b"\n")
    assert "it was cut" in command(project, "audit", "verify", code=1)


def test_a_command_stops_a_running_call_within_two_heartbeats_and_a_waiting_one_for_a_worker_that_starts_later(
    project: Path,
) -> None:
    running = python(project, "import shop; print(shop.long.defer().id)")
    with worker(project) as working:
        wait_for((project / "running").exists)
        began = time.monotonic()
        command(project, "tasks", "revoke", running, "--reason", "enough")
        wait_for((project / "told True").exists)
        assert time.monotonic() - began < 2 * 0.5 + 8  # most of it is the command's own start
        working.signal()
        assert working.wait() == 0
    waiting = python(project, "import shop; print(shop.note.defer('later').id)")
    command(project, "tasks", "revoke", waiting)
    assert command(project, "worker", "--burst") == ""
    rows = json.loads(command(project, "tasks", "--recent", "10", "--json"))
    assert {row["id"]: row["state"] for row in rows} == {running: "REVOKED", waiting: "REVOKED"}
    assert not (project / "ran later").exists()
