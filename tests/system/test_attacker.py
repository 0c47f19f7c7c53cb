"""Kerckhoffs: who has our whole source, the queue and the store to read and write, but no key, gets nothing run.

Nothing runs that was not deferred, nothing with other arguments or for somebody else, nothing after its expiry; nothing
is learned beyond the clear header; and nothing crashes. (He can delete and repeat: see SECURITY.md, what remains.)
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fnqueue import FnQueue, Principal
from fnqueue.errors import FnQueueError, ResultUnreadable, TaskFailed
from tests.security.rings import given, whole
from tests.system import vault
from tests.system.fleet import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
WORKERS = 2
WORKER = [sys.executable, "-m", "fnqueue", "worker", "--app", "tests.system.vault:fn"]
#: Words that stand in arguments, principals and results, and nowhere else.
ACCOUNT, OWNER = "account-of-ada-" + secrets.token_hex(6), "ada." + secrets.token_hex(6) + "@example.org"


@dataclass(frozen=True)
class Call:
    id: str
    task: str
    args: dict[str, Any]
    who: list[Any]
    expires_at: float
    handle: Any


class Victims:
    """Two workers and a web process on one file, each with its part of the key; and the ledger of what ran."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.keys = folder, given(key, "worker")
        self.secrets = [part for part in key.split(";")[0].split("+") if "-verify-" not in part]
        self.database, self.ledger = folder / "queue.db", folder / "ledger"
        self.ledger.touch()
        self.fn = FnQueue(url=f"sqlite:///{self.database}", keys=given(key, "web"), visibility_seconds=3)
        for task in vault.fn.registry:
            options = {name: getattr(task.options, name) for name in type(task.options).__slots__}
            self.fn.task(**options | {"name": task.name})(task.function)
        self.calls: dict[str, Call] = {}
        self.workers = [self.work() for _ in range(WORKERS)]

    def work(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FNQUEUE_")}
        environment |= {
            "FNQUEUE_URL": f"sqlite:///{self.database}", "FNQUEUE_KEYS": self.keys, "FNQUEUE_VISIBILITY_SECONDS": "3",
            "FNQUEUE_QUEUES": "default,ordered.fifo", "VAULT_LEDGER": str(self.ledger), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        with open(self.folder / "workers.log", "ab") as output:
            return subprocess.Popen(WORKER, cwd=self.folder, env=environment, stdout=output, stderr=output)

    def defer(self, name: str, cents: int, **options: Any) -> Call:
        who = Principal(OWNER, roles=frozenset({"staff", "never-had"}))
        task = self.fn.registry.get(name).using(**options)
        with self.fn.as_principal(who):
            handle = task.defer(ACCOUNT, cents)
        call = Call(
            handle.id, name, {"account": ACCOUNT, "cents": cents}, ["user", OWNER, ["staff"]], handle.expires_at, handle
        )
        self.calls[call.id] = call
        return call

    def lines(self, what: str) -> list[dict[str, Any]]:
        text = self.ledger.read_text()
        found = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in found if line["what"] == what]

    def said(self) -> str:
        return (self.folder / "workers.log").read_text(errors="replace")

    def wait(self, done: Any, seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not done():
            assert [worker.poll() for worker in self.workers] == [None] * WORKERS, self.said()[-4000:]
            assert time.monotonic() < until, f"not within {seconds} s: {what}\n{self.said()[-4000:]}"
            time.sleep(0.05)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait(10)
        self.fn.close()


@pytest.fixture(params=["local", "signed", "split"])
def victims(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = Victims(tmp_path, whole(request.param))
    yield made
    made.close()


def attacked(victims: Victims, seconds: float, seed: int) -> dict[str, Any]:
    """The attack, while calls are deferred all the time. What the attacker tells of it."""
    report = victims.folder / "report.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FNQUEUE_")}
    arguments = [str(victims.database), str(seconds), str(seed), str(report), ACCOUNT, OWNER, "never-had"]
    attacker = subprocess.Popen(
        [sys.executable, "-m", "tests.system.attacker", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    dice, cents = random.Random(seed), 1000
    while attacker.poll() is None:
        cents += 1
        name = dice.choice(["pay", "pay_once", "brief", "fails", "ordered"])
        options = {"ordered": {"group": f"g{cents % 3}"}, "pay": {"delay_seconds": dice.choice([0, 0, 1, 1000])}}
        victims.defer(name, cents, **options.get(name, {}))
        time.sleep(0.03)
    output = attacker.communicate()[0].decode()
    assert attacker.returncode == 0, output[-4000:]
    told: dict[str, Any] = json.loads(report.read_text())
    return told


def test_who_has_everything_but_the_keys_has_nothing_run_and_learns_nothing(
    victims: Victims, full: bool, dice: random.Random
) -> None:
    victims.wait(lambda: len(victims.lines("ready")) == WORKERS, 60, "the workers are ready")
    for cents, name in enumerate(("pay", "pay_once", "fails", "brief")):
        victims.defer(name, cents)
    victims.wait(lambda: len(victims.lines("ran")) >= 5, 30, "the first calls ran")
    told = attacked(victims, 60 if full else 8, dice.randrange(2**31))
    fresh = victims.defer("pay", 1)
    victims.wait(lambda: any(line["id"] == fresh.id for line in victims.lines("ran")), 60, "a call after the attack")

    ran: dict[str, int] = defaultdict(int)
    for line in victims.lines("ran"):
        ran[line["id"]] += 1
        call = victims.calls.get(line["id"])
        if call is None:
            assert (line["task"], line["args"]) == ("audit", {"account": "nightly", "cents": 1}), line
            assert line["who"] == ["schedule", "audit", []]
            continue
        assert (line["task"], line["args"], line["who"]) == (call.task, call.args, call.who)
        assert line["at"] < call.expires_at + 1.5, f"{line} ran after its expiry {call.expires_at}"
    for call in victims.calls.values():
        if call.task == "pay_once" and ran[call.id] > 1:
            assert call.id in told["undone"], f"{call.id} ran {ran[call.id]} times, and nobody undid its record"
    for call in victims.calls.values():
        check_result(call, ran[call.id])
    assert told["found"] == []
    assert len(told["did"]) >= 20, "so that the attacker did all that it can"
    assert "Traceback" not in victims.said()
    for marker in (ACCOUNT, OWNER, *victims.secrets):
        assert marker not in victims.said()
    for worker in victims.workers:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(40) for worker in victims.workers] == [0] * WORKERS
    refused = defaultdict(int)
    for line in victims.lines("refused"):
        refused[line["code"]] += 1
    print(f"{sum(told['did'].values()):,} acts, {len(victims.calls)} calls, {sum(ran.values())} runs, {dict(refused)}")


def check_result(call: Call, runs: int) -> None:
    """Whatever a reader is told of a result is true, or nothing."""
    try:
        record = call.handle.record()
    except (ResultUnreadable, TaskFailed):
        return
    if record.value is not None:
        assert record.value == call.args
    if record.state == "SUCCESS":
        assert runs >= 1, f"{call} did not run and is said to have"
    if record.error is not None and record.error.type == "ValueError":
        assert record.error.message == f"nobody has {call.args['cents']}"
    try:
        call.handle.cancel() if runs == 0 else None
    except FnQueueError:
        pass


def test_the_attacker_would_find_what_is_not_sealed(tmp_path: Path) -> None:
    """So that a test that finds nothing is known to be able to."""
    from tests.system.attacker import Attacker

    attacker = Attacker(":memory:", 1)
    for row in (("a", f"x{ACCOUNT}y"), (b"\x01" + OWNER.encode(),)):
        attacker.keep(row)
    assert attacker.finds(ACCOUNT) and attacker.finds(OWNER)
    assert not attacker.finds("never-had")
