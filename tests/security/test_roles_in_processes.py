"""Web node, worker and dashboard as processes of their own, each with its own parts of a key and nothing more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fnqueue.security.keyfile import like, share
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keystrings import new_key
from tests.broker.sqs_proxy import Proxy, fail
from tests.security.rings import NEEDED_TO_OPEN, SIGNED, kms_key, whole
from tests.servers import moto_server

ROOT = Path(__file__).resolve().parents[2]

SHOP = """
from fnqueue import FnQueue
fn = FnQueue(default_policy="public")

@fn.task(name="shop.add")
def add(a: int, b: int) -> int:
    with open("ran", "a") as ran:
        ran.write(f"{a}+{b} ")
    return a + b

@fn.task(name="shop.breaks", dead_letter=True)
def breaks(card_number: str) -> None:
    raise ValueError("no")

@fn.task(name="shop.parent")
def parent(n: int) -> str:
    return fn.defer(add, n, n).id
"""
DEFER = """
import sys, shop
print(*[shop.fn.defer(shop.fn.runtime().registry.get(name), *args).id for name, args in {calls!r}])
"""
RESULT = """
import json, shop
from fnqueue.errors import FnQueueError
try:
    print(json.dumps(shop.fn.handle({id!r}).result(timeout_seconds=5)))
except FnQueueError as error:
    print(json.dumps(f"{{type(error).__name__}}: {{error}}"))
"""
#: What a stranger with this process's keys would try: read what waits, and put in a call of his own.
STEAL = """
import json, shop
from fnqueue.broker.base import Entry
from fnqueue.errors import EnvelopeError, FnQueueError
from fnqueue.security.envelope import seal, verify
from fnqueue.security.ids import new_id
runtime = shop.fn.runtime()
found = {"read": [], "sealed": []}
for queue in runtime.engine.broker.queues():
    for message in runtime.engine.broker.receive(queue, max_messages=10, visibility_seconds=0):
        try:
            opened = verify(message.body, keyring=runtime.ring(), environment="default",
                            queue=queue.removesuffix("__dead"), now=runtime.clock.now())
            try:
                found["read"].append([opened.task, opened.unseal()["args"]])
            except EnvelopeError as error:
                found["read"].append([opened.task, error.code])
        except EnvelopeError as error:
            found["read"].append([error.code])
now = runtime.clock.now()
try:
    body = seal(keyring=runtime.ring(), environment="default", queue="default", id=new_id(now), task="shop.add",
                created_at=now, expires_at=now + 999, principal_kind="user",
                sealed={"args": [666, 0], "p": {"i": "1", "k": "u"}})
    runtime.engine.broker.send("default", [Entry(id="0", body=body)])
    found["sealed"] = "sent"
except FnQueueError as error:
    found["sealed"] = str(error)
print(json.dumps(found))
"""


class Machines:
    """One folder that all share as they would share SQS and DynamoDB; and each role's own key text."""

    def __init__(self, folder: Path, texts: dict[str, str]) -> None:
        self.folder, self.texts = folder, texts
        (folder / "shop.py").write_text(SHOP)

    def run(self, role: str, *command: str, fails: bool = False) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FNQUEUE_")}
        environment |= {
            "FNQUEUE_KEYS": self.texts[role],
            "FNQUEUE_URL": f"sqlite:///{self.folder}/q.db",
            "PYTHONPATH": f"{self.folder}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode != 0) == fails, done.stderr
        for text in self.texts.values():
            for part in text.partition(";")[0].split("+"):
                assert part.rpartition("-")[2][:12] not in done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def python(self, role: str, program: str, **values: Any) -> str:
        return self.run(role, "-c", program.format(**values) if values else program).strip()

    def work(self, *, fails: bool = False, role: str = "worker") -> str:
        return self.run(role, "-m", "fnqueue", "worker", "--app", "shop:fn", "--burst", fails=fails)

    def defer(self, role: str, *calls: tuple[str, list[Any]]) -> list[str]:
        return self.python(role, DEFER, calls=list(calls)).split()

    def result(self, role: str, id: str) -> Any:
        return json.loads(self.python(role, RESULT, id=id))

    @property
    def ran(self) -> str:
        path = self.folder / "ran"
        return path.read_text() if path.exists() else ""


@pytest.fixture(params=SIGNED)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def machines(tmp_path: Path, suite: str) -> Machines:
    key = whole(suite)
    return Machines(tmp_path, {role: share(key, role) for role in ("web", "worker", "dashboard")})


pytestmark = pytest.mark.system


def test_a_web_node_defers_a_worker_runs_and_the_web_node_reads_the_result(machines: Machines) -> None:
    (id,) = machines.defer("web", ("shop.add", [2, 3]))
    machines.work()
    assert machines.result("web", id) == 5
    assert machines.ran == "2+3 "


def test_a_stolen_worker_makes_no_call_that_another_worker_runs(machines: Machines) -> None:
    machines.defer("web", ("shop.add", [2, 3]))
    found = json.loads(machines.python("worker", STEAL))
    assert "needs fnqk1-sign-" in found["sealed"]
    machines.work()
    assert machines.ran == "2+3 "


def test_a_stolen_web_node_reads_no_call_of_others_in_suite_split(machines: Machines, suite: str) -> None:
    machines.defer("web", ("shop.add", [2, 3]))
    found = json.loads(machines.python("web", STEAL))
    assert found["read"] == [["shop.add", "UNKNOWN_KEY" if suite == "split" else [2, 3]]]
    assert found["sealed"] == "sent", "it may defer, that is what it is for"


def test_a_dashboard_proves_dead_letters_without_reading_them(machines: Machines) -> None:
    machines.defer("web", ("shop.breaks", ["4242 4242"]))
    machines.work()
    found = json.loads(machines.python("dashboard", STEAL))
    assert found["read"] == [["shop.breaks", "UNKNOWN_KEY"]], "verified, and not read"
    assert "needs fnqk1-sign-" in found["sealed"]
    shown = json.loads(
        machines.run("dashboard", "-m", "fnqueue", "dlq", "show", "default", "--app", "shop:fn", "--json")
    )
    assert [row["task"] for row in shown] == ["shop.breaks"]
    assert "4242" not in json.dumps(shown)


def test_a_dashboard_reads_no_result_and_is_told_what_it_lacks(machines: Machines) -> None:
    (id,) = machines.defer("web", ("shop.add", [2, 3]))
    machines.work()
    assert "needs fnqk1-state-" in machines.result("dashboard", id)


def test_a_process_with_another_roles_keys_does_not_work_and_says_why(machines: Machines, suite: str) -> None:
    said = machines.work(role="dashboard", fails=True)
    assert f"needs {NEEDED_TO_OPEN[suite]}" in said
    assert "fnqueue keys split-public" in said
    assert "Traceback" not in said


def test_a_worker_whose_tasks_defer_needs_a_signing_key_of_its_own(tmp_path: Path, suite: str) -> None:
    key = whole(suite)
    text = like(key, KeyRing.from_text(key).primary.key_id)
    own = KeyRing.from_text(text).records[1].key_id
    machines = Machines(tmp_path, {"web": share(key, "web"), "worker": share(key, "worker")})
    (id,) = machines.defer("web", ("shop.parent", [4]))
    machines.work()
    assert "KeysMissing" in machines.result("web", id)
    assert "needs fnqk1-sign-" in machines.result("web", id)
    assert machines.ran == ""
    machines.texts = {role: share(text, role, signs=own) for role in ("web", "worker")}
    (id,) = machines.defer("web", ("shop.parent", [4]))
    machines.work()
    assert machines.result("web", machines.result("web", id)) == 8
    assert machines.ran == "4+4 "


READ = """
import shop
from fnqueue.errors import FnQueueError
from fnqueue.security.envelope import verify
runtime = shop.fn.runtime()
(message,) = runtime.engine.broker.receive("default", visibility_seconds=0)
opened = verify(message.body, keyring=runtime.ring(), environment="default", queue="default", now=runtime.clock.now())
try:
    print(opened.unseal()["args"])
except FnQueueError as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_kms_is_asked_by_each_process_only_for_what_iam_allows_it(tmp_path: Path) -> None:
    """What stands before KMS denies the web node to open, and the worker to make, data keys, as two IAM roles would."""
    denied = fail(400, "AccessDeniedException")
    web, worker = Proxy(moto_server()), Proxy(moto_server())
    web.then("Decrypt", *[denied] * 20)
    worker.then("GenerateDataKey", *[denied] * 20)
    key = new_key("5", kms=kms_key(web.endpoint))
    texts = {role: share(key, role).replace(web.endpoint, worker.endpoint) for role in ("worker", "dashboard")}
    machines = Machines(tmp_path, texts | {"web": share(key, "web")})
    try:
        (id,) = machines.defer("web", ("shop.add", [2, 3]))
        assert machines.python("worker", READ) == "[2, 3]"
        stolen = machines.python("web", READ)
        assert stolen.startswith("KmsUnavailable: cannot open a data key with arn:aws:kms:")
        assert "allow kms:Decrypt on it" in stolen
        assert web.operations() == ["GenerateDataKey", "Decrypt"], "the second was the thief's"
        machines.work()
        assert machines.result("web", id) == 5
        assert machines.ran == "2+3 "
        assert web.operations() == ["GenerateDataKey", "Decrypt"], "results need no KMS"
        assert worker.operations() == ["Decrypt"] * 2, "one in each of the worker's two processes"
    finally:
        web.close()
        worker.close()
