"""What is on the wire: AWS JSON, and the query protocol with its XML."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import pytest

from tests.emulator.clients import Answer, http_call, json_call, put, refused, row, signed, take

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


# ------------------------------------------------------------------ JSON


@row("P1", "P2", "P3", "P8")
@pytest.mark.parametrize("path", ["/", "/123456789012/orders", "/any/where"])
def test_the_path_does_not_matter_to_json(emulator_endpoint: str, account: str, queue: str, path: str) -> None:
    answer = json_call(emulator_endpoint, "GetQueueUrl", {"QueueName": "orders"}, account, path)
    assert (answer.status, answer.json) == (200, {"QueueUrl": queue})
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    again = json_call(emulator_endpoint, "GetQueueUrl", {"QueueName": "orders"}, account, path)
    assert again.headers["x-amzn-requestid"] != answer.headers["x-amzn-requestid"]


@row("P4")
def test_a_queue_url_is_known_by_its_end_whatever_its_host(sqs: Any, queue: str, account: str) -> None:
    for url in (f"https://sqs.eu-west-1.amazonaws.com/{account}/orders", f"/{account}/orders", "orders"):
        put(sqs, url, url)
    assert len(take(sqs, queue)) == 3
    for url in ("https://[bad", "http://x/", "http://x/notanaccount/orders"):
        assert refused(sqs.purge_queue, QueueUrl=url).shape == "QueueDoesNotExist"


@row("P5", "P6", "P7", "P9")
def test_json_members_have_types(emulator_endpoint: str, account: str, queue: str) -> None:
    def call(operation: str, **members: Any) -> Answer:
        return json_call(emulator_endpoint, operation, {"QueueUrl": queue, **members}, account)

    body = b'{"QueueUrl": "%s", "MessageBody": "\\u00e9\xc3\xa9", "DelaySeconds": null}' % queue.encode()
    assert json_call(emulator_endpoint, "SendMessage", body, account).status == 200
    blob = {"b": {"DataType": "Binary", "BinaryValue": base64.b64encode(b"\0\1").decode()}}
    assert call("SendMessage", MessageBody="a", MessageAttributes=blob).status == 200
    messages = call("ReceiveMessage", MaxNumberOfMessages=10, MessageAttributeNames=["All"]).json["Messages"]
    assert {message["Body"] for message in messages} == {"éé", "a"}
    assert [one["MessageAttributes"]["b"]["BinaryValue"] for one in messages if one["Body"] == "a"] == ["AAE="]
    assert call("ReceiveMessage").json == {}
    for operation, wrong in (
        ("SetQueueAttributes", {"Attributes": {"DelaySeconds": 1}}),
        ("SendMessage", {"MessageBody": 1}),
        ("SendMessage", {"MessageBody": "a", "DelaySeconds": "1"}),
        ("SendMessage", {"MessageBody": "a", "MessageAttributes": {"b": {"DataType": "Binary", "BinaryValue": "!"}}}),
        ("ReceiveMessage", {"AttributeNames": "All"}),
    ):
        answer = call(operation, **wrong)
        assert (answer.status, answer.json["__type"]) == (400, "com.amazon.coral.service#SerializationException")


@row("P11")
@pytest.mark.parametrize("target", ["AmazonSQS.Nonsense", "DynamoDB.GetItem", "", "AmazonSQS.", "x" * 5000])
def test_an_unknown_operation_is_told(emulator_endpoint: str, target: str) -> None:
    answer = http_call(emulator_endpoint, "POST", "/", b"{}", X_Amz_Target=target)
    assert answer.status == 400
    assert answer.json["__type"].endswith("#UnknownOperationException")


@row("E1", "E2", "E3", "E4", "E5", "E7")
def test_an_error_has_both_names(emulator_endpoint: str, sqs: Any) -> None:
    answer = json_call(emulator_endpoint, "GetQueueUrl", {"QueueName": "nowhere"})
    assert answer.status == 400
    assert answer.json == {
        "__type": "com.amazonaws.sqs#QueueDoesNotExist",
        "message": "The specified queue does not exist.",
    }
    assert answer.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    error = refused(sqs.get_queue_url, QueueName="nowhere")
    assert (error.code, error.shape) == ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
    assert error.kind == "QueueDoesNotExist"


@row("E6")
def test_errors_that_are_not_modelled_have_old_codes_too(emulator_endpoint: str, account: str, queue: str) -> None:
    for members, shape, code in (
        ({"QueueUrl": queue}, "MissingRequiredParameterException", "MissingParameter"),
        ({"QueueUrl": queue, "MessageBody": "a", "DelaySeconds": 901}, "InvalidParameterValueException",
         "InvalidParameterValue"),
    ):  # fmt: skip
        answer = json_call(emulator_endpoint, "SendMessage", members, account)
        assert answer.json["__type"] == f"com.amazon.coral.service#{shape}"
        assert answer.headers["x-amzn-query-error"] == f"{code};Sender"


def test_an_operation_without_a_queue_url_says_so(emulator_endpoint: str) -> None:
    answer = json_call(emulator_endpoint, "SendMessage", {})
    assert answer.json["message"] == "The request must contain the parameter QueueUrl."


@row("M13")
def test_a_trace_header_of_the_request_is_the_messages(
    emulator_endpoint: str, account: str, queue: str, sqs: Any
) -> None:
    body = json.dumps({"QueueUrl": queue, "MessageBody": "a"}).encode()
    http_call(
        emulator_endpoint, "POST", "/", body,
        X_Amz_Target="AmazonSQS.SendMessage", Authorization=signed(account), X_Amzn_Trace_Id="Root=1-2-3",
    )  # fmt: skip
    (message,) = take(sqs, queue, AttributeNames=["All"])
    assert message["Attributes"]["AWSTraceHeader"] == "Root=1-2-3"


# ------------------------------------------------------------------ query


class Query:
    def __init__(self, endpoint: str, account: str) -> None:
        self._endpoint, self._account = endpoint, account

    def __call__(self, action: str, path: str = "/", method: str = "POST", **fields: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.answer(action, path, method, **fields).body)

    def answer(self, action: str, path: str = "/", method: str = "POST", **fields: str) -> Answer:
        form = urlencode({"Action": action, "Version": "2012-11-05", **fields})
        at, body = (f"{path}?{form}", b"") if method == "GET" else (path, form.encode())
        return http_call(
            self._endpoint, method, at, body,
            Authorization=signed(self._account), Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip


@pytest.fixture
def query(emulator_endpoint: str, account: str) -> Query:
    return Query(emulator_endpoint, account)


def texts(document: ElementTree.Element, name: str) -> list[str]:
    return [element.text or "" for element in document.iter(f"{NAMESPACE}{name}")]


@row("X1", "X8", "X9")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("at", ["root", "queue"])
def test_a_message_goes_and_comes_by_the_query_protocol(query: Query, queue: str, method: str, at: str) -> None:
    path, named = ("/", {"QueueUrl": queue}) if at == "root" else (urlsplit(queue).path, {})
    answer = query.answer("SendMessage", path, method, MessageBody="<a> & é\r\n", **named)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml")
    sent = ElementTree.fromstring(answer.body)
    assert sent.tag == f"{NAMESPACE}SendMessageResponse"
    assert len(texts(sent, "MD5OfMessageBody")[0]) == 32
    assert len(texts(sent, "RequestId")[0]) == 36
    got = query("ReceiveMessage", path, method, **{"AttributeName.1": "All", **named})
    assert texts(got, "Body") == ["<a> & é\r\n"]
    assert "SentTimestamp" in texts(got, "Name")
    deleted = query.answer("DeleteMessage", path, method, ReceiptHandle=texts(got, "ReceiptHandle")[0], **named)
    assert b"Result" not in deleted.body
    assert b"<ReceiveMessageResult/>" in query.answer("ReceiveMessage", path, method, **named).body


@row("X1")
def test_the_parameter_overrides_the_path(query: Query, queue: str, fifo: str) -> None:
    query("SendMessage", urlsplit(fifo).path, QueueUrl=queue, MessageBody="a")
    assert texts(query("ReceiveMessage", QueueUrl=queue), "Body") == ["a"]


@row("X2")
@pytest.mark.parametrize("action", ["CreateQueue", "ListQueues", "Nonsense"])
def test_some_actions_are_not_for_a_queues_url(query: Query, queue: str, action: str) -> None:
    answer = query.answer(action, urlsplit(queue).path, QueueName="x")
    assert answer.status == 400
    document = ElementTree.fromstring(answer.body)
    assert texts(document, "Code") == ["InvalidAction"]
    assert texts(document, "Message") == [f"The action {action} is not valid for this endpoint."]


@row("X3")
def test_a_queues_url_without_an_action_is_not_found(emulator_endpoint: str, queue: str) -> None:
    for path in (urlsplit(queue).path, "/", "/nonsense"):
        answer = http_call(emulator_endpoint, "GET", path)
        assert (answer.status, answer.body.strip()) == (404, b"<UnknownOperationException/>")


@row("X4", "X10", "X9")
def test_errors_are_xml(query: Query, queue: str) -> None:
    answer = query.answer("SendMessage", QueueUrl=queue)
    assert answer.status == 400
    document = ElementTree.fromstring(answer.body)
    assert document.tag == f"{NAMESPACE}ErrorResponse"
    assert (texts(document, "Type"), texts(document, "Code")) == (["Sender"], ["MissingParameter"])
    assert texts(document, "Message") == ["The request must contain the parameter MessageBody."]
    assert texts(document, "Detail") == [""]
    missing = query("GetQueueUrl", QueueName="nowhere")
    assert texts(missing, "Code") == ["AWS.SimpleQueueService.NonExistentQueue"]
    assert texts(missing, "Message") == ["The specified queue does not exist for this wsdl version."]


@row("X5", "X7", "X8")
def test_lists_and_maps_are_flat_and_numbered(query: Query, account: str) -> None:
    made = query("CreateQueue", QueueName="q", **{
        "Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "0", "Attribute.2.Name": "VisibilityTimeout",
        "Attribute.2.Value": "7", "Tag.1.Key": "k", "Tag.1.Value": "v",
    })  # fmt: skip
    (url,) = texts(made, "QueueUrl")
    shown = query("GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "VisibilityTimeout"})
    assert (texts(shown, "Name"), texts(shown, "Value")) == (["VisibilityTimeout"], ["7"])
    assert texts(query("ListQueueTags", QueueUrl=url), "Key") == ["k"]
    query("UntagQueue", QueueUrl=url, **{"TagKey.1": "k"})
    assert texts(query("ListQueueTags", QueueUrl=url), "Key") == []
    query("AddPermission", QueueUrl=url, Label="l", **{"AWSAccountId.1": account, "ActionName.1": "SendMessage"})
    assert (
        "SQS:SendMessage"
        in texts(query("GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "Policy"}), "Value")[0]
    )
    query("SendMessage", QueueUrl=url, MessageBody="a", **{
        "MessageAttribute.1.Name": "n", "MessageAttribute.1.Value.DataType": "Number",
        "MessageAttribute.1.Value.StringValue": "1", "MessageAttribute.2.Name": "b",
        "MessageAttribute.2.Value.DataType": "Binary", "MessageAttribute.2.Value.BinaryValue": "AAE=",
        "MessageSystemAttribute.1.Name": "AWSTraceHeader", "MessageSystemAttribute.1.Value.DataType": "String",
        "MessageSystemAttribute.1.Value.StringValue": "trace",
    })  # fmt: skip
    got = query("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages="10", **{
        "MessageAttributeName.1": "All", "AttributeName.1": "AWSTraceHeader", "AttributeName.2": "SenderId",
    })  # fmt: skip
    assert texts(got, "StringValue") == ["1"]
    assert texts(got, "BinaryValue") == ["AAE="]
    assert "trace" in texts(got, "Value")
    assert url in texts(query("ListQueues"), "QueueUrl")


@row("X6", "X8")
def test_batches_are_numbered_entries(query: Query, queue: str) -> None:
    entry = "SendMessageBatchRequestEntry"
    sent = query("SendMessageBatch", QueueUrl=queue, **{
        f"{entry}.1.Id": "a", f"{entry}.1.MessageBody": "1", f"{entry}.1.MessageAttribute.1.Name": "n",
        f"{entry}.1.MessageAttribute.1.Value.DataType": "String",
        f"{entry}.1.MessageAttribute.1.Value.StringValue": "v",
        f"{entry}.2.Id": "b", f"{entry}.2.MessageBody": "2", f"{entry}.2.DelaySeconds": "901",
    })  # fmt: skip
    good, bad = f"{NAMESPACE}SendMessageBatchResultEntry", f"{NAMESPACE}BatchResultErrorEntry"
    assert [one.findtext(f"{NAMESPACE}Id") for one in sent.iter(good)] == ["a"]
    assert [one.findtext(f"{NAMESPACE}SenderFault") for one in sent.iter(bad)] == ["true"]
    (handle,) = texts(query("ReceiveMessage", QueueUrl=queue), "ReceiptHandle")
    entry = "ChangeMessageVisibilityBatchRequestEntry"
    hidden = query("ChangeMessageVisibilityBatch", QueueUrl=queue, **{
        f"{entry}.1.Id": "a", f"{entry}.1.ReceiptHandle": handle, f"{entry}.1.VisibilityTimeout": "60",
    })  # fmt: skip
    assert len(list(hidden.iter(f"{NAMESPACE}ChangeMessageVisibilityBatchResultEntry"))) == 1
    entry = "DeleteMessageBatchRequestEntry"
    deleted = query("DeleteMessageBatch", QueueUrl=queue, **{f"{entry}.1.Id": "a", f"{entry}.1.ReceiptHandle": handle})
    assert len(list(deleted.iter(f"{NAMESPACE}DeleteMessageBatchResultEntry"))) == 1


@pytest.mark.parametrize(
    "form",
    [
        "Action=SendMessage&MessageBody=a&DelaySeconds=abc",
        "Action=SendMessage&MessageBody=a&DelaySeconds=9999999999999999999999",
        "Action=SendMessage&MessageBody=%FF%FE",
        "Action=SendMessage&MessageBody=a&MessageAttribute.x.Name=n",
        "Action=SendMessage&MessageBody=a&MessageAttribute.1.Name=n",
        "Action=SendMessage&MessageBody=a&MessageAttribute.1=n&MessageAttribute.1.Name=n",
        "Action=SendMessage&MessageBody=a&MessageAttribute=n",
        "Action=SendMessage&" + ".".join("a" * 500) + "=1",
        "Action=SendMessage&" + "&".join(f"a{i}=1" for i in range(10_000)),
        "Action=%00",
        "Action=" + "x" * 100_000,
        "Action=SendMessageBatch&SendMessageBatchRequestEntry.1=x",
    ],
)
def test_a_malformed_form_is_a_400(emulator_endpoint: str, account: str, queue: str, form: str) -> None:
    path = urlsplit(queue).path
    answer = http_call(emulator_endpoint, "POST", path, form.encode(), Authorization=signed(account))
    assert answer.status == 400
    assert ElementTree.fromstring(answer.body).tag == f"{NAMESPACE}ErrorResponse"
