"""Real processes: killed, started again, two on one file; and other people's clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import HTTPClientError

from tests.emulator.clients import client, row, take
from tests.emulator.scheduler.words import Maker, at, queue_arn
from tests.servers import EmulatorProcess

pytestmark = pytest.mark.system

ACCOUNT = "1" * 12
TIME = "<aws.scheduler.scheduled-time>"


def both(server: EmulatorProcess) -> tuple[Any, Any]:
    return client(server.endpoint, ACCOUNT, service="scheduler"), client(server.endpoint, ACCOUNT)


def all_of(sqs: Any, url: str) -> list[str]:
    """What is there now."""
    found: list[str] = []
    while got := take(sqs, url, VisibilityTimeout=600):
        found += [message["Body"] for message in got]
    return found


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_between_the_answer_and_the_fire_it_loses_nothing(tmp_path: Path) -> None:
    """Clients make one-time schedules of the next seconds; the server is killed at once, again and again. What was
    answered fires, once each."""
    made: set[str] = set()
    server = EmulatorProcess(tmp_path / "emulator.db")
    both(server)[1].create_queue(QueueName="orders")
    for turn in range(4):
        threads = [
            threading.Thread(target=_make, args=(server.endpoint, f"{turn}-{number}", made)) for number in range(3)
        ]
        before = len(made)
        for thread in threads:
            thread.start()
        until(lambda before=before: len(made) >= before + 30)  # type: ignore[misc]
        server.kill()
        for thread in threads:
            thread.join()
        server = EmulatorProcess(tmp_path / "emulator.db")
    _, sqs = both(server)
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    fired: list[str] = []

    def is_done() -> bool:
        fired.extend(all_of(sqs, url))
        return made <= set(fired)

    until(is_done)
    assert server.terminate() == 0
    assert len(fired) == len(set(fired)), "none twice"
    assert len(made) >= 120


def _make(endpoint: str, prefix: str, made: set[str]) -> None:
    """Until the server is gone."""
    make = Maker(client(endpoint, ACCOUNT, service="scheduler", read_timeout=10), ACCOUNT)
    try:
        for number in range(10_000):
            name = f"{prefix}-{number}"
            make(at(int(time.time()) + number % 3), Name=name, Target={"Input": name}, ActionAfterCompletion="DELETE")
            made.add(name)
    except (HTTPClientError, BotoConnectionError):
        pass


@row("N3")
def test_two_processes_on_one_file_send_each_time_once(tmp_path: Path) -> None:
    one, other = (EmulatorProcess(tmp_path / "emulator.db") for _ in range(2))
    _, sqs = both(one)
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    begin = int(time.time()) + 2
    for server in (one, other):
        make = Maker(both(server)[0], ACCOUNT)
        for number in range(60):
            make(at(begin + number % 4), Name=f"{server.pid}-{number}", Target={"Input": f"{server.pid}-{number}"})
    fired: list[str] = []

    def is_done() -> bool:
        fired.extend(all_of(sqs, url))
        return len(fired) >= 120

    until(is_done)
    assert len(set(fired)) == len(fired) == 120
    assert one.terminate() == 0
    # What it had made would fire without it.
    Maker(client(other.endpoint, ACCOUNT, service="scheduler"), ACCOUNT)(at(int(time.time()) + 1), Name="after")
    sqs = both(other)[1]
    assert len(take(sqs, sqs.get_queue_url(QueueName="orders")["QueueUrl"], WaitTimeSeconds=10)) == 1
    assert other.terminate() == 0


def test_one_process_fires_what_another_one_made_before_it_was_killed(tmp_path: Path) -> None:
    killed, left = (EmulatorProcess(tmp_path / "emulator.db") for _ in range(2))
    scheduler, sqs = both(killed)
    sqs.create_queue(QueueName="orders")
    Maker(scheduler, ACCOUNT)(at(int(time.time()) + 1))
    killed.kill()
    sqs = both(left)[1]
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    until(lambda: bool(take(sqs, url)), 15)
    assert left.terminate() == 0


def test_a_group_whose_deletion_was_broken_off_is_deleted_by_the_next_process(tmp_path: Path) -> None:
    server = EmulatorProcess(tmp_path / "emulator.db")
    scheduler, _ = both(server)
    scheduler.create_schedule_group(Name="g")
    make = Maker(scheduler, ACCOUNT)
    for number in range(20):
        make(Name=f"s{number}", GroupName="g", State="DISABLED")
    server.kill()
    import sqlite3

    with sqlite3.connect(tmp_path / "emulator.db") as connection:
        connection.execute("UPDATE scheduler_group SET state = 'DELETING' WHERE name = 'g'")
    connection.close()
    server = EmulatorProcess(tmp_path / "emulator.db")
    scheduler, _ = both(server)
    until(lambda: [each["Name"] for each in scheduler.list_schedule_groups()["ScheduleGroups"]] == ["default"])
    assert scheduler.list_schedules()["Schedules"] == []
    assert server.terminate() == 0


def test_the_aws_cli_makes_shows_lists_and_deletes_a_schedule(tmp_path: Path) -> None:
    pytest.importorskip("awscli")
    server = EmulatorProcess(tmp_path / "emulator.db")
    url = both(server)[1].create_queue(QueueName="orders")["QueueUrl"]
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def aws(*arguments: str) -> Any:
        command = [sys.executable, "-W", "ignore", "-m", "awscli", "scheduler", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    target = {"Arn": queue_arn(ACCOUNT), "RoleArn": "arn:aws:iam::123456789012:role/r", "Input": TIME}
    window = ("--flexible-time-window", "Mode=OFF")
    group = aws("create-schedule-group", "--name", "g", "--tags", "Key=a,Value=b")["ScheduleGroupArn"]
    assert aws("list-tags-for-resource", "--resource-arn", group)["Tags"] == [{"Key": "a", "Value": "b"}]
    made = aws(
        *("create-schedule", "--name", "s", "--group-name", "g", "--schedule-expression", "rate(1 hour)", *window),
        *("--target", json.dumps(target)),
    )  # fmt: skip
    shown = aws("get-schedule", "--name", "s", "--group-name", "g")
    assert (shown["Arn"], shown["Target"]["Input"]) == (made["ScheduleArn"], TIME)
    (message,) = take(both(server)[1], url, WaitTimeSeconds=10)
    assert message["Body"].startswith("20")
    assert [each["Name"] for each in aws("list-schedules", "--group-name", "g")["Schedules"]] == ["s"]
    aws("delete-schedule", "--name", "s", "--group-name", "g")
    aws("delete-schedule-group", "--name", "g")
    assert server.terminate() == 0
