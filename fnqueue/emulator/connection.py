"""One client's connection: its requests one after another, each read whole, handed on, and answered.

uvicorn keeps the sockets, the signals and the end; this is in the place of its HTTP protocol and of ASGI, which cost
three times as much a request. Whoever never ends a request is hung up on, by its size and by the time; whoever sends
the next ones before the first is answered waits, unread.
Knows nothing of SQS.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import msgspec

from fnqueue.emulator.http import (
    BODY_BYTES_MAX,
    NO_UPGRADE,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    App,
    Bodies,
    Headers,
    Request,
)
from fnqueue.emulator.refusals import Refusal

_log = logging.getLogger("fnqueue.emulator")

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`request_seconds`: from a request's first byte to its last. `idle_seconds`: between two requests."""

    head_bytes: int = 64 * 1024
    request_seconds: float = 60.0
    idle_seconds: float = 75.0


class Door:
    """What the connections of one server share."""

    def __init__(self, app: App, bounds: Bounds | None = None) -> None:
        self.app, self.bounds, self.bodies = app, bounds or Bounds(), Bodies()
        self._of: Any = None
        self._starts: dict[int, bytes] = {}

    def start(self, status: int, default_headers: Headers) -> bytes:
        """What an answer begins with. uvicorn brings other headers each second: the date."""
        if default_headers is not self._of:
            self._of, self._starts = default_headers, {}
        start = self._starts.get(status)
        if start is None:
            start = self._starts[status] = _LINES[status] + b"".join(b"%b: %b\r\n" % each for each in default_headers)
        return start

    def connection(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> Connection:
        """uvicorn calls it, with these names."""
        return Connection(self, server_state, _loop or asyncio.get_running_loop())


class Connection(asyncio.Protocol):
    def __init__(self, door: Door, server_state: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._door, self._state, self._loop = door, server_state, loop
        self._parser: Any = httptools.HttpRequestParser(self)
        # What comes behind a request that is the last is not looked at, and is no reason to leave that unanswered.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._transport: Any = None
        self._reads = self._writable = True
        self._url, self._headers = b"", dict[bytes, bytes]()  # of the head that is being read
        self._head_bytes, self._heads, self._in_head, self._in_trailer = 0, 0, False, False
        self._unfinished: Exchange | None = None  # its body is being read
        self._body: bytes | bytearray = b""
        self._held = 0
        self._active: Exchange | None = None
        self._next: deque[Exchange] = deque()
        self._since = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ the transport's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._state.connections.add(self)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)
        self._parser = None  # it knows us: a circle
        self._drop_body()
        self._next.clear()
        if self._active is not None:
            self._active.lose()
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        heads = self._heads
        if self._parser is None:  # what is answered last is known
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_this()
            self._go_on()
            return
        except httptools.HttpParserError:
            self._go_on()
            self._hang_up(400, "Invalid HTTP request received.")
            return
        self._go_on()
        if self._in_head:
            # Where a head begins in these data, most of them may be the body before it.
            self._head_bytes += len(data) if self._heads == heads else 0
            if self._head_bytes > self._door.bounds.head_bytes:
                self._hang_up(400, "Request header fields too large.")
        if self._unfinished is not None:
            self._hold(self._unfinished)

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
        self._url, self._headers, self._in_trailer = b"", {}, False
        self._since = self._loop.time()
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_trailer:  # fields that follow a body in chunks: nobody asks for them
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head, self._in_trailer = False, True
        parser = self._parser
        keeps_alive = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        self._unfinished = Exchange(self, _request(parser.get_method().decode(), self._url, self._headers), keeps_alive)

    def on_chunk_header(self) -> None:  # the last chunk has no body: fields follow
        self._begin_head()

    def on_body(self, body: bytes) -> None:
        self._in_head = False
        if self._unfinished is None:  # it was refused
            return
        if not self._body:
            self._body = body
            return
        if not isinstance(self._body, bytearray):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        self._in_head = False
        exchange, self._unfinished = self._unfinished, None
        if exchange is None:
            return
        if len(self._body) > BODY_BYTES_MAX:
            exchange.refuse(TOO_LARGE)
        else:
            exchange.request.body = bytes(self._body)
        self._drop_body()
        # It begins when all these data are parsed: only then is it known whether another protocol was offered with it.
        self._next.append(exchange)

    def _begin_head(self) -> None:
        self._head_bytes, self._in_head, self._heads = 0, True, self._heads + 1

    # ------------------------------------------------------------------ bodies that come in pieces

    def _hold(self, exchange: Exchange) -> None:
        more, self._held = len(self._body) - self._held, len(self._body)
        if not self._door.bodies.hold(more):
            self._refuse(exchange, TOO_MANY)
        elif len(self._body) > BODY_BYTES_MAX:
            self._refuse(exchange, TOO_LARGE)
        elif exchange.request.headers.get(b"expect", b"").lower() == b"100-continue" and self._active is None:
            del exchange.request.headers[b"expect"]
            self._transport.write(_CONTINUE)

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """What is still to come of it is read past, until it has heard."""
        self._unfinished = None
        self._drop_body()
        exchange.refuse(refusal)
        self._next.append(exchange)
        self._go_on()

    def _drop_body(self) -> None:
        self._door.bodies.let_go(self._held)
        self._body, self._held = b"", 0

    # ------------------------------------------------------------------ one after another

    def _end_after_this(self) -> None:
        """Who offers another protocol, as Java's client does with each request, is answered in this one, unless there
        is a body: the parser takes that for the other protocol's.
        """
        last = self._next[-1] if self._next else self._active
        self._parser = None
        if last is None:
            self._transport.close()
            return
        last.keeps_alive = False
        if last.request.headers.keys() & {b"content-length", b"transfer-encoding"}:
            last.refuse(NO_UPGRADE)

    def _go_on(self) -> None:
        """One request in a turn of the loop: the others' turns are between those of one who sends thousands at once."""
        # Behind the last answer nothing is done: its client could not know, and would send it again.
        if self._active is None and self._next and self._writable and not self._transport.is_closing():
            self._active = self._next.popleft()
            self._begin(self._active)
        if self._reads is bool(self._next):
            self._read_on(not self._next)

    def _begin(self, exchange: Exchange) -> None:
        try:
            waits = self._door.app(exchange.request, exchange.gone, exchange.send)
        except Exception:
            _log.exception("a request failed")
            self._transport.close()
            return
        if waits is not None:
            self._task = self._loop.create_task(self._run(exchange, waits))

    async def _run(self, exchange: Exchange, waits: Awaitable[None]) -> None:
        try:
            await waits
        except Exception:
            _log.exception("a request failed")
        if not exchange.answered:
            self._transport.close()

    def answered(self, exchange: Exchange, status: int, body: bytes, headers: Headers) -> None:
        """All that is to be said to `exchange`."""
        if self._transport.is_closing():
            return
        parts = [self._door.start(status, self._state.default_headers)]
        for header in headers:
            parts.append(b"%b: %b\r\n" % header)
        if not exchange.keeps_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if exchange.request.method != "HEAD":
            parts.append(body)
        self._transport.write(b"".join(parts))
        self._active = None
        if not exchange.keeps_alive:
            self._transport.close()
            return
        if not self._in_head:
            self._since = self._loop.time()
        if self._next or not self._reads:
            self._loop.call_soon(self._go_on)

    def _read_on(self, reads: bool) -> None:
        """Or not, while others wait for their turn."""
        if self._transport.is_closing():
            return
        self._reads, self._since = reads, self._loop.time()
        (self._transport.resume_reading if reads else self._transport.pause_reading)()

    # ------------------------------------------------------------------ who has had enough time

    def _watch(self) -> None:
        """One timer, which looks from time to time: to set one with each request costs more than all else here."""
        bounds, left = self._door.bounds, float("inf")
        passed = self._loop.time() - self._since
        if self._reads and (self._in_head or self._unfinished is not None):
            left = bounds.request_seconds - passed
        elif self._active is None:
            left = bounds.idle_seconds - passed
        if left > 0:
            self._timer = self._loop.call_later(min(left, bounds.request_seconds / 4), self._watch)
        elif self._unfinished is not None:
            self._refuse(self._unfinished, TOO_SLOW)
        elif self._in_head:
            self._hang_up(408, TOO_SLOW.text)
        else:
            self._transport.close()

    def _hang_up(self, status: int, text: str) -> None:
        if self._transport.is_closing():
            return
        if self._active is None and not self._next:  # else it would be taken for the answer to that
            length = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(text)
            self._transport.write(_LINES[status] + length + text.encode())
        self._transport.close()


class Exchange:
    """A request, and who is to be told the answer."""

    __slots__ = ("_connection", "_gone", "_lost", "answered", "keeps_alive", "request")

    def __init__(self, connection: Connection, request: Request, keeps_alive: bool) -> None:
        self._connection, self.request, self.keeps_alive = connection, request, keeps_alive
        self.answered = self._lost = False
        self._gone: asyncio.Future[None] | None = None

    def refuse(self, refusal: Refusal) -> None:
        self.request.refusal, self.keeps_alive = refusal, False

    def send(self, status: int, body: bytes, headers: Headers) -> None:
        self.answered = True
        self._connection.answered(self, status, body, headers)

    def gone(self) -> asyncio.Future[None]:
        self._gone = asyncio.get_running_loop().create_future()
        if self._lost:
            self._gone.set_result(None)
        return self._gone

    def lose(self) -> None:
        """The client has gone."""
        self._lost = True
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)


def _request(method: str, url: bytes, headers: dict[bytes, bytes]) -> Request:
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
    else:  # a whole URL, as proxies are given it
        parsed = httptools.parse_url(url)
        path, query = parsed.path or b"/", parsed.query or b""
    text = path.decode("latin-1")
    shown = unquote(text) if "%" in text else text
    return Request(method, shown, query.decode("latin-1"), headers, raw_path=path)
