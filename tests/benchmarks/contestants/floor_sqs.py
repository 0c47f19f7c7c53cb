"""Not a queue but its floor: bare SQS calls over one socket, in tens, without an SDK.

Two threads receive, eight run, one deletes what they did.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from typing import Any

from tests.benchmarks import effects
from tests.benchmarks.contestants import sqs
from tests.benchmarks.contestants.floor_seal import open_sealed, sealed

AT_ONCE = 10
_QUEUE = "floor"
_HEAD = (
    "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-amz-json-1.0\r\n"
    "X-Amz-Target: AmazonSQS.{operation}\r\nAuthorization: AWS4-HMAC-SHA256 "
    "Credential=x/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0\r\n"
    "Content-Length: {length}\r\n\r\n"
)


class Wire:
    def __init__(self) -> None:
        self._host = os.environ["BENCH_SQS"].removeprefix("http://")
        name, _, port = self._host.partition(":")
        self._socket = socket.create_connection((name, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, operation: str, **members: Any) -> dict[str, Any]:
        body = json.dumps({"QueueUrl": sqs.queue_url(_QUEUE), **members}).encode()
        head = _HEAD.format(host=self._host, operation=operation, length=len(body))
        self._socket.sendall(head.encode() + body)
        return json.loads(self._answer() or b"{}")  # type: ignore[no-any-return]

    def _answer(self) -> bytes:
        got, end, length = b"", -1, 0
        while end < 0 or len(got) < end + length:
            more = self._socket.recv(262_144)
            if not more:
                raise OSError("the server closed the connection")
            got += more
            if end < 0 and (at := got.find(b"\r\n\r\n")) >= 0:
                end, length = at + 4, int(got[:at].lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if got[9:12] != b"200":
            raise OSError(got[:400].decode("latin-1"))
        return got[end:]


_wire: Any = None


def begin() -> None:
    global _wire
    sqs.make_anew(_QUEUE)
    _wire = _wire or Wire()


def _text(task: str, arguments: tuple[Any, ...]) -> str:
    return base64.b64encode(sealed(task, arguments)).decode()


def defer(*arguments: Any) -> None:
    _wire.ask("SendMessage", MessageBody=_text("noop", arguments))


def defer_stamped(sent_at: float) -> None:
    _wire.ask("SendMessage", MessageBody=_text("arrive", (sent_at,)))


def defer_many(count: int) -> None:
    entries = [{"Id": str(n), "MessageBody": _text("noop", effects.ARGUMENTS)} for n in range(count)]
    _wire.ask("SendMessageBatch", Entries=entries)


def worker() -> list[str]:
    return [sys.executable, "-c", "from tests.benchmarks.contestants.floor_sqs import work; work()"]


_Todo = queue.SimpleQueue[tuple[str, dict[str, Any]]]
_WINDOW = 50


class _Held:
    """How many messages are inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count <= _WINDOW - 10)

    def add(self, count: int) -> None:
        with self._changed:
            self._count += count
            self._changed.notify_all()


def work() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    todo: _Todo = queue.SimpleQueue()
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    held = _Held()
    for _ in range(8):
        threading.Thread(target=_run, args=(todo, done), daemon=True).start()
    threading.Thread(target=_delete, args=(done, held), daemon=True).start()
    receivers = [threading.Thread(target=_receive, args=(todo, held), daemon=True) for _ in range(2)]
    for receiver in receivers:
        receiver.start()
    receivers[0].join()


def _receive(todo: _Todo, held: _Held) -> None:
    wire = Wire()
    while True:
        held.wait_for_room()
        answer = wire.ask("ReceiveMessage", MaxNumberOfMessages=10, WaitTimeSeconds=20, VisibilityTimeout=60)
        messages = answer.get("Messages", ())
        held.add(len(messages))
        for message in messages:
            todo.put((message["ReceiptHandle"], open_sealed(base64.b64decode(message["Body"]))))


def _run(todo: _Todo, done: queue.SimpleQueue[str]) -> None:
    tasks = {"noop": lambda *arguments: effects.noop(), "arrive": effects.arrived}
    while True:
        handle, message = todo.get()
        tasks[message["task"]](*message["args"])
        done.put(handle)


def _delete(done: queue.SimpleQueue[str], held: _Held) -> None:
    wire = Wire()
    while True:
        handles, end = [done.get()], time.monotonic() + 0.05
        while len(handles) < 10:
            try:
                handles.append(done.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                break
        wire.ask("DeleteMessageBatch", Entries=[{"Id": str(n), "ReceiptHandle": h} for n, h in enumerate(handles)])
        held.add(-len(handles))
