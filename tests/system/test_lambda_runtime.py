"""A function in a real process, by AWS's own runtime client (awslambdaric), as a container image has it.

`Runtime` is Lambda's Runtime API [I3]: it gives events, takes answers, and ends a process whose time is over [B7, H6].
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("awslambdaric", reason="needs awslambdaric (pip install awslambdaric), which Linux has")
pytest.importorskip("uvicorn")

from fnqueue.security.keystrings import new_key
from tests.emulator.clients import CLIENTS, client
from tests.worker.event_source import Event, Mapping

pytestmark = pytest.mark.system
_ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop"

SHOP = """
import pathlib, time
from fnqueue import FnQueue
from fnqueue.policies import public

fn = FnQueue()

@fn.task(name="note", policy=public)
def note(n: int) -> None:
    with open("ran", "a") as file:
        file.write(f"{n}\\n")
    until = time.monotonic() + 60
    while n < 0 and not pathlib.Path("go on").exists() and time.monotonic() < until:
        time.sleep(0.01)

handler = fn.lambda_handler()
"""


class Runtime:
    """One function at a time: `invoke` gives its process an event, and waits for the answer until the time is over."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._events: queue.Queue[tuple[str, Event, float]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._folder, self._env = folder, env
        self.process: subprocess.Popen[bytes] | None = None
        runtime = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request_id, event, seconds = runtime._events.get()
                self.answer(200, json.dumps(event).encode(), {
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": _ARN,
                    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                    "Content-Type": "application/json",
                })  # fmt: skip

            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null")
                runtime._answers.put((self.path.rpartition("/")[2], said))
                self.answer(202, b"{}", {})

            def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *about: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A function that was ended was reading or being written to."""

        self._server = Server(("127.0.0.1", 0), Api)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def invoke(self, event: Event, seconds: float = 30) -> dict[str, Any] | None:
        """None: the time was over, and the process is ended."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        self._events.put((secrets.token_hex(8), event, seconds))
        try:
            what, said = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.end()
            return None
        assert what == "response", said
        answer: dict[str, Any] = said
        return answer

    def _start(self) -> None:
        port = self._server.server_address[1]
        env = {
            **os.environ,
            **self._env,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "LAMBDA_TASK_ROOT": str(self._folder),
        }
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", "shop.handler"],
                cwd=self._folder,
                env=env,
                stdout=log,
                stderr=log,
            )

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.end()
        self._events.put(("", {}, 0))  # the thread that waits for one
        self._server.shutdown()
        self._server.server_close()


class Function:
    def __init__(self, folder: Path, endpoint: str) -> None:
        prefix = f"{secrets.token_hex(4)}-"
        self.folder = folder
        self.sqs = client(endpoint, "123456789012")
        self.env = {
            "AWS_ACCESS_KEY_ID": "123456789012",
            "AWS_SECRET_ACCESS_KEY": "any",
            "FNQUEUE_URL": f"sqs://us-east-1/{prefix}?endpoint={endpoint}",
            "FNQUEUE_STORE_URL": "none",
            "FNQUEUE_KEYS": f"primary:{new_key()}",
        }
        (folder / "shop.py").write_text(SHOP)
        self.runtime = Runtime(folder, self.env)
        self.url = self.sqs.create_queue(QueueName=f"{prefix}default")["QueueUrl"]
        self.mapping = Mapping(self.sqs, self.url)

    def defer(self, *numbers: int) -> None:
        code = f"import shop; [shop.note.defer(n) for n in {numbers}]"
        subprocess.run([sys.executable, "-c", code], cwd=self.folder, env={**os.environ, **self.env}, check=True)

    def events(self, count: int) -> Event:
        """Of so many messages: a receive may bring fewer."""
        event: Event = {"Records": []}
        while len(event["Records"]) < count:
            event["Records"] += self.mapping.event(count - len(event["Records"]))["Records"]
        return event

    def ran(self) -> list[int]:
        path = self.folder / "ran"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def function(tmp_path: Path, emulator_endpoint: str) -> Iterator[Function]:
    made = Function(tmp_path, emulator_endpoint)
    yield made
    made.runtime.close()
    while CLIENTS:
        CLIENTS.pop().close()


def test_a_function_in_a_process_of_its_own_runs_what_comes_invocation_by_invocation(function: Function) -> None:
    pids = set()
    for numbers in ((1, 2, 3), (4,), (5, 6)):
        function.defer(*numbers)
        event = function.events(len(numbers))
        answer = function.runtime.invoke(event)
        assert answer is not None
        assert function.mapping.told(event, answer) == []
        assert function.runtime.process is not None
        pids.add(function.runtime.process.pid)
    assert sorted(function.ran()) == [1, 2, 3, 4, 5, 6]
    assert len(pids) == 1
    assert function.mapping.counts() == (0, 0)
    assert "SUCCESS note" in (function.folder / "log").read_text()  # where CloudWatch takes it from


def test_an_invocation_that_lambda_cuts_off_repeats_only_what_had_not_ended(function: Function) -> None:
    function.runtime._env["FNQUEUE_CONCURRENCY"] = "2"
    function.defer(-1, 1, 2, 3)
    event = function.events(4)
    answer = function.runtime.invoke(event, seconds=6)
    assert answer is None  # so Lambda deletes nothing
    assert sorted(function.ran()) == [-1, 1, 2, 3]
    assert function.mapping.counts() == (0, 1)  # but those that ended are gone
    (function.folder / "go on").touch()
    (left,) = [record for record in event["Records"] if record["messageId"] not in gone(function, event)]
    function.sqs.change_message_visibility(
        QueueUrl=function.url, ReceiptHandle=left["receiptHandle"], VisibilityTimeout=0
    )
    again = function.events(1)
    answer = function.runtime.invoke(again)
    assert answer is not None
    assert function.mapping.told(again, answer) == []
    assert sorted(function.ran()) == [-1, -1, 1, 2, 3]
    assert function.mapping.counts() == (0, 0)


def gone(function: Function, event: Event) -> set[str]:
    """Of whose message the queue knows nothing any more."""
    found = set()
    for record in event["Records"]:
        try:
            function.sqs.change_message_visibility(
                QueueUrl=function.url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=30
            )
        except function.sqs.exceptions.ClientError:
            found.add(record["messageId"])
    return found
