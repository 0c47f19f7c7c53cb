"""One client of bare sockets for all SQS servers: prepared bytes, a core of its own, and it counts what it is given.

    python -m tests.benchmarks.wire PORT CORE          CORE -1: wherever the system likes

One JSON line in, one out, as `client.py`. Each connection sends its next request when it has the answer to the last:
none is pipelined. An answer that is not 200, or has not the messages that it must have, ends the run: so nobody is fast
by failing. Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

BATCH = 10
BODY = "x" * 256
_HEAD = (
    "POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-amz-json-1.0\r\n"
    "X-Amz-Target: AmazonSQS.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 "
    "Credential=000000000000/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature={zeros}\r\n"
    "Content-Length: {length}\r\n\r\n"
)
_HANDLE = re.compile(rb'"ReceiptHandle":\s*"([^"]*)"')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)
_PATIENCE_SECONDS = 60

Next = Callable[["Line", bytes | None], bytes | None]
"""From the last answer's body, None at first, to the next request; None: this connection is done."""


class Refused(RuntimeError):
    pass


class Line:
    """One connection, made anew where the server closes it after each answer. `asks`: what was asked last, for those
    who send different things in turn.
    """

    def __init__(self, port: int) -> None:
        self.port, self.asks = port, ""
        self.closes = False  # the server does, after the answer that was just read
        self.connect()

    def connect(self) -> None:
        self._got, self._end, self._length = b"", -1, 0
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closes = False

    def receive(self) -> bytes | None:
        """The whole body of an answer; None while there is more to come."""
        more = self.socket.recv(262_144)
        if not more:
            raise Refused(f"the server closed the connection after {self._got[:200]!r}")
        got = self._got = self._got + more
        if self._end < 0:
            at = got.find(b"\r\n\r\n")
            if at < 0:
                return None
            head = got[: at + 2]
            length = _LENGTH.search(head)
            if head[9:12] != b"200" or length is None:
                raise Refused(f"answered {got[:600].decode('latin-1')!r}")
            self._end, self._length = at + 4, int(length[1])
            self.closes = _CLOSES.search(head) is not None
        if len(got) < self._end + self._length:
            return None
        body = got[self._end :]
        self._got, self._end = b"", -1
        return body

    def ask(self, request: bytes) -> bytes:
        self.socket.sendall(request)
        while (body := self.receive()) is None:
            pass
        return body


class Wire:
    def __init__(self, port: int) -> None:
        self.port = port
        self._urls: dict[str, str] = {}

    # ---------------------------------------------------------------- verbs: each answers a dict

    def create(self, queue: str) -> dict[str, Any]:
        """Long visibility, so that nothing comes back while it is measured."""
        made = self._ask("CreateQueue", QueueName=queue, Attributes={"VisibilityTimeout": "3600"})
        self._urls[queue] = made["QueueUrl"]
        return {}

    def send(self, queue: str, connections: int, seconds: float, count: int) -> dict[str, Any]:
        """Until `seconds` passed or `count` messages were sent. 0 seconds: all of them."""
        request = self._request("SendMessage", QueueUrl=self._urls[queue], MessageBody=BODY)
        return self._sent(request, 1, connections, seconds, count)

    def send_batch(self, queue: str, connections: int, seconds: float, count: int) -> dict[str, Any]:
        entries = [{"Id": str(number), "MessageBody": BODY} for number in range(BATCH)]
        request = self._request("SendMessageBatch", QueueUrl=self._urls[queue], Entries=entries)
        return self._sent(request, BATCH, connections, seconds, count)

    def drain(self, queue: str, connections: int, seconds: float, count: int) -> dict[str, Any]:
        """ReceiveMessage and DeleteMessageBatch in turn, until `count` messages are deleted or the time is over."""
        receive = self._request("ReceiveMessage", QueueUrl=self._urls[queue], MaxNumberOfMessages=BATCH)
        done, end = 0, _end(seconds)

        def following(line: Line, body: bytes | None) -> bytes | None:
            nonlocal done
            if line.asks == "delete" and body is not None:
                if b'"Code"' in body:
                    raise Refused(f"deleted not all: {body[:600]!r}")
                done += body.count(b'"Id"')
            elif body is not None and (handles := _HANDLE.findall(body)):
                line.asks = "delete"
                return self._delete(queue, handles)
            elif body is not None:  # nothing is left
                return None
            line.asks = "receive"
            return receive if done < count and time.monotonic() < end else None

        took = self._run(connections, following)
        return {"messages": done, "seconds": took}

    def poll_idly(self, queue: str, connections: int, seconds: float) -> dict[str, Any]:
        """So many long polls of 20 s on an empty queue, each begun anew when it ends."""
        request = self._request("ReceiveMessage", QueueUrl=self._urls[queue], WaitTimeSeconds=20)
        end = _end(seconds)

        def following(line: Line, body: bytes | None) -> bytes | None:
            if body is not None and b"ReceiptHandle" in body:
                raise Refused(f"the queue was not empty: {body[:200]!r}")
            return request

        self._run(connections, following, end)
        return {}

    def visible(self, queue: str) -> dict[str, Any]:
        name = "ApproximateNumberOfMessages"
        shown = self._ask("GetQueueAttributes", QueueUrl=self._urls[queue], AttributeNames=[name])
        return {"messages": int(shown["Attributes"][name])}

    # ---------------------------------------------------------------- steps

    def _sent(self, request: bytes, each: int, connections: int, seconds: float, count: int) -> dict[str, Any]:
        asked, done, end = 0, 0, _end(seconds)

        def following(line: Line, body: bytes | None) -> bytes | None:
            nonlocal asked, done
            if body is not None:
                if body.count(b'"MessageId"') != each:
                    raise Refused(f"accepted not all: {body[:600]!r}")
                done += each
            if asked >= count or time.monotonic() > end:
                return None
            asked += each
            return request

        took = self._run(connections, following)
        return {"messages": done, "seconds": took}

    def _run(self, connections: int, following: Next, end: float = float("inf")) -> float:
        """Seconds from the first request to the last answer. `end`: then it stops, answered or not."""
        lines = [Line(self.port) for _ in range(connections)]
        busy, poll = dict[int, Line](), select.epoll()
        try:
            started = time.monotonic()
            for line in lines:
                if request := following(line, None):
                    line.socket.sendall(request)
                    busy[line.socket.fileno()] = line
                    poll.register(line.socket, select.EPOLLIN)
            while busy and time.monotonic() < end:
                ready = poll.poll(max(0.0, min(_PATIENCE_SECONDS, end - time.monotonic())))
                if not ready and time.monotonic() < end:
                    raise Refused(f"no answer within {_PATIENCE_SECONDS} s")
                for number, _ in ready:
                    body = busy[number].receive()
                    if body is not None:
                        self._go_on(busy, poll, number, following, body)
            return time.monotonic() - started
        finally:
            poll.close()
            for line in lines:
                line.socket.close()

    def _go_on(self, busy: dict[int, Line], poll: select.epoll, number: int, following: Next, body: bytes) -> None:
        line = busy[number]
        request = following(line, body)
        if request is None or line.closes:
            poll.unregister(number)
            del busy[number]
        if request is None:
            return
        if line.closes:
            line.socket.close()
            line.connect()
            busy[line.socket.fileno()] = line
            poll.register(line.socket, select.EPOLLIN)
        line.socket.sendall(request)

    def _delete(self, queue: str, handles: list[bytes]) -> bytes:
        entries = b",".join(b'{"Id":"%d","ReceiptHandle":"%b"}' % each for each in enumerate(handles))
        body = b'{"QueueUrl":"%b","Entries":[%b]}' % (self._urls[queue].encode(), entries)
        return self._head("DeleteMessageBatch", len(body)) + body

    def _request(self, operation: str, **members: Any) -> bytes:
        body = json.dumps(members).encode()
        return self._head(operation, len(body)) + body

    def _head(self, operation: str, length: int) -> bytes:
        return _HEAD.format(port=self.port, operation=operation, length=length, zeros="0" * 64).encode()

    def _ask(self, operation: str, **members: Any) -> Any:
        line = Line(self.port)
        try:
            return json.loads(line.ask(self._request(operation, **members)))
        finally:
            line.socket.close()


def _end(seconds: float) -> float:
    return time.monotonic() + seconds if seconds else float("inf")


def pin(core: int) -> None:
    """This process to one core, where the system can."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def main() -> None:
    pin(int(sys.argv[2]))
    wire = Wire(int(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(wire, asked.pop("do"))(**asked)
        except (Refused, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
