"""A connection, over real sockets: requests in their order, bodies however they are cut, and those who never end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("httptools")

from fnqueue.emulator.connection import Bounds, Door
from fnqueue.emulator.http import BODY_BYTES_MAX, NO_UPGRADE, Gone, Request, Send, answer

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Use = Callable[[Callable[[], Awaitable[Client]], SimpleNamespace], Awaitable[None]]


class Echo:
    """Answers with what it was asked. `/wait` waits until it is let go, or the client has gone; `/now` is answered in
    the call itself, and `/fails` fails there.
    """

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.left: list[str] = []

    def __call__(self, request: Request, gone: Gone, send: Send) -> Awaitable[None] | None:
        if request.path == "/fails":
            raise RuntimeError("planted")
        if request.refusal is not None:
            send(400, request.refusal.text.encode(), [])
            return None
        if request.path != "/now":
            return self._answer(request, gone, send)
        send(200, request.query.encode(), [])
        return None

    async def _answer(self, request: Request, gone: Gone, send: Send) -> None:
        if request.path == "/wait":
            going, away = asyncio.create_task(self.let_go.wait()), gone()
            await asyncio.wait((away, going), return_when=asyncio.FIRST_COMPLETED)
            going.cancel()
            if away.done():
                self.left.append(request.path)
                return
        said = f"{request.method} {request.path} {request.query} ".encode() + request.body
        await answer(send, 200, said, [(b"x-a", b"b")])


def serving(use: Use, bounds: Bounds | None = None) -> None:
    async def run() -> None:
        app = Echo()
        door = Door(app, bounds)
        server = SimpleNamespace(connections=set(), default_headers=[(b"date", b"today")], app=app, door=door)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: door.connection(None, server, {}), "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        clients: list[Client] = []

        async def connect() -> Client:
            clients.append(await asyncio.open_connection("127.0.0.1", port))
            return clients[-1]

        async with asyncio.timeout(20):
            await use(connect, server)
        for _, writer in clients:
            writer.close()
        while server.connections:
            await asyncio.sleep(0.001)
        listening.close()

    asyncio.run(run())


async def answered(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A head and a body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


def test_an_answer_has_its_status_headers_and_length_and_the_connection_stays() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        for _ in range(3):
            writer.write(b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            head, body = await answered(reader)
            assert body == b"POST /a b c=d hi"
            assert head == b"HTTP/1.1 200 OK\r\ndate: today\r\nx-a: b\r\ncontent-length: 16\r\n\r\n"
        assert len(server.connections) == 1

    serving(use)


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"])
def test_who_asks_for_one_answer_only_is_told_that_it_was_the_last(request_: bytes) -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(request_)
        whole = await reader.read()
        assert b"\r\nconnection: close\r\n" in whole
        assert whole.endswith(b"\r\n\r\nGET /  ")

    serving(use)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"GET /a HTTP/1.1\r\n%b\r\n", b"GET /a  "),
        (b"POST /a HTTP/1.1\r\n%bContent-Length: 2\r\n\r\nhi", NO_UPGRADE.text.encode()),
    ],
)
def test_who_offers_another_protocol_is_answered_in_this_one_or_told_not_to(request_: bytes, said: bytes) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n"

    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(request_ % offer)
        assert (await reader.read()).endswith(b"\r\n\r\n" + said)

    serving(use)


def test_what_comes_behind_the_last_request_does_not_keep_that_from_its_answer() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        for behind in (b"\r\n", b"x", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi" + behind)
            assert (await answered(reader))[1] == b"POST /  hi"

    serving(use)


def test_behind_the_last_answer_nothing_is_done_that_its_client_would_never_hear_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        for first, said in ((b"/now?1", b"1"), (b"/a", b"GET /a  ")):
            reader, writer = await connect()
            kept = b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"  # to the parser; a 1.0 has one answer
            writer.write(b"GET " + first + kept + b"GET /fails" + kept)
            assert (await reader.read()).endswith(b"\r\n\r\n" + said)

    serving(use)
    assert "planted" not in caplog.text


def test_the_answer_to_head_has_no_body() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"connection: close\r\ncontent-length: 8\r\n\r\n")

    serving(use)


def test_requests_sent_together_are_answered_in_their_order() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        asked = [b"POST /%d HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % (n, n % 10) for n in range(500)]
        writer.write(b"".join(asked))
        for number in range(500):
            _, body = await answered(reader)
            assert body == b"POST /%d  %d" % (number, number % 10)

    serving(use)


def test_thousands_that_come_at_once_and_are_answered_at_once_do_not_stand_on_each_other() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(b"".join(b"GET /now?%d HTTP/1.1\r\n\r\n" % n for n in range(5000)))
        for n in range(5000):
            assert (await answered(reader))[1] == b"%d" % n

    serving(use)


def test_who_sends_thousands_that_are_answered_at_once_does_not_keep_others_waiting() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        _, flood = await connect()
        reader, writer = await connect()
        flood.write(b"GET /now?0 HTTP/1.1\r\n\r\n" * 5000)
        writer.write(b"GET /now?1 HTTP/1.1\r\n\r\n")
        assert (await answered(reader))[1] == b"1"
        assert max(len(one._next) for one in server.connections) > 2500, "the other one's were done first"

    serving(use)


def test_a_request_that_fails_before_it_is_waited_for_ends_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        other, other_writer = await connect()
        writer.write(b"GET /fails HTTP/1.1\r\n\r\nGET /now?1 HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        other_writer.write(b"GET /now?2 HTTP/1.1\r\n\r\n")
        assert (await answered(other))[1] == b"2"

    serving(use)
    assert "planted" in caplog.text


def test_who_sends_without_end_before_the_first_answer_is_not_read() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        more = b"GET / HTTP/1.1\r\n\r\n" * 1000
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    writer.write(more)
                    await writer.drain()
        (connection,) = server.connections
        assert len(connection._next) < 100_000, "each read is of 256 KiB at most, and there is one"
        server.app.let_go.set()
        assert (await answered(reader))[1] == b"GET /wait  "
        assert (await answered(reader))[1] == b"GET /  "

    serving(use)


def test_a_body_is_whole_however_it_is_cut() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        whole = b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
        for at in range(1, len(whole)):
            reader, writer = await connect()
            writer.write(whole[:at])
            await asyncio.sleep(0.001)
            writer.write(whole[at:])
            assert (await answered(reader))[1] == b"POST /a  hello"

    serving(use)


def test_who_asks_whether_to_go_on_is_told_to() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await answered(reader))[1] == b"POST /  hi"

    serving(use)


def test_a_client_that_goes_is_heard_of_by_whoever_waits_for_it() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        for request in (b"GET /wait HTTP/1.1\r\n\r\n", b"POST /cut HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"):
            _, writer = await connect()
            writer.write(request)
            await asyncio.sleep(0.05)
            writer.close()
        while server.app.left != ["/wait"] or server.connections:
            await asyncio.sleep(0.01)

    serving(use)


def test_a_head_that_is_never_whole_is_hung_up_on_in_time_also_when_it_grows() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(b"GET / HT")
        growing, slow = await connect()
        slow.write(b"GET / HTTP/1.1\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        while not growing.at_eof():
            slow.write(b"a: b\r\n")
            async with asyncio.timeout(5):
                if (await growing.read(100)).startswith(b"HTTP/1.1 408"):
                    break

    serving(use, Bounds(request_seconds=0.2))


def test_a_connection_without_requests_is_closed_in_time_and_one_that_waits_for_its_answer_is_not() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        silent, _ = await connect()
        reader, writer = await connect()
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        assert await silent.read() == b""
        await asyncio.sleep(0.3)
        server.app.let_go.set()
        assert (await answered(reader))[1] == b"GET /wait  "
        assert await reader.read() == b""

    serving(use, Bounds(idle_seconds=0.2, request_seconds=0.4))


@pytest.mark.parametrize("rubbish", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\na b: c\r\n\r\n"])
def test_what_is_no_http_is_a_400_and_the_end(rubbish: bytes) -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(rubbish)
        assert (await reader.read()).startswith(b"HTTP/1.1 400")

    serving(use)


def test_when_the_server_ends_who_is_idle_is_closed_and_who_waits_is_answered_first() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        idle, _ = await connect()
        reader, writer = await connect()
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        while len(server.connections) < 2 or not any(one._active for one in server.connections):
            await asyncio.sleep(0.01)
        for connection in list(server.connections):
            connection.shutdown()
        assert await idle.read() == b""
        server.app.let_go.set()
        assert b"connection: close" in (await answered(reader))[0]
        assert await reader.read() == b""
        while server.connections:
            await asyncio.sleep(0.01)

    serving(use)


def test_a_body_that_is_never_whole_is_refused_in_time_and_one_without_end_by_its_size() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        reader, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
        assert (await answered(reader))[1] == b"The request was not whole in time."
        assert await reader.read() == b""
        reader, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(99):
                writer.write(b"x" * 1_000_000)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert (await reader.read()).endswith(b"The request is longer than 8388608 bytes.")
        assert server.door.bodies._held == 0

    serving(use, Bounds(request_seconds=0.5))


def test_bodies_under_way_are_counted_together_and_let_go_with_their_clients() -> None:
    async def use(connect: Any, server: SimpleNamespace) -> None:
        server.door.bodies._max = BODY_BYTES_MAX
        _, first = await connect()
        first.write(b"POST / HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 7_000_000)
        await first.drain()
        while server.door.bodies._held < 7_000_000:
            await asyncio.sleep(0.001)
        reader, second = await connect()
        second.write(b"POST / HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 2_000_000)
        assert (await answered(reader))[1] == b"Too many large requests at once. Try again."
        first.close()
        while server.connections:
            await asyncio.sleep(0.001)
        assert server.door.bodies._held == 0
        reader, third = await connect()
        third.write(b"POST / HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000)
        assert len((await answered(reader))[1]) == 8_000_008

    serving(use)
