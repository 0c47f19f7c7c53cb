"""A request that is whole, within bounds, and what an answer to it is made with.

Bodies under way are counted together, so a thousand clients with 8 MiB each are told to come again rather than kept.
Knows nothing of SQS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from fnqueue.emulator.refusals import Refusal

Headers = Sequence[tuple[bytes, bytes]]
Send = Callable[[int, bytes, Headers], None]
"""The answer: status, body, and the headers that it has besides its length. Once for each request."""
Gone = Callable[[], "asyncio.Future[None]"]
"""A future that is done when the client has gone."""

#: 1 MiB of text is six times that where JSON escapes each character.
BODY_BYTES_MAX = 8 * 1024 * 1024
BODIES_BYTES_MAX = 96 * 1024 * 1024

TOO_LARGE = Refusal("RequestEntityTooLarge", f"The request is longer than {BODY_BYTES_MAX} bytes.")
TOO_MANY = Refusal("ServiceUnavailable", "Too many large requests at once. Try again.")
NO_UPGRADE = Refusal("SerializationException", "A request with a body cannot offer a protocol: leave out Upgrade.")
TOO_SLOW = Refusal("RequestTimeout", "The request was not whole in time.")


class Request(msgspec.Struct):
    """`headers`: names in small letters. `refusal`: why it is not to be looked at."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes = b""
    raw_path: bytes = b""  # as it was sent, percents and all
    refusal: Refusal | None = None

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


App = Callable[[Request, Gone, Send], Awaitable[None] | None]
"""Who answers a request: what it returns is awaited; None, where it sends the answer itself, now or later."""


class Bodies:
    """Those of one server that are not whole yet."""

    def __init__(self, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self._held, self._max = 0, bytes_max

    def hold(self, count: int) -> bool:
        """So many bytes more; whether they may be kept. They count either way."""
        self._held += count
        return self._held <= self._max

    def let_go(self, count: int) -> None:
        self._held -= count


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    send(status, body, headers)
