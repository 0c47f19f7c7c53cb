"""How tests speak to the emulator: boto3, bare HTTP, and words for what is asked for often."""

from __future__ import annotations

import functools
import http.client
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

#: Those of the test under way; they are closed after it.
CLIENTS: list[Any] = []


def row(*ids: str) -> Callable[[Any], Any]:
    """The rows of the specification sheet that a test proves; `test_the_table.py` reads them."""

    def mark(test: Any) -> Any:
        return test

    return mark


@functools.cache
def _session() -> Any:
    import botocore.session

    return botocore.session.get_session()


def client(endpoint: str, account: str, region: str = "us-east-1", service: str = "sqs", **config: Any) -> Any:
    from botocore.config import Config

    made = _session().create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=account,
        aws_secret_access_key="secret",
        config=Config(**{"retries": {"max_attempts": 0}, "read_timeout": 40, **config}),
    )
    CLIENTS.append(made)
    return made


class Error(NamedTuple):
    code: str
    text: str
    status: int
    shape: str
    kind: str  # the class that boto3 raises


def refused(call: Callable[..., Any], *given: Any, **members: Any) -> Error:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(*given, **members)
    error, meta = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    status = meta["HTTPStatusCode"]
    return Error(error["Code"], error["Message"], status, error.get("QueryErrorCode", ""), type(caught.value).__name__)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def http_call(endpoint: str, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """Header names with `_` for `-`."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def signed(account: str, region: str = "us-east-1", service: str = "sqs") -> str:
    scope = f"{account}/20260101/{region}/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


def json_call(endpoint: str, operation: str, members: Any, account: str = "123456789012", path: str = "/") -> Answer:
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    return http_call(
        endpoint, "POST", path, body,
        X_Amz_Target=f"AmazonSQS.{operation}", Content_Type="application/x-amz-json-1.0", Authorization=signed(account),
    )  # fmt: skip


def bodies(answer: dict[str, Any]) -> list[str]:
    return [message["Body"] for message in answer.get("Messages", [])]


def put(sqs: Any, url: str, *texts: str, **options: Any) -> None:
    for text in texts:
        sqs.send_message(QueueUrl=url, MessageBody=text, **options)


def put_in_order(sqs: Any, url: str, *texts: str, group: str | None = None) -> None:
    """`a1` goes into the group `a`."""
    for text in texts:
        sqs.send_message(
            QueueUrl=url, MessageBody=text, MessageGroupId=group or text[0], MessageDeduplicationId=f"d-{text}"
        )


def take(sqs: Any, url: str, count: int = 10, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **options).get(
        "Messages", []
    )
    return found


def arn(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def attributes(sqs: Any, url: str, *names: str) -> dict[str, str]:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names or ["All"]))
    return dict(answer.get("Attributes", {}))


def redrive_to(sqs: Any, dead: str, count: Any = 1) -> str:
    return json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": count})
