"""FIFO queues, and fair ones, through boto3 over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.clients import bodies, put, put_in_order, refused, row, take

INVALID = "InvalidParameterValue"


def given(messages: list[dict[str, Any]]) -> list[str]:
    return bodies({"Messages": messages})


@row("M6", "M7", "M8")
def test_what_a_fifo_queue_needs_and_does_not_take(sqs: Any, fifo: str) -> None:
    send = {"QueueUrl": fifo, "MessageBody": "a"}
    error = refused(sqs.send_message, **send)
    assert (error.code, error.text) == (
        INVALID,
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    )
    error = refused(sqs.send_message, MessageDeduplicationId="d", **send)
    assert (error.code, error.text) == ("MissingParameter", "The request must contain the parameter MessageGroupId.")
    named = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    error = refused(sqs.send_message, DelaySeconds=2, **named, **send)
    assert error.text == (
        "Value 2 for parameter DelaySeconds is invalid. "
        "Reason: The request include parameter that is not valid for this queue type."
    )
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"DelaySeconds": "60"})
    sqs.send_message(DelaySeconds=0, **named, **send)
    assert take(sqs, fifo) == []


@row("M7", "M8")
def test_a_fifo_batch_that_lacks_one_group_is_refused_whole(sqs: Any, fifo: str) -> None:
    good = {"Id": "1", "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "1"}
    for missing in ("MessageGroupId", "MessageDeduplicationId"):
        bad = {name: value for name, value in {**good, "Id": "2"}.items() if name != missing}
        assert refused(sqs.send_message_batch, QueueUrl=fifo, Entries=[good, bad]).code == INVALID
    assert take(sqs, fifo) == []


@row("M1", "F2", "F7", "R8", "D5")
def test_a_duplicate_has_the_first_ones_id_and_number(sqs: Any, fifo: str) -> None:
    send = {"QueueUrl": fifo, "MessageGroupId": "g"}
    first = sqs.send_message(MessageBody="a", MessageDeduplicationId="1", **send)
    twice = sqs.send_message(MessageBody="b", MessageDeduplicationId="1", **send)
    after = sqs.send_message(MessageBody="c", MessageDeduplicationId="2", **send)
    assert (twice["MessageId"], twice["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    assert len(first["SequenceNumber"]) == 20
    assert int(after["SequenceNumber"]) > int(first["SequenceNumber"])
    messages = take(sqs, fifo, AttributeNames=["All"])
    assert given(messages) == ["a", "c"]
    system = messages[0]["Attributes"]
    assert (system["MessageGroupId"], system["MessageDeduplicationId"]) == ("g", "1")
    assert system["SequenceNumber"] == first["SequenceNumber"]


@row("F6", "R8")
def test_content_deduplicates_by_the_body_alone(sqs: Any, fifo: str) -> None:
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"ContentBasedDeduplication": "true"})
    put(sqs, fifo, "same", MessageGroupId="g")
    put(sqs, fifo, "same", MessageGroupId="g", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    put(sqs, fifo, "other", MessageGroupId="g", MessageDeduplicationId=hashlib.sha256(b"same").hexdigest())
    put(sqs, fifo, "same", MessageGroupId="g", MessageDeduplicationId="own")
    messages = take(sqs, fifo, AttributeNames=["MessageDeduplicationId"])
    ids = [message["Attributes"]["MessageDeduplicationId"] for message in messages]
    assert ids == [hashlib.sha256(b"same").hexdigest(), "own"]


@row("F3", "F4", "F5")
def test_the_scope_says_whether_another_group_knows_a_deduplication_id(sqs: Any, fifo: str) -> None:
    put_in_order(sqs, fifo, "x", group="a")
    put_in_order(sqs, fifo, "x", group="b")
    assert len(take(sqs, fifo)) == 1
    scoped = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName="scoped.fifo", Attributes=scoped)["QueueUrl"]
    for group in ("a", "b", "a"):
        put_in_order(sqs, url, "x", group=group)
    assert len(take(sqs, url)) == 2


@row("F1")
def test_a_deduplication_id_is_known_for_five_minutes_from_the_first_send(
    sqs: Any, fifo: str, turn: Callable[[float], None]
) -> None:
    put_in_order(sqs, fifo, "a")
    (message,) = take(sqs, fifo)
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=message["ReceiptHandle"])
    turn(298)
    put_in_order(sqs, fifo, "a")
    turn(4)
    assert take(sqs, fifo) == []
    put_in_order(sqs, fifo, "a")
    assert given(take(sqs, fifo)) == ["a"]


@row("B5", "F8", "F9", "F10")
def test_groups_come_in_order_one_after_the_other_and_lock(sqs: Any, fifo: str) -> None:
    entries = [
        {"Id": text, "MessageBody": text, "MessageGroupId": text[0], "MessageDeduplicationId": text}
        for text in ("a1", "b1", "a2", "a3")
    ]
    sqs.send_message_batch(QueueUrl=fifo, Entries=entries)
    first = take(sqs, fifo, 2)
    assert given(first) == ["a1", "a2"]
    put_in_order(sqs, fifo, "a4")
    assert given(take(sqs, fifo)) == ["b1"]
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first[0]["ReceiptHandle"])
    assert take(sqs, fifo) == []
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first[1]["ReceiptHandle"])
    assert given(take(sqs, fifo)) == ["a3", "a4"]


@row("F11", "F12")
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_a_hidden_message_blocks_what_is_behind_it_only(
    sqs: Any, fifo: str, turn: Callable[[float], None], hidden: int
) -> None:
    put_in_order(sqs, fifo, "a1", "a2", "a3")
    messages = take(sqs, fifo, VisibilityTimeout=1)
    handle = messages[hidden]["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=fifo, ReceiptHandle=handle, VisibilityTimeout=30)
    turn(2)
    assert given(take(sqs, fifo)) == ["a1", "a2", "a3"][:hidden]


@row("V6", "V7")
def test_an_expired_receipt_deletes_nothing_and_an_extended_one_does(
    sqs: Any, fifo: str, turn: Callable[[float], None]
) -> None:
    put_in_order(sqs, fifo, "a1", "b1")
    expired, extended = (message["ReceiptHandle"] for message in take(sqs, fifo, VisibilityTimeout=1))
    sqs.change_message_visibility(QueueUrl=fifo, ReceiptHandle=extended, VisibilityTimeout=30)
    turn(2)
    error = refused(sqs.delete_message, QueueUrl=fifo, ReceiptHandle=expired)
    assert (
        error.text == f"Value {expired} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    )
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=extended)
    turn(60)
    assert given(take(sqs, fifo)) == ["a1"]


@row("G1", "F14")
def test_purging_frees_groups_and_deduplication_ids(sqs: Any, fifo: str) -> None:
    put_in_order(sqs, fifo, "a1", "a2")
    take(sqs, fifo, 1)
    sqs.purge_queue(QueueUrl=fifo)
    put_in_order(sqs, fifo, "a1")
    assert given(take(sqs, fifo)) == ["a1"]


@row("R14", "L16")
def test_the_same_attempt_gets_the_same_messages_while_none_was_touched(
    sqs: Any, fifo: str, queue: str, turn: Callable[[float], None]
) -> None:
    put_in_order(sqs, fifo, "a1", "a2")
    first = take(sqs, fifo, ReceiveRequestAttemptId="try", VisibilityTimeout=20)
    turn(15)
    again = take(sqs, fifo, ReceiveRequestAttemptId="try", VisibilityTimeout=20)
    assert again == first
    turn(15)  # hidden anew
    assert take(sqs, fifo, ReceiveRequestAttemptId="other") == []
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first[0]["ReceiptHandle"])
    assert take(sqs, fifo, ReceiveRequestAttemptId="try") == []
    for url, wrong in ((queue, "x"), (fifo, "x" * 129), (fifo, "a b")):
        assert refused(sqs.receive_message, QueueUrl=url, ReceiveRequestAttemptId=wrong).code == INVALID


@row("F13")
def test_a_delayed_group_waits_for_its_head_and_keeps_its_order(
    sqs: Any, fifo: str, turn: Callable[[float], None]
) -> None:
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"DelaySeconds": "10"})
    put_in_order(sqs, fifo, "a1")
    turn(5)
    put_in_order(sqs, fifo, "a2")
    assert take(sqs, fifo) == []
    turn(6)
    assert given(take(sqs, fifo, 1, VisibilityTimeout=0)) == ["a1"]
    turn(5)
    assert given(take(sqs, fifo)) == ["a1", "a2"]


# ------------------------------------------------------------------ fair queues


def flood(sqs: Any, queue: str, count: int, tenant: str) -> None:
    for start in range(0, count, 10):
        entries = [{"Id": str(i), "MessageBody": f"{tenant}{start + i}", "MessageGroupId": tenant} for i in range(10)]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)


@row("Q1", "Q2", "Q3", "Q4", "Q5", "Q6")
def test_a_quiet_tenant_goes_before_a_noisy_ones_backlog(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    flood(sqs, queue, 300, "noisy")
    for _ in range(4):
        assert len(take(sqs, queue)) == 10  # no order and no lock
    put(sqs, queue, "quiet", MessageGroupId="other")
    put(sqs, queue, "alone")  # without a group: a tenant of its own
    turn(1)
    found = given(take(sqs, queue))
    assert {"quiet", "alone"} <= set(found)
    assert len(found) == 10  # and the noisy one flows on


@row("Q3")
def test_a_tenant_with_few_in_flight_is_not_noisy(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    flood(sqs, queue, 50, "busy")
    take(sqs, queue)
    put(sqs, queue, "last", MessageGroupId="other")
    turn(1)
    assert "last" not in given(take(sqs, queue))


@row("Q4")
def test_of_noisy_tenants_the_one_with_fewest_in_flight_goes_first(
    sqs: Any, queue: str, turn: Callable[[float], None]
) -> None:
    flood(sqs, queue, 60, "loud")
    for _ in range(5):
        take(sqs, queue)
    flood(sqs, queue, 50, "less")
    turn(1)
    for _ in range(3):
        take(sqs, queue)  # quiet so far, it gets its thirty
    turn(1)
    assert {text[:4] for text in given(take(sqs, queue))} == {"less"}
