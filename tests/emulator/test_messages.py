"""Messages sent, received, hidden and deleted on standard queues, through boto3 over HTTP."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.clients import attributes, bodies, put, refused, row, take

INVALID = "InvalidParameterValue"
FOO = {"Foo": {"DataType": "String", "StringValue": "Bar"}}


def text(value: str, kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


# ------------------------------------------------------------------ send


@row("M1", "H1", "H2", "H3", "R11")
def test_a_send_answers_with_an_id_and_md5s(sqs: Any, queue: str) -> None:
    plain = sqs.send_message(QueueUrl=queue, MessageBody="message")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", plain["MessageId"])
    assert plain["MD5OfMessageBody"] == "78e731027d8fd50ed642340b7c9a63b3"
    assert not {"MD5OfMessageAttributes", "MD5OfMessageSystemAttributes", "SequenceNumber"} & set(plain)
    sent = sqs.send_message(QueueUrl=queue, MessageBody="é", MessageAttributes=FOO)
    assert sent["MD5OfMessageBody"] == hashlib.md5("é".encode()).hexdigest()
    assert sent["MD5OfMessageAttributes"] == "ae7155c6026991b6d54b11589678bf9c"


@row("H2", "H3", "H4")
@pytest.mark.parametrize(
    ("given", "digest"),
    [
        (
            {"General": text("Kenobi"), "Hello": text("There"), "Help.Me": text("Me")},
            "4c360f3fdafd970e05fae2f149d997f5",
        ),
        (
            {"WeeksOn": text("6", "Number"), "Author": text("John Grisham"), "Title": text("The Whistler")},
            "d25a6aea97eb8f585bfa92d314504a92",
        ),
        (
            {
                "attr1": {
                    "DataType": "Binary",
                    "BinaryValue": b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01",
                }
            },
            "8cbe4db156db8a94db8b801b7addb984",
        ),
    ],
)
def test_md5s_of_attributes_are_those_of_sqs(sqs: Any, queue: str, given: Any, digest: str) -> None:
    sent = sqs.send_message(QueueUrl=queue, MessageBody="a", MessageAttributes=given)
    assert sent["MD5OfMessageAttributes"] == digest
    (message,) = take(sqs, queue, MessageAttributeNames=["All"])
    assert (message["MD5OfMessageAttributes"], message["MessageAttributes"]) == (digest, given)


@row("M2")
def test_a_message_needs_a_body(sqs: Any, queue: str) -> None:
    error = refused(sqs.send_message, QueueUrl=queue, MessageBody="")
    assert (error.code, error.text) == ("MissingParameter", "The request must contain the parameter MessageBody.")


@row("M3", "L1")
def test_a_message_of_the_limit_is_taken_and_no_longer_one(sqs: Any, queue: str) -> None:
    for limit in (1024, 1_048_576):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": str(limit)})
        put(sqs, queue, "x" * limit)
        for wrong in ({"MessageBody": "x" * (limit + 1)}, {"MessageBody": "é" * (limit // 2 + 1)}):
            error = refused(sqs.send_message, QueueUrl=queue, **wrong)
            assert error.code == INVALID
            assert error.text == (
                f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            )
    # 3 + 6 + 3 bytes are the attribute's
    put(sqs, queue, "x" * (1_048_576 - 12), MessageAttributes=FOO)
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody="x" * (1_048_576 - 11), MessageAttributes=FOO)


@row("M4", "L24")
@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_characters_that_xml_has_not_are_refused(sqs: Any, queue: str, character: str) -> None:
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody=f"a{character}").code == "InvalidMessageContents"
    given = {"a": text(f"x{character}")}
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageAttributes=given).code == INVALID


@row("L24", "P5")
@pytest.mark.parametrize("body", ["\t\n\r ~", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff", "<&>\"'"])
def test_all_other_characters_arrive(sqs: Any, queue: str, body: str) -> None:
    put(sqs, queue, body)
    assert bodies(sqs.receive_message(QueueUrl=queue)) == [body]


@row("M5", "L5")
def test_a_message_is_delayed_for_up_to_900_seconds(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    for wrong in (-1, 901):
        assert refused(sqs.send_message, QueueUrl=queue, MessageBody="a", DelaySeconds=wrong).code == INVALID
    put(sqs, queue, "a", DelaySeconds=900)
    turn(890)
    assert take(sqs, queue) == []
    turn(11)
    assert len(take(sqs, queue)) == 1


@row("L5")
def test_a_delay_of_0_on_a_standard_queue_is_0_whatever_the_queues_is(sqs: Any, queue: str) -> None:
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": "60"})
    put(sqs, queue, "now", DelaySeconds=0)
    put(sqs, queue, "later")
    assert bodies({"Messages": take(sqs, queue)}) == ["now"]


@row("M9", "M10", "L15", "R8")
def test_a_standard_queue_takes_a_group_and_no_deduplication_id(sqs: Any, queue: str) -> None:
    assert "SequenceNumber" not in sqs.send_message(QueueUrl=queue, MessageBody="a", MessageGroupId="tenant!~")
    (message,) = take(sqs, queue, AttributeNames=["All"])
    assert message["Attributes"]["MessageGroupId"] == "tenant!~"
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageDeduplicationId="d").code == INVALID


@row("M11", "L15")
@pytest.mark.parametrize("group", ["two words", "é", "x" * 129])
def test_a_bad_group_is_refused(sqs: Any, queue: str, fifo: str, group: str) -> None:
    for url in (queue, fifo):
        more = {} if url == queue else {"MessageDeduplicationId": "d"}
        error = refused(sqs.send_message, QueueUrl=url, MessageBody="a", MessageGroupId=group, **more)
        assert error.text == (
            f"Value {group} for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include "
            "alphanumeric and punctuation characters. 1 to 128 in length."
        )


@row("M12", "L14")
@pytest.mark.parametrize(
    "given",
    [
        {"a": text("")},
        {"a": {"DataType": "Binary", "BinaryValue": b""}},
        {"a": text("x", "Text")},
        {"a": text("x", "string")},
        {"a": text("x", "String." + "l" * 300)},
        {"a": text("one", "Number")},
        {"a": text("1" * 39, "Number")},
        {"a": text("1e999999", "Number")},
        {"AWS.x": text("v")},
        {"amazon.x": text("v")},
        {".x": text("v")},
        {"x.": text("v")},
        {"a b": text("v")},
        {"x" * 257: text("v")},
        {"a": {"DataType": "String"}},
    ],
)
def test_a_bad_attribute_is_refused(sqs: Any, queue: str, given: Any) -> None:
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageAttributes=given).code == INVALID


@row("M12")
def test_an_empty_attribute_is_told_by_its_name(sqs: Any, queue: str) -> None:
    error = refused(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageAttributes={"X": text("")})
    assert error.text == "Message (user) attribute 'X' must contain a non-empty value of type 'String'."


@row("M12", "L13", "L14")
def test_ten_attributes_of_all_types_and_labels_arrive_and_eleven_do_not(sqs: Any, queue: str) -> None:
    given: dict[str, Any] = {
        "a": text("x"),
        "b.c-d_e": text("x", "String.label"),
        "øßä": text("x"),
        "int": text("-12", "Number"),
        "float": text("1.5e-10", "Number.float"),
        "big": text("1" * 38, "Number"),
        "bytes": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
        "gif": {"DataType": "Binary.gif", "BinaryValue": b"\x00"},
        "spaced": text(" ", "String.a label"),
        "x" * 256: text("v"),
    }
    put(sqs, queue, "a", MessageAttributes=given)
    (message,) = take(sqs, queue, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == given
    given["eleventh"] = text("x")
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageAttributes=given).code == INVALID


@row("M13", "H4", "R8")
def test_a_trace_header_is_a_system_attribute_and_nothing_else_is(sqs: Any, queue: str) -> None:
    trace = {"AWSTraceHeader": text("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")}
    sent = sqs.send_message(QueueUrl=queue, MessageBody="a", MessageSystemAttributes=trace)
    assert len(sent["MD5OfMessageSystemAttributes"]) == 32
    (message,) = take(sqs, queue, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert message["Attributes"] == {"AWSTraceHeader": trace["AWSTraceHeader"]["StringValue"]}
    for wrong in ({"Other": text("x")}, {"AWSTraceHeader": text("1", "Number")}):
        assert refused(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageSystemAttributes=wrong).code == INVALID


# ------------------------------------------------------------------ batches


def entry(name: str, body: str = "x", **more: Any) -> dict[str, Any]:
    return {"Id": name, "MessageBody": body, **more}


@row("B1", "L4")
@pytest.mark.parametrize(
    ("entries", "shape", "code"),
    [
        ([], "EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            [entry(str(i)) for i in range(20)],
            "TooManyEntriesInBatchRequest",
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ([entry("a b")], "InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
        ([entry("x" * 81)], "InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
        ([entry("")], "InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
        ([entry("a"), entry("a")], "BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
    ],
)
def test_a_broken_batch_is_refused_whole(sqs: Any, queue: str, entries: Any, shape: str, code: str) -> None:
    error = refused(sqs.send_message_batch, QueueUrl=queue, Entries=entries)
    assert (error.shape, error.code, error.status) == (shape, code, 400)
    if len(entries) == 20:
        assert error.text == "Maximum number of entries per request are 10. You have sent 20."
    handles = [{"Id": one["Id"], "ReceiptHandle": "x"} for one in entries]
    assert refused(sqs.delete_message_batch, QueueUrl=queue, Entries=handles).shape == shape
    hide = [{**one, "VisibilityTimeout": 1} for one in handles]
    assert refused(sqs.change_message_visibility_batch, QueueUrl=queue, Entries=hide).shape == shape
    assert take(sqs, queue) == []


@row("L3")
def test_a_batch_has_a_size_of_its_own(sqs: Any, queue: str) -> None:
    entries = [entry(str(i), "x" * 524_288) for i in range(2)]
    assert len(sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == 2
    entries[1]["MessageBody"] += "x"
    error = refused(sqs.send_message_batch, QueueUrl=queue, Entries=entries)
    assert error.code == "AWS.SimpleQueueService.BatchRequestTooLong"
    assert error.text == "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."


@row("B2", "B3", "B4", "P9")
def test_a_bad_entry_fails_alone(sqs: Any, queue: str) -> None:
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": "1024"})
    entries = [entry("good"), entry("long", "x" * 1025), entry("nul", "\x00"), entry("empty", "")]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["good"]
    failed = {one["Id"]: one for one in answer["Failed"]}
    assert failed["long"] == {
        "Id": "long",
        "Code": INVALID,
        "SenderFault": True,
        "Message": ("One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."),
    }
    assert failed["nul"]["Code"] == "InvalidMessageContents"
    assert failed["empty"]["Code"] == "MissingParameter"
    assert bodies({"Messages": take(sqs, queue)}) == ["x"]
    assert "Failed" not in sqs.send_message_batch(QueueUrl=queue, Entries=[entry("a")])
    assert "Successful" not in sqs.send_message_batch(QueueUrl=queue, Entries=[entry("a", "")])


@row("B6", "V1")
def test_bad_receipts_fail_alone_under_the_old_codes(sqs: Any, queue: str) -> None:
    put(sqs, queue, "a")
    (message,) = take(sqs, queue)
    pair = [
        {"Id": "bad", "ReceiptHandle": "garbage"},
        {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
    ]
    hide = [{**one, "VisibilityTimeout": 50} for one in pair]
    for answer in (
        sqs.change_message_visibility_batch(QueueUrl=queue, Entries=hide),
        sqs.delete_message_batch(QueueUrl=queue, Entries=pair),
    ):
        assert [one["Id"] for one in answer["Successful"]] == ["good"]
        assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]


# ------------------------------------------------------------------ receive


@row("R1", "R2", "L7", "L9", "L6")
def test_a_receive_out_of_range_is_refused(sqs: Any, queue: str) -> None:
    error = refused(sqs.receive_message, QueueUrl=queue, MaxNumberOfMessages=11)
    assert error.text == (
        "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    )
    error = refused(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=21)
    assert (
        error.text == "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
    )
    for wrong in ({"MaxNumberOfMessages": 0}, {"WaitTimeSeconds": -1}, {"VisibilityTimeout": 43_201}):
        assert refused(sqs.receive_message, QueueUrl=queue, **wrong).code == INVALID


@row("L9")
def test_one_message_is_given_unless_more_are_asked_for(sqs: Any, queue: str) -> None:
    put(sqs, queue, *"abc")
    assert len(sqs.receive_message(QueueUrl=queue)["Messages"]) == 1


@row("R3", "R4", "P9")
def test_without_a_wait_the_queues_own_holds_and_0_is_0(sqs: Any, queue: str) -> None:
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"ReceiveMessageWaitTimeSeconds": "1"})
    started = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=0)
    assert time.monotonic() - started < 0.9
    started = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert time.monotonic() - started > 0.9


@row("R4", "V9")
@pytest.mark.parametrize("event", ["send", "delay", "shown", "expired"])
def test_a_long_poll_ends_when_a_message_is_there(sqs: Any, queue: str, event: str) -> None:
    handle = ""
    if event in ("shown", "expired"):
        put(sqs, queue, "a")
        (message,) = take(sqs, queue, VisibilityTimeout=1 if event == "expired" else 60)
        handle = message["ReceiptHandle"]
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(take(sqs, queue, WaitTimeSeconds=20)))
    started = time.monotonic()
    thread.start()
    thread.join(0.3)
    if event == "send":
        put(sqs, queue, "a")
    elif event == "delay":
        put(sqs, queue, "a", DelaySeconds=1)
    elif event == "shown":
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    thread.join(15)
    assert bodies({"Messages": found}) == ["a"]
    assert time.monotonic() - started < 10


@row("R4")
def test_ten_who_wait_share_ten_messages(sqs: Any, queue: str) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(bodies(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20))))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    sqs.send_message_batch(QueueUrl=queue, Entries=[entry(str(i), str(i)) for i in range(10)])
    for thread in threads:
        thread.join(15)
    assert sorted(found) == [str(i) for i in range(10)]


@row("R6", "R7", "R8", "P10")
def test_attributes_are_those_asked_for_and_each_receive_is_counted(
    sqs: Any, queue: str, account: str, turn: Callable[[float], None]
) -> None:
    put(sqs, queue, "a")
    (first,) = take(sqs, queue, AttributeNames=["All"])
    turn(31)
    (second,) = take(sqs, queue, MessageSystemAttributeNames=["All"])
    assert set(first) == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body", "Attributes"}
    names = {"ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"}
    assert set(first["Attributes"]) == set(second["Attributes"]) == names
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert [one["Attributes"].pop("ApproximateReceiveCount") for one in (first, second)] == ["1", "2"]
    assert first["Attributes"] == second["Attributes"]
    assert re.fullmatch(r"\d{13}", first["Attributes"]["SentTimestamp"])  # milliseconds
    turn(31)
    (third,) = take(sqs, queue, AttributeNames=["SenderId"], MessageSystemAttributeNames=["SentTimestamp"])
    assert set(third["Attributes"]) == {"SentTimestamp"}
    turn(31)
    assert "Attributes" not in take(sqs, queue)[0]


@row("R10", "R11")
@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["All"], {"bar", "bar.a", "foo"}),
        ([".*"], {"bar", "bar.a", "foo"}),
        (["*"], {"bar", "bar.a", "foo"}),
        (["bar.*"], {"bar", "bar.a"}),
        (["foo", "none"], {"foo"}),
        (["none"], set()),
        ([], set()),
    ],
)
def test_message_attributes_are_chosen_by_name(sqs: Any, queue: str, names: Any, shown: set[str]) -> None:
    given = {name: text(name) for name in ("bar", "bar.a", "foo")}
    whole = sqs.send_message(QueueUrl=queue, MessageBody="a", MessageAttributes=given)["MD5OfMessageAttributes"]
    (message,) = take(sqs, queue, MessageAttributeNames=names)
    assert set(message.get("MessageAttributes", {})) == shown
    assert ("MD5OfMessageAttributes" in message) == bool(shown)
    assert (message.get("MD5OfMessageAttributes") == whole) == (len(shown) == 3)


@row("R12")
def test_received_for_no_time_it_stays_visible(sqs: Any, queue: str) -> None:
    put(sqs, queue, "a")
    (message,) = take(sqs, queue, VisibilityTimeout=0)
    assert len(take(sqs, queue, VisibilityTimeout=0)) == 1
    assert message["Body"] == "a"


# ------------------------------------------------------------------ delete and hide


@row("V1")
@pytest.mark.parametrize("handle", ["garbage", "1.2", "-1.1.1", f"1.{10**30}.1", "٣.1.1", "x" * 2000])
def test_garbage_is_no_receipt(sqs: Any, queue: str, handle: str) -> None:
    error = refused(sqs.delete_message, QueueUrl=queue, ReceiptHandle=handle)
    assert (error.code, error.kind) == ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid")
    assert error.text == f'The input receipt handle "{handle}" is not a valid receipt handle.'
    error = refused(sqs.change_message_visibility, QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=1)
    assert error.code == "ReceiptHandleIsInvalid"


@row("V1")
def test_a_receipt_of_another_queue_is_none(sqs: Any, queue: str) -> None:
    put(sqs, queue, "a")
    handle = take(sqs, queue)[0]["ReceiptHandle"]
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    assert refused(sqs.delete_message, QueueUrl=other, ReceiptHandle=handle).code == "ReceiptHandleIsInvalid"


@row("V2", "V3")
def test_what_is_deleted_may_be_deleted_again_but_not_hidden(sqs: Any, queue: str) -> None:
    put(sqs, queue, "a")
    handle = take(sqs, queue)[0]["ReceiptHandle"]
    for _ in range(2):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    error = refused(sqs.change_message_visibility, QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=1)
    assert (error.code, error.text) == (
        INVALID,
        f"Value {handle} for parameter ReceiptHandle is invalid. "
        "Reason: Message does not exist or is not available for visibility timeout change.",
    )


@row("V4", "V5", "V9")
def test_an_expired_receipt_still_hides_and_deletes(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    put(sqs, queue, "a")
    handle = take(sqs, queue, VisibilityTimeout=1)[0]["ReceiptHandle"]
    turn(2)
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=10)
    assert take(sqs, queue) == []
    turn(11)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    assert take(sqs, queue) == []


@row("V8")
def test_a_receipt_that_a_newer_receive_replaced_deletes_nothing(
    sqs: Any, queue: str, turn: Callable[[float], None]
) -> None:
    put(sqs, queue, "a")
    stale = take(sqs, queue, VisibilityTimeout=0)[0]["ReceiptHandle"]
    take(sqs, queue, VisibilityTimeout=1)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=stale)
    turn(2)
    assert len(take(sqs, queue)) == 1


@row("V10", "L6")
def test_twelve_hours_are_the_end(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    put(sqs, queue, "a")
    handle = take(sqs, queue)[0]["ReceiptHandle"]
    hide = {"QueueUrl": queue, "ReceiptHandle": handle}
    for wrong in (-1, 43_201):
        assert refused(sqs.change_message_visibility, VisibilityTimeout=wrong, **hide).code == INVALID
    turn(10)
    error = refused(sqs.change_message_visibility, VisibilityTimeout=43_195, **hide)
    assert "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]." in error.text


@row("G1")
def test_purging_takes_everything(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    put(sqs, queue, "a", "b")
    put(sqs, queue, "later", DelaySeconds=5)
    take(sqs, queue, 1, VisibilityTimeout=5)
    for _ in range(2):  # at once again: not strict
        sqs.purge_queue(QueueUrl=queue)
    turn(6)
    assert take(sqs, queue) == []
    assert attributes(sqs, queue, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}


@row("R13", "R5")
def test_what_many_ask_for_at_once_is_given_once(sqs: Any, queue: str) -> None:
    for start in range(0, 50, 10):
        sqs.send_message_batch(QueueUrl=queue, Entries=[entry(str(i), str(start + i)) for i in range(10)])
    found: list[str] = []

    def work() -> None:
        while messages := take(sqs, queue, 3):
            found.extend(bodies({"Messages": messages}))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(int, found)) == list(range(50))
