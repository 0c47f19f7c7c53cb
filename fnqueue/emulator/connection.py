"""One client's connection: its requests one after another, each handed to an ASGI application and answered.

uvicorn keeps the sockets, the signals and the end; this is in the place of its HTTP protocol, which costs three times
as much a request. It does what the emulator needs of ASGI and no more: an answer is one body. Whoever never ends a
head is hung up on, by its size and by the time; whoever sends a request before the last is answered waits, unread.
Knows nothing of SQS.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import msgspec

from fnqueue.emulator.http import Headers

_log = logging.getLogger("fnqueue.emulator")

_UNREAD_BYTES_MAX = 64 * 1024
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GONE = {"type": "http.disconnect"}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`head_seconds`: for a request's head, whole; `idle_seconds`: between two requests."""

    head_bytes: int = 64 * 1024
    head_seconds: float = 60.0
    idle_seconds: float = 75.0


class Connection(asyncio.Protocol):
    """Made by uvicorn, with these names."""

    bounds = Bounds()

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self._app, self._state = config.loaded_app, server_state
        self._loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._reads = self._writable = True
        self._head: _Head | None = None  # being read
        self._unfinished: Exchange | None = None  # its body is being read
        self._active: Exchange | None = None
        self._next: deque[Exchange] = deque()
        self._head_bytes, self._heads, self._in_head = 0, 0, False
        self._since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ the transport's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._state.connections.add(self)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)
        self._next.clear()
        for exchange in (self._active, self._unfinished):
            if exchange is not None:
                exchange.lose()
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        heads = self._heads
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._hang_up(400, "Nothing to upgrade to here.")
        except httptools.HttpParserError:
            self._hang_up(400, "Invalid HTTP request received.")
            return
        if self._in_head:
            # Where a head begins in these data, most of them may be the body before it.
            self._head_bytes += len(data) if self._heads == heads else 0
            if self._head_bytes > self.bounds.head_bytes:
                self._hang_up(400, "Request header fields too large.")
        elif self._unfinished is not None:
            self._take(self._unfinished)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._go_on()

    def shutdown(self) -> None:
        """Of the server."""
        self._next.clear()
        if self._active is None:
            self._transport.close()
        else:
            self._active.keeps_alive = False

    # ------------------------------------------------------------------ the parser's

    def on_message_begin(self) -> None:
        self._begin_head()
        self._head = _Head()

    def on_url(self, url: bytes) -> None:
        assert self._head is not None
        self._head.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:  # else it follows a body in chunks, and nobody asks for it
            self._head.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        head, self._head, self._in_head = self._head, None, False
        assert head is not None
        parser = self._parser
        keeps_alive = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        self._unfinished = Exchange(self, _scope(parser.get_method().decode(), head), keeps_alive)

    def on_chunk_header(self) -> None:  # the last chunk has no body: fields follow
        self._begin_head()

    def on_body(self, body: bytes) -> None:
        self._in_head = False
        if self._unfinished is not None:
            self._unfinished.add(body)

    def on_message_complete(self) -> None:
        self._in_head = False
        exchange, self._unfinished = self._unfinished, None
        if exchange is not None:
            exchange.end()
            self._take(exchange)

    def _begin_head(self) -> None:
        if not self._in_head:
            self._since = self._loop.time()
        self._head_bytes, self._in_head, self._heads = 0, True, self._heads + 1

    # ------------------------------------------------------------------ one after another

    def _take(self, exchange: Exchange) -> None:
        if not exchange.taken:
            exchange.taken = True
            self._next.append(exchange)
            self._go_on()
        self.read_on()

    def _go_on(self) -> None:
        if self._active is None and self._next and self._writable:
            self._active = self._next.popleft()
            task = self._loop.create_task(self._run(self._active))
            self._state.tasks.add(task)
            task.add_done_callback(self._state.tasks.discard)
        self.read_on()

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            _log.exception("a request failed")
        if not exchange.answered:
            self._transport.close()

    def answered(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        """All that is to be said to `exchange`."""
        if self._transport.is_closing():
            return
        parts = [_LINES[status]]
        for name, value in (*self._state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection" and value == b"close":
                exchange.keeps_alive = False
        if not exchange.keeps_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if exchange.scope["method"] != "HEAD":
            parts.append(body)
        self._transport.write(b"".join(parts))
        self._active = None
        if not exchange.keeps_alive:
            self._transport.close()
            return
        self._since = self._loop.time()
        self._go_on()

    def read_on(self) -> None:
        """Or not: while others wait for their turn, and while a body is not taken as fast as it comes."""
        unread = self._unfinished.unread if self._unfinished is not None else 0
        reads = not self._next and unread <= _UNREAD_BYTES_MAX
        if reads == self._reads or self._transport.is_closing():
            return
        self._reads = reads
        (self._transport.resume_reading if reads else self._transport.pause_reading)()

    def continue_(self) -> None:
        self._transport.write(_CONTINUE)

    # ------------------------------------------------------------------ who has had enough time

    def _watch(self) -> None:
        """One timer, which looks from time to time: to set one with each request costs more than all else here."""
        bounds, left = self.bounds, float("inf")
        passed = self._loop.time() - self._since
        if self._in_head:
            left = bounds.head_seconds - passed
        elif self._active is None:
            left = bounds.idle_seconds - passed
        if left <= 0 and self._in_head and self._active is None:
            self._hang_up(408, "The request was not whole in time.")
        elif left <= 0:
            self._transport.close()
        else:
            seconds = min(left, bounds.head_seconds / 4)
            self._timer = self._loop.call_later(seconds, self._watch)

    def _hang_up(self, status: int, text: str) -> None:
        if self._transport.is_closing():
            return
        if self._active is None:  # else it would be taken for the answer to that
            length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(text)
            self._transport.write(_LINES[status] + b"content-type: text/plain\r\n" + length + text.encode())
        self._transport.close()


class _Head:
    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url, self.headers = b"", list[tuple[bytes, bytes]]()


def _scope(method: str, head: _Head) -> dict[str, Any]:
    path, query = head.url, b""
    if not path.startswith(b"/") or b"#" in path:  # a whole URL, as proxies are given it
        parsed = httptools.parse_url(path)
        path, query = parsed.path or b"/", parsed.query or b""
    else:
        path, _, query = path.partition(b"?")
    text = path.decode("ascii", "replace")
    if "%" in text:
        text = unquote(text)
    return {"type": "http", "method": method, "path": text, "query_string": query, "headers": head.headers}


class Exchange:
    """A request and its answer: `receive` and `send` are ASGI's."""

    __slots__ = (
        *("_connection", "_ended", "_expects", "_headers", "_lost", "_piece", "_status", "_told", "_waiter"),
        *("answered", "keeps_alive", "scope", "taken"),
    )

    def __init__(self, connection: Connection, scope: dict[str, Any], keeps_alive: bool) -> None:
        self._connection, self.scope, self.keeps_alive = connection, scope, keeps_alive
        self._piece: bytes | bytearray = b""
        self._ended = self._told = self._lost = self.taken = self.answered = False
        self._expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])
        self._waiter: asyncio.Future[None] | None = None
        self._status, self._headers = 0, list[tuple[bytes, bytes]]()

    # ------------------------------------------------------------------ for the connection

    @property
    def unread(self) -> int:
        return len(self._piece)

    def add(self, piece: bytes) -> None:
        if self.answered:
            return
        if not self._piece:
            self._piece = piece
        else:
            if not isinstance(self._piece, bytearray):
                self._piece = bytearray(self._piece)
            self._piece += piece
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def lose(self) -> None:
        """The client has gone."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------------ for the application

    async def receive(self) -> dict[str, Any]:
        while True:
            if self._lost:
                return _GONE
            if self._piece or (self._ended and not self._told):
                piece, self._piece, self._told = bytes(self._piece), b"", self._ended
                if not self._ended:
                    self._connection.read_on()
                return {"type": "http.request", "body": piece, "more_body": not self._ended}
            if self._expects and not self._ended:
                self._expects = False
                self._connection.continue_()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
            return
        self.answered, self._piece = True, b""
        self._connection.answered(self, self._status, self._headers, message["body"])
