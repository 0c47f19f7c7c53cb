"""A request read whole, within bounds, and an answer sent: ASGI's small change.

Bodies under way are counted together, so a thousand clients with 8 MiB each are told to come again rather than kept.
Knows nothing of SQS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from fnqueue.emulator.refusals import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

#: 1 MiB of text is six times that where JSON escapes each character.
BODY_BYTES_MAX = 8 * 1024 * 1024
BODIES_BYTES_MAX = 96 * 1024 * 1024
BODY_SECONDS = 60.0


class Refused(Exception):  # a refusal before the protocol is known
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class ClientGone(Exception):
    pass


class Request(msgspec.Struct):
    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes = b""
    raw_path: bytes = b""  # as it was sent, percents and all

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class Reader:
    """Reads the requests of one server."""

    def __init__(self) -> None:
        self._held = 0

    async def read(self, scope: Scope, receive: Receive) -> Request:
        """Raises Refused and ClientGone."""
        query = scope.get("query_string", b"").decode("latin-1")
        raw_path = scope.get("raw_path") or b""
        request = Request(scope["method"], scope["path"], query, dict(scope["headers"]), raw_path=raw_path)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if message.get("more_body"):
            request.body = await self._rest(message.get("body", b""), receive)
        else:
            request.body = message.get("body", b"")
        return request

    async def _rest(self, first: bytes, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                self._hold(body, first)
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    self._hold(body, message.get("body", b""))
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refused(Refusal("RequestTimeout", "The request was not whole within 60 seconds.")) from None
        finally:
            self._held -= len(body)

    def _hold(self, body: bytearray, more: bytes) -> None:
        if len(body) + len(more) > BODY_BYTES_MAX:
            text = f"The request is longer than {BODY_BYTES_MAX} bytes."
            raise Refused(Refusal("RequestEntityTooLarge", text))
        if self._held + len(more) > BODIES_BYTES_MAX:
            raise Refused(Refusal("ServiceUnavailable", "Too many large requests at once. Try again."))
        body += more
        self._held += len(more)


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def until_gone(receive: Receive) -> None:
    """Ends when the client does."""
    while (await receive())["type"] != "http.disconnect":
        pass
