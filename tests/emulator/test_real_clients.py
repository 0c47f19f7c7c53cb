"""Other people's clients, unmodified: they send, receive, retry, delay and delete, and leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.clients import client
from tests.servers import EmulatorProcess

HERE = Path(__file__).resolve().parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmulatorProcess]:
    server = EmulatorProcess(tmp_path / "emulator.db")
    yield server
    assert server.terminate() == 0


def queues(server: EmulatorProcess) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server.endpoint}/_queues") as answer:
        found: list[dict[str, Any]] = json.load(answer)["queues"]
        return found


def is_empty(server: EmulatorProcess) -> bool:
    return all(not one[kind] for one in queues(server) for kind in ("visible", "in_flight", "delayed"))


def environment_for(server: EmulatorProcess) -> dict[str, str]:
    return {
        **os.environ,
        "EMULATOR": server.endpoint,
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": "123456789012",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.mark.system
@pytest.mark.parametrize(("library", "file"), [("celery", "celery_app.py"), ("dramatiq_sqs", "dramatiq_app.py")])
def test_a_task_queue_of_others_runs_on_it(server: EmulatorProcess, tmp_path: Path, library: str, file: str) -> None:
    pytest.importorskip(library)
    if library == "celery":
        pytest.importorskip("pycurl")  # kombu's SQS transport
    environment = environment_for(server)
    notes = tmp_path / "notes"
    notes.touch()
    command = [sys.executable, "-W", "ignore", str(HERE / file)]
    subprocess.run([*command, "send", str(notes)], env=environment, check=True, capture_output=True, timeout=60)
    assert sum(one["visible"] + one["delayed"] for one in queues(server)) == 13
    worker = subprocess.Popen([*command, "work"], env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while (len(notes.read_text().split()) < 13 or not is_empty(server)) and time.monotonic() < until:
            time.sleep(0.1)
        assert sorted(map(int, notes.read_text().split())) == list(range(13))
        assert is_empty(server)
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.system
def test_the_aws_cli_sends_receives_hides_and_deletes(server: EmulatorProcess) -> None:
    pytest.importorskip("awscli")
    environment = environment_for(server)

    def aws(*arguments: str) -> Any:
        command = [sys.executable, "-W", "ignore", "-m", "awscli", "--endpoint-url", server.endpoint, "sqs", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    url = aws("create-queue", "--queue-name", "cli", "--attributes", "VisibilityTimeout=60")["QueueUrl"]
    given = '{"n": {"DataType": "Number", "StringValue": "1"}}'
    aws("send-message", "--queue-url", url, "--message-body", "é", "--message-attributes", given)
    asked = ("--wait-time-seconds", "5", "--attribute-names", "All", "--message-attribute-names", "All")
    (message,) = aws("receive-message", "--queue-url", url, *asked)["Messages"]
    assert (message["Body"], message["MessageAttributes"]) == ("é", json.loads(given))
    handle = ("--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    aws("change-message-visibility", *handle, "--visibility-timeout", "120")
    aws("delete-message", *handle)
    assert aws("list-queues")["QueueUrls"] == [url]
    assert is_empty(server)


@pytest.mark.system
def test_the_javascript_sdk_and_sqs_consumer_run_on_it(server: EmulatorProcess, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js and npm")
    for file in (HERE / "javascript").iterdir():
        shutil.copy(file, tmp_path)
    install = [npm, "install", "--no-audit", "--no-fund", "--silent", "--no-package-lock"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=200)
    done = subprocess.run(
        [node, "--no-warnings", "consume.mjs"],
        cwd=tmp_path,
        env=environment_for(server),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"refused": "QueueDoesNotExist", "failed": True, "got": [*map(str, range(9)), "é"]}
    assert is_empty(server)


def test_on_ipv6_it_says_a_url_that_clients_can_read(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = EmulatorProcess(tmp_path / "emulator.db", "--host", "::1")
    assert server.endpoint.startswith("http://[::1]:")
    url = client(server.endpoint, "1" * 12).create_queue(QueueName="q")["QueueUrl"]
    assert url == f"{server.endpoint}/{'1' * 12}/q"
    server.end()
