"""Schedules that really fire, over HTTP: by the machine's time, and by a clock that is turned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.clients import bodies, client, http_call, row, take
from tests.emulator.scheduler.words import Maker, at, queue_arn, rest, written
from tests.servers import EmulatorProcess

VECTORS = json.loads((Path(__file__).parents[2] / "schedule" / "cron_vectors.json").read_text())
INVALID = json.loads((Path(__file__).parents[2] / "schedule" / "cron_invalid.json").read_text())
TIME = "<aws.scheduler.scheduled-time>"


@row("K1", "K2", "K3", "K4", "K5", "K6", "K9", "X1", "X4")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['id']} {vector['expression']}")
def test_every_valid_expression_is_taken(scheduler: Any, make: Maker, vector: dict[str, Any]) -> None:
    make(vector["expression"], ScheduleExpressionTimezone=vector["timezone"], State="DISABLED")
    shown = scheduler.get_schedule(Name="s")
    assert (shown["ScheduleExpression"], shown["ScheduleExpressionTimezone"]) == (
        vector["expression"], vector["timezone"],
    )  # fmt: skip


@row("K10", "X1", "X4", "W13")
@pytest.mark.parametrize("text", [each["expression"] for each in INVALID])
def test_every_invalid_one_is_refused_and_echoed(emulator_endpoint: str, make: Maker, account: str, text: str) -> None:
    answer = rest(emulator_endpoint, "POST", "/schedules/s", make.members(text), account)
    assert answer.status == 400
    assert answer.headers["x-amzn-errortype"] == "ValidationException"
    assert answer.json == {"Message": f"Invalid Schedule Expression {text}."}


@row("G17", "S16")
def test_it_fires_within_a_second_of_its_time_into_the_poll_that_waits(
    sqs: Any, queue: str, make: Maker, now: Callable[[], float]
) -> None:
    due = int(now()) + 2
    make(at(due), Target={"Input": TIME})
    (message,) = take(sqs, queue, WaitTimeSeconds=10, AttributeNames=["SentTimestamp"])
    assert message["Body"] == written(due)
    assert 0 <= int(message["Attributes"]["SentTimestamp"]) - due * 1000 < 1000


def test_a_turned_clock_has_fired_what_was_due_when_it_answers(
    sqs: Any, queue: str, make: Maker, now: Callable[[], float], turn: Callable[[float], None]
) -> None:
    begin = int(now()) + 60
    make("rate(1 hour)", StartDate=begin, Target={"Input": TIME})
    turn(60 + 5 * 3600)
    assert bodies({"Messages": take(sqs, queue)}) == [written(begin + hour * 3600) for hour in range(6)]


def test_a_cron_in_a_zone_fires_by_its_wall_clock(
    sqs: Any, queue: str, make: Maker, turn: Callable[[float], None]
) -> None:
    make("cron(30 9 * * ? *)", ScheduleExpressionTimezone="Asia/Kolkata", Target={"Input": TIME})
    turn(86_400)
    (body,) = bodies({"Messages": take(sqs, queue)})
    assert body.endswith("T04:00:00Z")


@row("S9")
def test_one_that_deletes_itself_is_gone_after_its_fire(
    scheduler: Any, sqs: Any, queue: str, make: Maker, now: Callable[[], float], turn: Callable[[float], None]
) -> None:
    make(at(now() + 100), ActionAfterCompletion="DELETE")
    turn(101)
    assert len(take(sqs, queue)) == 1
    assert scheduler.list_schedules()["Schedules"] == []


@row("G11")
def test_a_dead_letter_has_its_attributes_for_any_client(
    sqs: Any, make: Maker, account: str, now: Callable[[], float], turn: Callable[[float], None]
) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    due = int(now()) + 50
    arn = make(at(due), Target={"Input": "what", "DeadLetterConfig": {"Arn": queue_arn(account, "dead")}})
    turn(51)
    (message,) = take(sqs, dead, MessageAttributeNames=["All"])
    assert message["Body"] == "what"
    attributes = message["MessageAttributes"]
    assert {each["DataType"] for each in attributes.values()} == {"String"}
    assert attributes["SCHEDULE_ARN"]["StringValue"] == arn
    assert attributes["SCHEDULED_TIME"]["StringValue"] == written(due)
    assert "EXHAUSTED_RETRY_CONDITION" not in attributes


def test_schedules_are_shown_to_those_who_look_after_them(
    emulator_endpoint: str, make: Maker, account: str, now: Callable[[], float]
) -> None:
    due = int(now()) + 5000
    make(at(due), Name="once", State="ENABLED")
    make("cron(0 9 * * ? *)", Name="off", State="DISABLED", ScheduleExpressionTimezone="Europe/Berlin")
    shown = [
        each for each in http_call(emulator_endpoint, "GET", "/_schedules").json["schedules"]
        if each["account"] == account
    ]  # fmt: skip
    assert [each["name"] for each in shown] == ["off", "once"]
    assert shown[0] == {
        "region": "us-east-1", "account": account, "group": "default", "name": "off", "state": "DISABLED",
        "expression": "cron(0 9 * * ? *)", "timezone": "Europe/Berlin", "target": queue_arn(account),
        "last": None, "next": None,
    }  # fmt: skip
    assert shown[1]["next"] == written(due)


# ------------------------------------------------------------------ what it costs


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.system
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_thousand_schedules_that_are_not_due_cost_nothing(tmp_path: Path) -> None:
    server = EmulatorProcess(tmp_path / "emulator.db")
    scheduler = client(server.endpoint, "1" * 12, service="scheduler")
    make = Maker(scheduler, "1" * 12)
    for number in range(1000):
        make("cron(0 0 1 1 ? 2199)", Name=f"s{number}")
    before = cpu_seconds(server.pid)
    time.sleep(5)  # a process of its own: its rest is measured
    assert cpu_seconds(server.pid) - before <= 0.05
    server.end()
