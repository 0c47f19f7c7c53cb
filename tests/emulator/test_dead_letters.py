"""Dead letters and the tasks that move them back, through boto3 over HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.clients import arn, attributes, bodies, put, put_in_order, redrive_to, refused, row, take


@pytest.fixture
def dead(sqs: Any, queue: str) -> str:
    """The dead-letter queue of `queue`, after one receive."""
    url = str(sqs.create_queue(QueueName="dead")["QueueUrl"])
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": redrive_to(sqs, url)})
    return url


def bury(sqs: Any, url: str) -> None:
    while take(sqs, url, VisibilityTimeout=0):
        pass


@row("D2", "D3", "D4", "R8")
def test_a_message_received_too_often_moves_at_the_next_receive_and_stays_itself(
    sqs: Any, queue: str, dead: str
) -> None:
    given = {"a": {"DataType": "Number", "StringValue": "1"}}
    put(sqs, queue, "poison", MessageAttributes=given)
    (first,) = take(sqs, queue, VisibilityTimeout=0, AttributeNames=["All"])
    assert take(sqs, dead) == []
    assert take(sqs, queue) == []
    (message,) = take(sqs, dead, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert (message["MessageId"], message["Body"], message["MessageAttributes"]) == (
        first["MessageId"],
        "poison",
        given,
    )
    system = message["Attributes"]
    assert system["DeadLetterQueueSourceArn"] == arn(sqs, queue)
    assert system["ApproximateReceiveCount"] == "2"
    assert system["SentTimestamp"] == first["Attributes"]["SentTimestamp"]


@row("D4", "D5", "F14")
def test_a_fifo_message_gets_a_new_time_and_its_id_for_deduplication(
    sqs: Any, fifo: str, turn: Callable[[float], None]
) -> None:
    dead = sqs.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"RedrivePolicy": redrive_to(sqs, dead)})
    put_in_order(sqs, fifo, "a1", "a2")
    (first,) = take(sqs, fifo, 1, VisibilityTimeout=0, AttributeNames=["All"])
    turn(5)
    assert bodies({"Messages": take(sqs, fifo)}) == ["a2"]
    (message,) = take(sqs, dead, AttributeNames=["All"])
    system = message["Attributes"]
    assert (system["MessageGroupId"], system["MessageDeduplicationId"]) == ("a", first["MessageId"])
    assert int(system["SentTimestamp"]) >= int(first["Attributes"]["SentTimestamp"]) + 5000


def test_a_dead_letter_queue_that_is_gone_takes_nothing(sqs: Any, queue: str, dead: str) -> None:
    sqs.delete_queue(QueueUrl=dead)
    put(sqs, queue, "poison")
    for _ in range(3):
        assert len(take(sqs, queue, VisibilityTimeout=0)) == 1


def test_a_dead_letter_wakes_who_waits_for_it(sqs: Any, queue: str, dead: str) -> None:
    import threading

    put(sqs, queue, "poison")
    take(sqs, queue, VisibilityTimeout=0)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(take(sqs, dead, WaitTimeSeconds=20)))
    thread.start()
    thread.join(0.3)
    take(sqs, queue)
    thread.join(10)
    assert bodies({"Messages": found}) == ["poison"]


def tasks(sqs: Any, source: str, count: int = 10) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sqs.list_message_move_tasks(SourceArn=source, MaxResults=count).get("Results", [])
    return found


def ended(sqs: Any, source: str) -> dict[str, Any]:
    until = time.monotonic() + 20
    while (task := tasks(sqs, source)[0])["Status"] in ("RUNNING", "CANCELLING") and time.monotonic() < until:
        time.sleep(0.02)
    return task


@row("T4", "T5", "T8")
def test_dead_letters_go_back_to_where_they_came_from_as_new_messages(sqs: Any, queue: str, dead: str) -> None:
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=other, Attributes={"RedrivePolicy": redrive_to(sqs, dead)})
    before = {}
    for url in (queue, other):
        put(sqs, url, url)
        before[url] = take(sqs, url, VisibilityTimeout=0)[0]["MessageId"]
        bury(sqs, url)
    source = arn(sqs, dead)
    sqs.start_message_move_task(SourceArn=source)
    task = ended(sqs, source)
    assert {name: value for name, value in task.items() if name != "StartedTimestamp"} == {
        "Status": "COMPLETED",
        "SourceArn": source,
        "ApproximateNumberOfMessagesMoved": 2,
        "ApproximateNumberOfMessagesToMove": 2,
    }
    assert task["StartedTimestamp"] > 1e12  # milliseconds
    for url in (queue, other):
        (message,) = take(sqs, url, AttributeNames=["All"])
        assert message["Body"] == url
        assert message["MessageId"] != before[url]
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"


@row("T1", "T2")
def test_what_cannot_be_moved_is_refused(sqs: Any, queue: str, dead: str) -> None:
    source = arn(sqs, dead)
    error = refused(sqs.start_message_move_task, SourceArn=source + "x")
    assert (error.code, error.status) == ("ResourceNotFoundException", 404)
    assert error.text == "The resource that you specified for the SourceArn parameter doesn't exist."
    error = refused(sqs.start_message_move_task, SourceArn=source, DestinationArn="nonsense")
    assert error.text == "The resource that you specified for the DestinationArn parameter doesn't exist."
    error = refused(sqs.start_message_move_task, SourceArn=arn(sqs, queue))
    assert (error.code, error.text) == (
        "InvalidParameterValue",
        "Source queue must be configured as a Dead Letter Queue.",
    )
    for wrong in (0, 501):
        call = {"SourceArn": source, "MaxNumberOfMessagesPerSecond": wrong}
        assert refused(sqs.start_message_move_task, **call).code == "InvalidParameterValue"


@row("T3", "T5", "T6", "T7", "L23")
def test_a_slow_task_can_be_cancelled_and_excludes_another(sqs: Any, queue: str, dead: str) -> None:
    put(sqs, queue, *map(str, range(20)))
    bury(sqs, queue)
    source, destination = arn(sqs, dead), arn(sqs, queue)
    started = sqs.start_message_move_task(SourceArn=source, DestinationArn=destination, MaxNumberOfMessagesPerSecond=1)
    decoded = json.loads(base64.b64decode(started["TaskHandle"]))
    assert (set(decoded), decoded["sourceArn"]) == ({"taskId", "sourceArn"}, source)
    (task,) = tasks(sqs, source)
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", started["TaskHandle"])
    assert (task["DestinationArn"], task["MaxNumberOfMessagesPerSecond"]) == (destination, 1)
    error = refused(sqs.start_message_move_task, SourceArn=source)
    assert error.text.startswith("There is already a task running.")
    moved = sqs.cancel_message_move_task(TaskHandle=started["TaskHandle"])["ApproximateNumberOfMessagesMoved"]
    task = ended(sqs, source)
    assert task["Status"] == "CANCELLED"
    assert "TaskHandle" not in task
    assert moved <= task["ApproximateNumberOfMessagesMoved"] < 20
    error = refused(sqs.cancel_message_move_task, TaskHandle=started["TaskHandle"])
    assert (error.code, error.text, error.status) == ("ResourceNotFoundException", "Task does not exist.", 404)
    error = refused(sqs.cancel_message_move_task, TaskHandle="garbage!")
    assert (error.code, error.text) == ("InvalidParameterValue", "Value for parameter TaskHandle is invalid.")


@row("T5", "T6")
def test_a_task_whose_destination_is_gone_fails_and_says_so(sqs: Any, queue: str, dead: str) -> None:
    put(sqs, queue, *map(str, range(5)))
    bury(sqs, queue)
    source = arn(sqs, dead)
    destination = sqs.create_queue(QueueName="destination")["QueueUrl"]
    sqs.start_message_move_task(SourceArn=source, DestinationArn=arn(sqs, destination), MaxNumberOfMessagesPerSecond=2)
    sqs.delete_queue(QueueUrl=destination)
    task = ended(sqs, source)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
    left = attributes(sqs, dead, "ApproximateNumberOfMessages")["ApproximateNumberOfMessages"]
    assert int(left) == 5 - task["ApproximateNumberOfMessagesMoved"]
    sqs.start_message_move_task(SourceArn=source)
    assert ended(sqs, source)["Status"] == "COMPLETED"
    assert len(tasks(sqs, source)) == 2
    assert len(sqs.list_message_move_tasks(SourceArn=source)["Results"]) == 1
    for wrong in (0, 11):
        assert refused(sqs.list_message_move_tasks, SourceArn=source, MaxResults=wrong)
