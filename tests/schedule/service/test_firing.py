"""What fires, when, and what is sent: on the real engine, with a clock that we turn."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fnqueue.broker.embedded.service import Address
from fnqueue.clock import ManualClock
from fnqueue.errors import BrokerRefused
from fnqueue.schedule.service import members as m
from fnqueue.schedule.service import rows
from tests.emulator.clients import row
from tests.schedule.service.world import PLACE, TIME, World

# The clock begins at 2026-01-01T00:00:00Z.
BEGIN = 1_767_225_600


def times(*clock: str) -> list[str]:
    return [f"2026-01-01T{each}Z" for each in clock]


# ------------------------------------------------------------------ when


@row("X6", "S16", "G12")
def test_a_rate_fires_at_once_and_then_every_so_often(world: World) -> None:
    world.make("rate(10 minutes)")
    world.turn(0)
    assert world.bodies() == times("00:00:00")
    world.turn(599)
    assert world.bodies() == []
    world.turn(1)
    assert world.bodies() == times("00:10:00")


@row("X6", "S6")
def test_a_rate_with_a_start_fires_there_first_and_until_its_end_both_included(world: World) -> None:
    world.make("rate(1 hour)", start_date=float(BEGIN + 90), end_date=float(BEGIN + 90 + 7200))
    world.turn(5 * 3600)
    assert world.bodies() == times("00:01:30", "01:01:30", "02:01:30")
    assert world.tick() is None


@row("X6", "Z6")
def test_a_day_of_a_rate_has_24_hours_across_a_clock_change() -> None:
    world = World(clock=ManualClock(datetime(2026, 3, 28, 11, 30, tzinfo=UTC).timestamp()))
    world.queue()
    world.make("rate(1 day)", schedule_expression_timezone="Europe/Berlin")
    world.turn(2 * 86_400)
    assert world.bodies() == [f"2026-03-{day}T11:30:00Z" for day in (28, 29, 30)]


@row("N2")
def test_a_tick_that_is_late_loses_nothing_and_counts_from_the_nominal_time(world: World) -> None:
    world.make("rate(10 minutes)", name="a")
    world.make("cron(5/20 * * * ? *)", name="b")
    world.turn(3600 + 7)
    tens, fives = [f"00:{n}0:00" for n in range(6)], ["00:05:00", "00:25:00", "00:45:00"]
    assert world.bodies() == times(*sorted([*tens, *fives, "01:00:00"]))
    world.turn(10 * 60)
    assert world.bodies() == times("01:05:00", "01:10:00")


@row("S6", "X1")
def test_a_one_time_schedule_fires_once_whatever_its_dates(world: World) -> None:
    world.make("at(2026-01-01T01:00:00)", start_date=float(BEGIN + 7200), end_date=float(BEGIN + 60))
    world.turn(3 * 86_400)
    assert world.bodies() == times("01:00:00")


def test_a_one_time_schedule_of_this_minute_fires_and_an_older_one_never(world: World) -> None:
    world.clock.advance(seconds=100)
    world.make("at(2026-01-01T00:01:00)", name="now")
    world.make("at(2026-01-01T00:00:30)", name="past")
    world.turn(1)
    assert world.bodies() == times("00:01:00")
    assert world.tick() is None


@row("S5", "N5")
def test_a_disabled_one_does_not_fire_and_an_enabled_one_catches_nothing_up(world: World) -> None:
    world.make("cron(0/10 * * * ? *)", state="DISABLED")
    world.turn(3605)
    world.update("cron(0/10 * * * ? *)", state="ENABLED")
    world.turn(594)
    assert world.bodies() == []
    world.turn(1)
    assert world.bodies() == times("01:10:00")
    world.update("cron(0/10 * * * ? *)", state="DISABLED")
    world.turn(86_400)
    assert world.bodies() == []


@row("N5", "X6")
def test_a_changed_rate_counts_from_the_change(world: World) -> None:
    world.make("rate(10 minutes)")
    world.turn(60)
    world.update("rate(10 minutes)", description="new")
    world.turn(599)
    assert world.bodies() == times("00:00:00")
    world.turn(1)
    assert world.bodies() == times("00:11:00")


def test_a_change_between_a_time_and_its_tick_does_not_lose_it_nor_repeat_it(world: World) -> None:
    world.make("cron(0/10 * * * ? *)", name="cron")
    world.make("rate(10 minutes)", name="rate")
    world.make("rate(10 minutes)", name="start", start_date=float(BEGIN))
    world.update("rate(10 minutes)", name="rate", description="new")
    world.update("rate(10 minutes)", name="start", description="new", start_date=float(BEGIN))
    world.turn(0)
    assert world.bodies() == times("00:00:00") * 3
    world.clock.advance(seconds=600.25)
    world.update("cron(0/10 * * * ? *)", name="cron", description="new")
    world.turn(0)
    world.update("cron(0/10 * * * ? *)", name="cron", description="newer")
    world.update("rate(10 minutes)", name="start", description="newer", start_date=float(BEGIN))
    world.turn(30)
    assert world.bodies() == times("00:10:00") * 3


def test_one_that_is_deleted_while_it_is_due_does_not_fire(world: World) -> None:
    world.make("rate(1 hour)")
    world.service.delete(PLACE, m.OfSchedule(name="s"))
    world.turn(86_400)
    assert world.bodies() == []


@row("S8", "G14")
def test_in_a_flexible_window_each_time_fires_once_at_some_moment_of_it(world: World) -> None:
    for number in range(40):
        world.make("cron(0 * * * ? *)", name=f"s{number}", minutes=30)
    seen: dict[float, int] = {}
    world.turn(3600 - 1)  # the one of 00:00
    assert world.bodies() == times("00:00:00") * 40
    while world.clock.now() < BEGIN + 2 * 3600 - 60:
        world.turn(60)
        for body in world.bodies():
            assert body == "2026-01-01T01:00:00Z"
            seen[world.clock.now()] = seen.get(world.clock.now(), 0) + 1
    assert sum(seen.values()) == 40
    assert max(seen) <= BEGIN + 3600 + 1800 + 60
    assert len(seen) > 10, "they are spread"


@row("S8", "N2")
def test_a_window_that_is_wider_than_the_rate_suppresses_no_time(world: World) -> None:
    world.make("rate(1 minute)", minutes=15)
    world.turn(3600 + 15 * 60)
    fired = world.bodies()
    assert fired[:61] == [f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(61)]


@row("K9", "N4")
def test_an_expression_without_any_time_is_kept_and_never_fires(world: World) -> None:
    world.make("cron(15 10 ? * 6L 2002-2005)")
    assert world.tick() is None
    world.make("cron(0 9 ? 2 6#5 *)", name="rare")
    due_at = world.tick()
    assert due_at is not None
    assert datetime.fromtimestamp(due_at, UTC) == datetime(2036, 2, 29, 9, tzinfo=UTC)


def test_a_tick_and_a_list_read_indexes_and_no_table(world: World) -> None:
    def plans(connection: Any) -> list[str]:
        asked: list[str] = []
        options: dict[str, Any] = {"prefix": "a", "state": None, "after": ("g", "a"), "count": 10}
        connection.set_trace_callback(asked.append)
        rows.earliest(connection)
        rows.overdue(connection, 1.0, (0.0, 0), 10)
        rows.page(connection, PLACE, group=None, **options)
        rows.page(connection, PLACE, group="g", **options)
        rows.find(connection, PLACE, "g", "a")
        rows.of_group(connection, PLACE.full, "g", 10)
        connection.set_trace_callback(None)
        return [row[3] for sql in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]

    tables = [plan for plan in world.database.write(plans) if "scheduler_" in plan]
    assert len(tables) >= 7
    assert [plan for plan in tables if "INDEX" not in plan] == []


# ------------------------------------------------------------------ after the last time


@row("S9", "S10")
def test_what_deletes_itself_goes_with_its_last_invocation(world: World) -> None:
    world.make("at(2026-01-01T01:00:00)", name="once", action_after_completion="DELETE")
    end = float(BEGIN + 2 * 3600 + 60)
    world.make("rate(1 hour)", name="ends", end_date=end, action_after_completion="DELETE")
    world.make("cron(0 * * * ? 2026)", name="year", action_after_completion="DELETE")
    world.turn(3600)
    assert world.names() == ["ends", "year"]
    world.turn(3600)
    assert world.names() == ["year"]
    world.turn(366 * 86_400)
    assert world.names() == ["year"], "without an EndDate none is ever deleted"
    assert world.tick() is None


@row("S9", "S10")
def test_what_could_not_be_sent_deletes_itself_too(world: World) -> None:
    world.make("at(2026-01-01T01:00:00)", action_after_completion="DELETE", target={"arn": missing()})
    world.turn(3600)
    assert world.names() == []


@row("S11")
def test_a_finished_one_stays_listed(world: World) -> None:
    world.make("at(2026-01-01T01:00:00)")
    world.turn(3600)
    (shown,) = world.service.page(PLACE, m.ListSchedules(state="ENABLED")).found
    assert shown.name == "s"


# ------------------------------------------------------------------ after a time without a server


@row("N1")
def test_after_a_night_without_a_server_a_one_time_schedule_fires_and_recurring_ones_skip(world: World) -> None:
    world.make("at(2026-01-01T01:00:00)", name="once")
    world.make("rate(10 minutes)", name="rate", start_date=float(BEGIN))
    world.make("cron(0 * * * ? *)", name="cron")
    world.make("at(2026-01-01T02:00:00)", name="off", state="DISABLED")
    world.turn(0)
    assert world.bodies() == times("00:00:00", "00:00:00")
    world.clock.advance(hours=8, seconds=65)
    world.restart()
    world.turn(0)
    assert world.bodies() == times("01:00:00")
    assert len([each for each in world.notes if "nobody was there" in each]) == 2
    world.turn(9 * 60)
    assert world.bodies() == times("08:10:00")


@row("N1")
def test_a_restart_within_the_minute_loses_nothing(world: World) -> None:
    world.make("rate(10 minutes)")
    world.turn(1)
    world.clock.advance(seconds=600 + 50)
    world.restart()
    world.turn(0)
    assert world.bodies() == times("00:00:00", "00:10:00")


@row("N1")
def test_a_thousand_overdue_ones_are_skipped_in_trips_and_what_is_over_is_deleted(world: World) -> None:
    for number in range(450):
        world.make("rate(10 minutes)", name=f"s{number}")
    end = float(BEGIN + 3600)
    world.make("rate(10 minutes)", name="ends", end_date=end, action_after_completion="DELETE")
    world.clock.advance(days=1, seconds=300)
    world.restart()
    world.turn(0)
    assert world.bodies() == []
    assert len(world.service.everywhere()) == 450
    world.turn(300)
    assert world.bodies() == ["2026-01-02T00:10:00Z"] * 450


# ------------------------------------------------------------------ what is sent


@row("G3")
def test_input_is_sent_verbatim(world: World) -> None:
    text = '{"n": 1,  "é": "\\u00e9"}\n<aws.scheduler.unknown> <other>'
    world.make(target={"input": text})
    world.turn(0)
    assert world.messages() == [(text, {})]


@row("G4")
def test_without_input_the_notification_is_sent(world: World) -> None:
    arn = world.make("at(2026-01-01T01:00:00)", target={"input": None})
    world.turn(3600)
    (body,) = world.bodies()
    said = json.loads(body)
    uuid.UUID(said.pop("id"))
    assert said == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "111111111111",
        "time": "2026-01-01T01:00:00Z",
        "region": "us-east-1",
        "resources": [arn],
        "detail": "{}",
    }


@row("G12")
def test_context_attributes_are_replaced_wherever_they_stand(world: World) -> None:
    names = ("schedule-arn", "scheduled-time", "execution-id", "attempt-number")
    text = "|".join(f"<aws.scheduler.{name}>" for name in names) + "|<aws.scheduler.attempt-number>"
    arn = world.make("at(2026-01-01T01:00:00)", target={"input": text})
    world.turn(3600)
    (body,) = world.bodies()
    assert re.fullmatch(re.escape(f"{arn}|2026-01-01T01:00:00Z|") + r"[0-9a-f]{16}\|1\|1", body)


@row("G3")
def test_on_a_fifo_queue_equal_inputs_within_five_minutes_are_one_message(world: World) -> None:
    arn = world.queue("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    parameters = m.SqsParameters(message_group_id="g")
    world.make("rate(1 minute)", name="same", target={"arn": arn, "input": "same", "sqs_parameters": parameters})
    world.make("rate(1 minute)", name="each", target={"arn": arn, "input": TIME, "sqs_parameters": parameters})
    world.turn(120)
    assert sorted(world.bodies("orders.fifo")) == [*times("00:00:00", "00:01:00", "00:02:00"), "same"]


@row("G3")
def test_a_fifo_queue_that_does_not_deduplicate_by_content_is_a_failure(world: World) -> None:
    arn = world.queue("orders.fifo", FifoQueue="true")
    dead = world.queue("dead")
    world.make(
        target={
            "arn": arn,
            "sqs_parameters": m.SqsParameters(message_group_id="g"),
            "dead_letter_config": m.DeadLetterConfig(arn=dead),
        }
    )
    world.turn(0)
    ((_, attributes),) = world.messages("dead")
    assert "ContentBasedDeduplication" in attributes["ERROR_MESSAGE"]


def test_a_standard_queue_s_message_may_have_a_group(world: World) -> None:
    world.make(target={"sqs_parameters": m.SqsParameters(message_group_id="tenant")})
    world.turn(0)
    received = world.queues.receive(Address(*PLACE, "orders"), count=1, visibility_seconds=1, attempt=None)
    assert received.messages[0][4] == "tenant"


@row("G6")
def test_a_universal_target_sends_the_request_that_its_input_is(world: World) -> None:
    request = {
        "QueueUrl": "https://sqs.us-east-1.amazonaws.com/111111111111/orders",
        "MessageBody": f"at {TIME}",
        "DelaySeconds": 5,
        "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "1"}},
    }
    target = {"arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "input": json.dumps(request)}
    world.make("at(2026-01-01T00:00:00)", target=target)
    world.turn(0)
    world.turn(4)
    assert world.messages() == []
    world.turn(1)
    assert world.messages() == [("at 2026-01-01T00:00:00Z", {"n Number": "1"})]


@row("G6")
def test_a_universal_target_gives_a_fifo_queue_its_deduplication_id(world: World) -> None:
    world.queue("orders.fifo", FifoQueue="true")
    request = {
        "QueueUrl": "http://localhost:9324/111111111111/orders.fifo",
        "MessageBody": "<aws.scheduler.execution-id>",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "<aws.scheduler.scheduled-time>",
    }
    target = {"arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "input": json.dumps(request)}
    world.make("rate(1 minute)", target=target)
    world.turn(60)
    assert len(world.bodies("orders.fifo")) == 2


@row("G16", "N3")
def test_two_tickers_on_one_file_send_each_time_once(tmp_path: Path) -> None:
    clock = ManualClock()
    one = World(tmp_path / "aws.db", clock)
    other = World(tmp_path / "aws.db", clock)
    one.queue()
    one.make("rate(1 minute)")
    for _ in range(30):
        other.turn(31)
        one.turn(31)
    fired = one.bodies()
    assert fired == [f"2026-01-01T00:{minute:02}:00Z" for minute in range(32)]


@pytest.mark.parametrize("broken", ["after the message", "before the commit"])
def test_a_crash_before_the_commit_sends_nothing_and_loses_nothing(tmp_path: Path, broken: str) -> None:
    """The transaction is one: it is broken off from outside, as a process' end does."""
    world = World(tmp_path / "aws.db")
    world.queue()
    world.make("at(2026-01-01T00:00:00)")

    class Killed(BaseException):
        pass

    def work(_: Any) -> None:
        world.service.tick()
        raise Killed

    with pytest.raises(Killed):
        world.database.write(work)
    world.database.close()
    again = World(tmp_path / "aws.db", world.clock)
    again.turn(0)
    assert again.bodies() == times("00:00:00")


def test_one_that_breaks_does_not_stop_the_others(world: World) -> None:
    world.make("rate(1 hour)", name="a")
    world.make("rate(1 hour)", name="b")
    # A newer fnqueue, or a hand, wrote what is no schedule.
    text = '{"ScheduleExpression":"rate(1 hour)","FlexibleTimeWindow":{"Mode":"OFF"}}'
    world.database.write(
        lambda connection: (
            connection.execute("UPDATE scheduler_schedule SET definition = ? WHERE name = 'a'", (text,)).rowcount
        )
    )
    world.turn(3600)
    assert world.bodies() == times("00:00:00", "01:00:00")
    assert any("schedule/default/a stopped" in note for note in world.notes)


# ------------------------------------------------------------------ what is not sent


def missing() -> str:
    return Address(*PLACE, "missing").arn


@row("G9", "G10", "G11")
def test_a_permanent_failure_goes_to_the_dead_letter_queue_at_once(world: World) -> None:
    dead = world.queue("dead")
    arn = world.make(
        "at(2026-01-01T01:00:00)", target={"arn": missing(), "dead_letter_config": m.DeadLetterConfig(arn=dead)}
    )
    world.turn(3600)
    ((body, attributes),) = world.messages("dead")
    assert body == "2026-01-01T01:00:00Z"
    assert re.fullmatch("[0-9a-f]{16}", attributes.pop("EXECUTION_ID"))
    assert attributes == {
        "ERROR_CODE": "QueueDoesNotExist",
        "ERROR_MESSAGE": "The specified queue does not exist.",
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": "0",
        "SCHEDULED_TIME": "2026-01-01T01:00:00Z",
        "SCHEDULE_ARN": arn,
        "TARGET_ARN": missing(),
    }
    assert "it is in its dead-letter queue dead" in world.notes[0]


@row("G2", "G15")
def test_a_target_that_is_not_served_is_told_when_it_fires(world: World) -> None:
    dead = world.queue("dead")
    function = "arn:aws:lambda:us-east-1:111111111111:function:f"
    world.make(name="a", target={"arn": function, "input": "{}", "dead_letter_config": m.DeadLetterConfig(arn=dead)})
    world.make(name="b", target={"arn": "arn:aws:scheduler:::aws-sdk:dynamodb:putItem", "input": "{}"})
    world.turn(0)
    ((body, attributes),) = world.messages("dead")
    assert (body, attributes["ERROR_CODE"]) == ("{}", "TargetNotServed")
    assert attributes["ERROR_MESSAGE"] == f"the emulator serves only SQS as a target, and not {function}"
    assert "schedule/default/b at 2026-01-01T00:00:00Z was not sent" in world.notes[1]
    assert "(it has no dead-letter queue)" in world.notes[1]


@row("G11")
def test_a_payload_that_the_dead_letter_queue_does_not_hold_is_cut(world: World) -> None:
    dead = world.queue("dead", MaximumMessageSize="2048")
    world.make(
        "at(2026-01-01T01:00:00)",
        target={"arn": missing(), "input": "é" * 3000, "dead_letter_config": m.DeadLetterConfig(arn=dead)},
    )
    world.turn(3600)
    ((body, attributes),) = world.messages("dead")
    assert attributes["IS_PAYLOAD_TRUNCATED"] == "true"
    assert "é" * 600 <= body < "é" * 1024


def test_without_a_queue_for_it_a_dead_letter_is_a_line_of_the_log_without_its_input(world: World) -> None:
    gone = m.DeadLetterConfig(arn=Address(*PLACE, "gone").arn)
    world.make(name="a", target={"arn": missing(), "input": "secret", "dead_letter_config": gone})
    world.turn(0)
    assert "and not to its dead-letter queue gone" in world.notes[0]
    assert "secret" not in world.notes[0]


def test_a_refused_change_leaves_the_schedule_as_it_was(world: World) -> None:
    world.make("rate(10 minutes)")
    with pytest.raises(BrokerRefused):
        world.update("rate(0 minutes)")
    world.turn(600)
    assert world.bodies() == times("00:00:00", "00:10:00")
