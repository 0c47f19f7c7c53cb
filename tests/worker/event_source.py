"""What AWS Lambda's event source mapping does with a queue: makes an event of messages, and deletes those that the
function did not tell as failed. Rows in brackets are those of the specification sheet of AWS Lambda.
"""

from __future__ import annotations

import json
from typing import Any

Event = dict[str, Any]


class Mapping:
    """An event source mapping with FunctionResponseTypes=["ReportBatchItemFailures"]."""

    def __init__(self, sqs: Any, url: str) -> None:
        self.sqs, self.url = sqs, url
        self.arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def event(self, count: int = 10) -> Event:
        """[E1 to E5]"""
        asked = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=count, WaitTimeSeconds=1, **asked)
        return {"Records": [self._record(message) for message in found.get("Messages", [])]}

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": {name: str(value) for name, value in message["Attributes"].items()},
            "messageAttributes": {
                name: {
                    "stringValue": value["StringValue"],
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": value["DataType"],
                }
                for name, value in message.get("MessageAttributes", {}).items()
            },
            "md5OfMessageAttributes": None,
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self.arn,
            "awsRegion": "us-east-1",
        }

    def invoke(self, handler: Any, event: Event | None = None, context: Any = None) -> list[str]:
        """The ids that the handler told as failed. The others are deleted, as Lambda does [B1, B2, B5, B9]."""
        event = self.event() if event is None else event
        answer = json.loads(json.dumps(handler(event, context), allow_nan=False))  # [I6]
        return self.told(event, answer)

    def told(self, event: Event, answer: dict[str, Any]) -> list[str]:
        """What a function answered with."""
        failed = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
        assert set(failed) <= {record["messageId"] for record in event["Records"]}
        for record in event["Records"]:
            if record["messageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=record["receiptHandle"])
        return failed

    def counts(self) -> tuple[int, int]:
        """Visible, and hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])
