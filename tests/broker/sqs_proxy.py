"""A real HTTP server between an SqsBroker and moto, which loses answers, fails and throttles when told to.

`proxy.then("SendMessageBatch", lose_answer)` spoils the next such request; `proxy.asked` holds every
request as (operation, members). Listens on 127.0.0.1 and a port of its own.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, str], bytes]
Forward = Callable[[], Answer]
Spoil = Callable[[dict[str, Any], Forward], Answer | None]  # None: the connection is closed without an answer

JSON = "application/x-amz-json-1.0"


class Proxy:
    def __init__(self, target: str) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._target = urlsplit(target)
        self._spoils: defaultdict[str, deque[Spoil]] = defaultdict(deque)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def then(self, operation: str, *spoils: Spoil) -> None:
        self._spoils[operation].extend(spoils)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [members for name, members in self.asked if name == operation]

    def operations(self) -> list[str]:
        return [name for name, _ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, operation: str, body: bytes, headers: dict[str, str]) -> Answer | None:
        members = json.loads(body)
        self.asked.append((operation, members))

        def forward() -> Answer:
            connection = http.client.HTTPConnection(str(self._target.hostname), self._target.port, timeout=30)
            try:
                connection.request("POST", "/", body, headers)
                response = connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()
            finally:
                connection.close()

        spoils = self._spoils[operation]
        return spoils.popleft()(members, forward) if spoils else forward()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["X-Amz-Target"].partition(".")[2]
                answer = proxy.answer(operation, body, dict(self.headers))
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, text = answer
                self.send_response(status)
                for name in ("Content-Type", "x-amzn-query-error"):
                    if value := {k.lower(): v for k, v in headers.items()}.get(name.lower()):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def lose_answer(members: dict[str, Any], forward: Forward) -> Answer | None:
    """It was done, and nobody hears of it."""
    forward()
    return None


def lose_request(members: dict[str, Any], forward: Forward) -> Answer | None:
    return None


def fail(status: int, code: str = "InternalFailure", text: str = "try later") -> Spoil:
    def spoil(members: dict[str, Any], forward: Forward) -> Answer:
        body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": text}).encode()
        return status, {"Content-Type": JSON, "x-amzn-query-error": f"{code};Sender"}, body

    return spoil


def fail_entries(*ids: str, code: str = "InternalError") -> Spoil:
    """These entries are not done, for a reason of SQS's own; the others are."""

    def spoil(members: dict[str, Any], forward: Forward) -> Answer:
        done = [
            {"Id": e["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for e in members["Entries"] if e["Id"] not in ids
        ]
        failed = [
            {"Id": e["Id"], "Code": code, "Message": "try later", "SenderFault": False}
            for e in members["Entries"]
            if e["Id"] in ids
        ]
        return 200, {"Content-Type": JSON}, json.dumps({"Successful": done, "Failed": failed}).encode()

    return spoil


def answer_html(members: dict[str, Any], forward: Forward) -> Answer:
    return 200, {"Content-Type": "text/html"}, b"<html>Sign in to the hotel's network</html>"


def answer_json(**members: Any) -> Spoil:
    """Answers without asking, for operations that the server behind does not know."""

    def spoil(asked: dict[str, Any], forward: Forward) -> Answer:
        return 200, {"Content-Type": JSON}, json.dumps(members).encode()

    return spoil
