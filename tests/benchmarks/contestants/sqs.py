"""A queue on the benchmark's SQS server, made anew: without an SDK, because not every contestant has one."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

REGION = "us-east-1"
ACCOUNT = "000000000000"


def queue_url(queue: str) -> str:
    """As the server names it: it knows a queue by no other url. (curl and systemd take *.localhost for loopback.)"""
    port = os.environ["BENCH_SQS"].rpartition(":")[2]
    return f"http://sqs.{REGION}.localhost:{port}/{ACCOUNT}/{queue}"


def make_anew(queue: str) -> None:
    try:
        ask("DeleteQueue", {"QueueUrl": queue_url(queue)})
    except OSError:
        pass  # it was not there
    ask("CreateQueue", {"QueueName": queue, "Attributes": {"VisibilityTimeout": "3600"}})


def ask(operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """Raises OSError for a refusal. The server checks no signature, and wants to see one."""
    authorization = f"AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(
        os.environ["BENCH_SQS"],
        json.dumps(members).encode(),
        {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "Authorization": authorization,
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"{}")  # type: ignore[no-any-return]
