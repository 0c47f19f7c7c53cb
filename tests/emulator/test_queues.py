"""Queues, their attributes, tags and permissions, through boto3 over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.clients import arn, attributes, bodies, client, put, redrive_to, refused, row, take

INVALID = "InvalidParameterValue"


@row("C1", "C2")
def test_a_queue_made_again_is_the_same_as_long_as_nothing_given_differs(sqs: Any) -> None:
    given = {"DelaySeconds": "5", "VisibilityTimeout": "60"}
    url = sqs.create_queue(QueueName="q", Attributes=given)["QueueUrl"]
    assert sqs.create_queue(QueueName="q")["QueueUrl"] == url
    assert sqs.create_queue(QueueName="q", Attributes={"DelaySeconds": "5"})["QueueUrl"] == url
    error = refused(sqs.create_queue, QueueName="q", Attributes={"DelaySeconds": "6"})
    assert (error.code, error.shape) == ("QueueAlreadyExists", "QueueNameExists")
    assert error.text == "A queue already exists with the same name and a different value for attribute DelaySeconds"


@row("C4")
@pytest.mark.parametrize("name", ["ContentBasedDeduplication", "FifoQueue"])
def test_a_standard_queue_knows_no_attribute_of_fifo_queues(sqs: Any, name: str) -> None:
    error = refused(sqs.create_queue, QueueName="q", Attributes={name: "false"})
    assert (error.code, error.text) == ("InvalidAttributeName", f"Unknown Attribute {name}.")
    error = refused(sqs.create_queue, QueueName="q", Attributes={"DeduplicationScope": "queue"})
    assert error.text == "You can specify the DeduplicationScope only when FifoQueue is set to true."


@row("C5")
def test_a_fifo_queue_has_both_the_name_and_the_attribute(sqs: Any) -> None:
    assert refused(sqs.create_queue, QueueName="q", Attributes={"FifoQueue": "true"}).code == INVALID
    assert refused(sqs.create_queue, QueueName="q.fifo").code == INVALID


@row("C6", "L12")
@pytest.mark.parametrize("name", ["a b", "a.b", "é", "x" * 81, "a/b"])
def test_a_bad_name_is_refused(sqs: Any, name: str) -> None:
    error = refused(sqs.create_queue, QueueName=name)
    assert error.code == INVALID
    assert "1 to 80 in length" in error.text
    assert refused(sqs.create_queue, QueueName="x" * 76 + ".fifo", Attributes={"FifoQueue": "true"}).code == INVALID


@row("L12")
def test_names_of_eighty_characters_are_good_and_case_counts(sqs: Any) -> None:
    for name in ("x" * 80, "X" * 80):
        sqs.create_queue(QueueName=name)
    sqs.create_queue(QueueName="x" * 75 + ".fifo", Attributes={"FifoQueue": "true"})
    assert len(sqs.list_queues()["QueueUrls"]) == 3


@row("C7", "C12", "P10", "L2", "L5", "L6", "L8")
def test_a_new_queue_has_the_defaults_of_sqs(sqs: Any, account: str, queue: str, fifo: str) -> None:
    found = attributes(sqs, queue)
    for name in ("CreatedTimestamp", "LastModifiedTimestamp"):
        assert re.fullmatch(r"\d{10}", found.pop(name))  # seconds
    expected = {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": f"arn:aws:sqs:us-east-1:{account}:orders",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    }
    assert found == expected
    more = {
        name: value for name, value in attributes(sqs, fifo).items() if name not in expected and "Timestamp" not in name
    }
    assert more == {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }
    assert queue.endswith(f"/{account}/orders")


@row("C8")
def test_an_empty_policy_is_none(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="q", Attributes={"Policy": "", "RedrivePolicy": ""})["QueueUrl"]
    assert not {"Policy", "RedrivePolicy"} & set(attributes(sqs, url))
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": '{"Statement":[]}'})
    assert attributes(sqs, url, "Policy") == {"Policy": '{"Statement":[]}'}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert attributes(sqs, url, "Policy") == {}


@row("C9")
def test_a_deleted_queue_is_gone_with_its_messages_and_may_be_made_again(sqs: Any, queue: str) -> None:
    put(sqs, queue, "a")
    sqs.delete_queue(QueueUrl=queue)
    for call in (sqs.delete_queue, sqs.receive_message, sqs.purge_queue, sqs.list_queue_tags):
        assert refused(call, QueueUrl=queue).shape == "QueueDoesNotExist"
    sqs.create_queue(QueueName="orders")
    assert take(sqs, queue) == []


@row("C10", "L17", "P9")
def test_queues_are_listed_in_pages(sqs: Any) -> None:
    assert "QueueUrls" not in sqs.list_queues()
    for name in ("a1", "a2", "a3", "A4", "b"):
        sqs.create_queue(QueueName=name)

    def names(answer: Any) -> list[str]:
        return [url.rpartition("/")[2] for url in answer["QueueUrls"]]

    everything = sqs.list_queues()
    assert set(names(everything)) == {"a1", "a2", "a3", "A4", "b"}
    assert "NextToken" not in everything
    assert names(sqs.list_queues(QueueNamePrefix="a")) == ["a1", "a2", "a3"]
    first = sqs.list_queues(QueueNamePrefix="a", MaxResults=2)
    assert names(first) == ["a1", "a2"]
    last = sqs.list_queues(QueueNamePrefix="a", MaxResults=2, NextToken=first["NextToken"])
    assert names(last) == ["a3"]
    assert "NextToken" not in last
    assert "NextToken" not in sqs.list_queues(QueueNamePrefix="a", MaxResults=3)
    for most in (0, 1001):
        assert refused(sqs.list_queues, MaxResults=most).code == INVALID
    assert refused(sqs.list_queues, NextToken="\u2713").code == INVALID


@row("C11", "P12")
def test_accounts_and_regions_are_apart(sqs: Any, emulator_endpoint: str, account: str, queue: str) -> None:
    assert refused(sqs.get_queue_url, QueueName="nowhere").shape == "QueueDoesNotExist"
    stranger, abroad = client(emulator_endpoint, "999999999999"), client(emulator_endpoint, account, "eu-west-1")
    for other in (stranger, abroad):
        assert refused(other.get_queue_url, QueueName="orders").shape == "QueueDoesNotExist"
    assert stranger.get_queue_url(QueueName="orders", QueueOwnerAWSAccountId=account)["QueueUrl"] == queue
    there = abroad.create_queue(QueueName="orders")["QueueUrl"]
    assert ":eu-west-1:" in arn(abroad, there)
    put(abroad, there, "abroad")
    assert take(sqs, queue) == []
    put(stranger, queue, "from another account")
    assert bodies(sqs.receive_message(QueueUrl=queue)) == ["from another account"]


# ------------------------------------------------------------------ attributes


@row("A1", "P9")
def test_only_the_attributes_asked_for_are_shown(sqs: Any, queue: str) -> None:
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue)
    assert attributes(sqs, queue, "Policy") == {}
    assert attributes(sqs, queue, "DelaySeconds", "Policy") == {"DelaySeconds": "0"}
    error = refused(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=["Foobar"])
    assert (error.code, error.text) == ("InvalidAttributeName", "Unknown Attribute Foobar.")


@row("A2")
@pytest.mark.parametrize("name", ["QueueArn", "ApproximateNumberOfMessages", "CreatedTimestamp", "Nonsense", "All"])
def test_what_cannot_be_set_is_unknown(sqs: Any, queue: str, name: str) -> None:
    error = refused(sqs.set_queue_attributes, QueueUrl=queue, Attributes={name: "1"})
    assert (error.code, error.text) == ("InvalidAttributeName", f"Unknown Attribute {name}.")


@row("A3", "F15")
def test_a_queue_never_changes_its_type(sqs: Any, queue: str, fifo: str) -> None:
    for url, value in ((queue, "true"), (queue, "false"), (fifo, "true")):
        error = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"FifoQueue": value})
        assert (error.code, error.text) == ("InvalidAttributeName", "Unknown Attribute FifoQueue.")
    error = refused(sqs.set_queue_attributes, QueueUrl=fifo, Attributes={"FifoQueue": "false"})
    assert error.code == "InvalidAttributeValue"
    assert error.text.endswith("Reason: Modifying queue type is not supported.")


@row("A4", "L2", "L5", "L6", "L7", "L8", "L21")
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("DelaySeconds", 0, 900),
        ("MaximumMessageSize", 1024, 1_048_576),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("VisibilityTimeout", 0, 43_200),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ],
)
def test_numbers_have_limits(sqs: Any, queue: str, name: str, low: int, high: int) -> None:
    for value in (low, high):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: str(value)})
        assert attributes(sqs, queue, name) == {name: str(value)}
    for wrong in (str(low - 1), str(high + 1), "", "x", "1.5", " 60", "٦٠", "9" * 40):
        error = refused(sqs.set_queue_attributes, QueueUrl=queue, Attributes={name: wrong})
        assert (error.code, error.text) == ("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


@row("A4")
def test_setting_attributes_tells_when(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    before = attributes(sqs, queue)
    turn(5)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": "1"})
    after = attributes(sqs, queue)
    assert int(after["LastModifiedTimestamp"]) >= int(before["LastModifiedTimestamp"]) + 5
    assert after["CreatedTimestamp"] == before["CreatedTimestamp"]


@row("A5", "A6")
def test_one_encryption_excludes_the_other(sqs: Any, queue: str) -> None:
    def sse() -> dict[str, str]:
        return attributes(sqs, queue, "SqsManagedSseEnabled", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")

    def set_(**values: str) -> None:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=values)

    set_(KmsMasterKeyId="alias/x", KmsDataKeyReusePeriodSeconds="300")
    assert sse() == {"SqsManagedSseEnabled": "false", "KmsMasterKeyId": "alias/x"}
    set_(KmsMasterKeyId="")
    assert sse() == {"SqsManagedSseEnabled": "false"}
    set_(KmsMasterKeyId="alias/x", KmsDataKeyReusePeriodSeconds="600")
    set_(SqsManagedSseEnabled="true")
    assert sse() == {"SqsManagedSseEnabled": "true"}
    both = {"KmsMasterKeyId": "x", "SqsManagedSseEnabled": "true"}
    error = refused(sqs.set_queue_attributes, QueueUrl=queue, Attributes=both)
    assert error.code == "InvalidAttributeName"
    assert error.text.startswith("You can use one type of server-side encryption (SSE) at one time.")


@row("A7", "F13")
def test_a_new_delay_holds_for_what_is_in_a_fifo_queue_too(
    sqs: Any, queue: str, fifo: str, turn: Callable[[float], None]
) -> None:
    for url in (queue, fifo):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "60"})
    put(sqs, queue, "a")
    put(sqs, fifo, "a", MessageGroupId="g", MessageDeduplicationId="1")
    for url in (queue, fifo):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "10"})
    turn(11)
    assert (len(take(sqs, queue)), len(take(sqs, fifo))) == (0, 1)
    turn(50)
    assert len(take(sqs, queue)) == 1


@row("A8", "V11")
def test_a_shorter_retention_ends_what_is_older(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    put(sqs, queue, "old")
    turn(100)
    put(sqs, queue, "new")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MessageRetentionPeriod": "60"})
    assert bodies(sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)) == ["new"]


@row("A9")
def test_a_new_visibility_is_for_later_receives(sqs: Any, queue: str, turn: Callable[[float], None]) -> None:
    put(sqs, queue, "a")
    take(sqs, queue)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    turn(2)
    assert take(sqs, queue) == []
    turn(30)
    assert len(take(sqs, queue)) == 1


@row("A10", "A11")
def test_every_message_is_counted_once(sqs: Any, queue: str, fifo: str) -> None:
    put(sqs, queue, "a", "b", "c")
    put(sqs, queue, "later", DelaySeconds=60)
    take(sqs, queue, 1)
    for url, expected in ((queue, ("2", "1", "1")), (fifo, ("2", "1", "0"))):
        if url == fifo:
            for text in "abc":
                put(sqs, fifo, text, MessageGroupId="g", MessageDeduplicationId=text)
            take(sqs, fifo, 1)
        found = attributes(sqs, url)
        assert tuple(found[f"ApproximateNumberOfMessages{kind}"] for kind in ("", "NotVisible", "Delayed")) == expected


@row("A12")
def test_throughput_per_group_needs_deduplication_per_group(sqs: Any, fifo: str) -> None:
    alone = {"FifoThroughputLimit": "perMessageGroupId"}
    assert refused(sqs.set_queue_attributes, QueueUrl=fifo, Attributes=alone).code == "InvalidAttributeName"
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={**alone, "DeduplicationScope": "messageGroup"})
    assert attributes(sqs, fifo, "FifoThroughputLimit") == alone


# ------------------------------------------------------------------ tags and permissions


@row("Y1", "Y2", "P9")
def test_tags_are_kept(sqs: Any, queue: str) -> None:
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)
    sqs.tag_queue(QueueUrl=queue, Tags={"a": "1", "b": ""})
    sqs.tag_queue(QueueUrl=queue, Tags={"a": "2"})
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"a": "2", "b": ""}
    sqs.untag_queue(QueueUrl=queue, TagKeys=["a", "unknown"])
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"b": ""}
    made = sqs.create_queue(QueueName="tagged", tags={"x": "y"})["QueueUrl"]
    assert sqs.list_queue_tags(QueueUrl=made)["Tags"] == {"x": "y"}


@row("L18")
def test_there_may_be_fifty_tags(sqs: Any, queue: str) -> None:
    sqs.tag_queue(QueueUrl=queue, Tags={f"k{i}": "v" for i in range(50)})
    for wrong in ({"one-more": "v"}, {"k1": "v" * 257}, {"k" * 129: "v"}):
        assert refused(sqs.tag_queue, QueueUrl=queue, Tags=wrong).code == INVALID


@row("Y3", "Y4")
def test_permissions_build_a_policy(sqs: Any, queue: str, account: str) -> None:
    sqs.add_permission(QueueUrl=queue, Label="one", AWSAccountIds=[account], Actions=["ReceiveMessage"])
    own = arn(sqs, queue)
    statement = {
        "Sid": "one",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "SQS:ReceiveMessage",
        "Resource": own,
    }
    policy = json.loads(attributes(sqs, queue, "Policy")["Policy"])
    assert policy == {"Version": "2008-10-17", "Id": f"{own}/SQSDefaultPolicy", "Statement": [statement]}
    two = {"AWSAccountIds": ["1" * 12, "2" * 12], "Actions": ["SendMessage", "*"]}
    sqs.add_permission(QueueUrl=queue, Label="two", **two)
    second = json.loads(attributes(sqs, queue, "Policy")["Policy"])["Statement"][1]
    assert second["Principal"]["AWS"] == [f"arn:aws:iam::{n * 12}:root" for n in "12"]
    assert second["Action"] == ["SQS:SendMessage", "SQS:*"]
    error = refused(sqs.add_permission, QueueUrl=queue, Label="two", **two)
    assert error.text == "Value two for parameter Label is invalid. Reason: Already exists."
    sqs.remove_permission(QueueUrl=queue, Label="one")
    error = refused(sqs.remove_permission, QueueUrl=queue, Label="one")
    assert error.text == "Value one for parameter Label is invalid. Reason: can't find label."
    sqs.remove_permission(QueueUrl=queue, Label="two")
    assert attributes(sqs, queue, "Policy") == {}


@row("Y5", "L19")
def test_unknown_and_too_many_actions_are_refused(sqs: Any, queue: str) -> None:
    add = {"QueueUrl": queue, "Label": "x", "AWSAccountIds": ["1" * 12]}
    error = refused(sqs.add_permission, Actions=["Foo"], **add)
    assert error.text == (
        "Value SQS:Foo for parameter ActionName is invalid. "
        "Reason: Please refer to the appropriate WSDL for a list of valid actions. "
    )
    error = refused(sqs.add_permission, Actions=["SendMessage"] * 8, **add)
    assert (error.code, error.status) == ("OverLimit", 403)
    huge = json.dumps({"Statement": "x" * 8192})
    assert (
        refused(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"Policy": huge}).code == "InvalidAttributeValue"
    )


@row("D1", "L20")
@pytest.mark.parametrize(
    "policy",
    ["{}", "[]", "x", '{"maxReceiveCount": 3}', '{"deadLetterTargetArn": "ARN"}', "count:x", "count:0", "count:1001"],
)
def test_a_broken_redrive_policy_is_refused(sqs: Any, queue: str, policy: str) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    text = redrive_to(sqs, dead, policy[6:]) if policy.startswith("count:") else policy.replace("ARN", arn(sqs, dead))
    assert refused(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"RedrivePolicy": text}).code == INVALID


@row("D1", "L20")
@pytest.mark.parametrize("count", [1, 1000, "42"])
def test_a_redrive_policy_is_shown_as_it_was_sent(sqs: Any, queue: str, count: Any) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    text = redrive_to(sqs, dead, count)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": text})
    assert attributes(sqs, queue, "RedrivePolicy") == {"RedrivePolicy": text}
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": ""})
    assert attributes(sqs, queue, "RedrivePolicy") == {}
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == []


@row("D6", "D7", "D8")
def test_a_dead_letter_queue_must_be_there_of_one_kind_and_willing(sqs: Any, queue: str, fifo: str) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    good = redrive_to(sqs, dead)

    def set_on(url: str, text: str) -> Any:
        return sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": text})

    for wrong in (redrive_to(sqs, fifo), good.replace(":dead", ":nowhere"), good.replace("us-east-1", "eu-west-1")):
        assert refused(lambda text=wrong: set_on(queue, text)).code == INVALID
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [arn(sqs, queue)]}
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    set_on(queue, good)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    assert refused(lambda: set_on(other, good)).code == INVALID
    for text in ('{"redrivePermission":"denyAll"}', '{"redrivePermission":"allowAll"}'):
        sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": text})
        if "deny" in text:
            assert refused(lambda: set_on(other, good)).code == INVALID
    set_on(other, good)
    eleven = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arn(sqs, queue)] * 11})
    assert refused(sqs.set_queue_attributes, QueueUrl=dead, Attributes={"RedriveAllowPolicy": eleven}).code == INVALID
