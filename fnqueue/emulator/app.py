"""The application: one port for all services. Whose call it is says the scope of its signature, or its path.

`_services` is the seam: SQS is one of them; another one brings a callable like this one under the name that AWS
signs with.
Knows SQS's two protocols and no rule.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fnqueue import __version__
from fnqueue.broker.embedded.service import QueueService
from fnqueue.clock import TurnableClock
from fnqueue.emulator import browsers, json_protocol, query_protocol, rest_protocol
from fnqueue.emulator.call import Answer, Call, Caller, Callers, Plan
from fnqueue.emulator.desk import Desk, Outcome
from fnqueue.emulator.http import App, Gone, Headers, Request, Send, answer
from fnqueue.emulator.members import Members
from fnqueue.emulator.operations import OPERATIONS
from fnqueue.emulator.refusals import Refusal, of_error
from fnqueue.emulator.scheduler import Scheduler
from fnqueue.emulator.ticker import Ticker
from fnqueue.schedule.service import Place, ScheduleService

_log = logging.getLogger("fnqueue.emulator")
_encode = msgspec.json.Encoder().encode
_JSON: Headers = [(b"content-type", b"application/json")]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    account: str = "123456789012"
    region: str = "us-east-1"
    origin: str = "127.0.0.1:9324"  # in queue URLs, where a client names no host
    on_loopback: bool = True  # nobody else is to reach it


class Emulator:
    """`desk`, `service` and `schedules` are of one file. `reset`: puts an empty one in its place, where that may be
    asked for."""

    def __init__(
        self,
        desk: Desk,
        service: QueueService,
        schedules: ScheduleService,
        setting: Setting,
        reset: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._desk, self._service, self._setting, self._empty_all = desk, service, setting, reset
        self.ticker = Ticker(desk, schedules)
        self._callers = Callers(Caller(None, setting.region, setting.account, f"http://{setting.origin}"))
        self._scheduler = Scheduler(desk, schedules, self.ticker, self._place)
        self._services: dict[str, App] = {"sqs": self._sqs, "scheduler": self._scheduler}
        self._moving: asyncio.Task[None] | None = None

    def __call__(self, request: Request, gone: Gone, send: Send) -> Awaitable[None] | None:
        refusal = request.refusal or browsers.refusal(request, on_loopback=self._setting.on_loopback)
        if refusal is not None:
            body, headers = json_protocol.refused(refusal, _request_id())
            send(refusal.status, body, headers)
            return None
        own = _OWN.get((request.method, request.path)) if request.path != "/" else None
        if own is not None:
            return own(self, request, send)
        return self._services.get(self._service_name(request), self._sqs)(request, gone, send)

    def _service_name(self, request: Request) -> str:
        signed_for = self._callers.of(request.headers).service
        if signed_for is not None:
            return signed_for
        return "scheduler" if rest_protocol.is_path(request.path) and not _names_an_action(request) else "sqs"

    # ------------------------------------------------------------------ SQS

    def _sqs(self, request: Request, gone: Gone, send: Send) -> Awaitable[None] | None:
        speaks_json = json_protocol.speaks(request)
        if speaks_json:
            asked: tuple[str, Members] | Refusal | None = json_protocol.read(request)
        else:
            asked = query_protocol.read(request) if request.method in ("GET", "POST") else None
        if asked is None:  # X3
            send(404, b"<UnknownOperationException/>\n", [(b"content-type", b"text/xml")])
            return None
        request.body = b""  # a poll may wait for long
        reply = _Reply(send, json_protocol if speaks_json else query_protocol)
        if isinstance(asked, Refusal):
            reply.refuse(asked)
            return None
        reply.operation, members = asked
        try:
            planned = OPERATIONS[reply.operation][1](self._call(request, gone), members)
        except Exception as error:
            reply.fail(error)
            return None
        if not isinstance(planned, Plan):
            return self._answered(reply, planned)
        self._desk.ask(planned.work, functools.partial(reply.tell, planned))
        return None

    async def _answered(self, reply: _Reply, done: Awaitable[Answer | None]) -> None:
        try:
            answer = await done
        except Exception as error:
            reply.fail(error)
            return
        if reply.operation == "StartMessageMoveTask":
            self.move()
        reply.give(answer)

    def _call(self, request: Request, gone: Gone) -> Call:
        _, region, account, origin = self._callers.of(request.headers)
        trace = request.header(b"x-amzn-trace-id") if b"x-amzn-trace-id" in request.headers else None
        return Call(self._service, self._desk, region, account, origin, trace or None, gone)

    def _place(self, request: Request) -> Place:
        caller = self._callers.of(request.headers)
        return Place(caller.region, caller.account)

    # ------------------------------------------------------------------ move tasks

    def move(self) -> None:
        """Let dead letters go back, if any task says so."""
        if self._moving is None or self._moving.done():
            self._moving = asyncio.get_running_loop().create_task(self._move())

    async def _move(self) -> None:
        try:
            while await self._desk.do(self._service.move_some) and not self._desk.stopping:
                await asyncio.sleep(_MOVE_SECONDS)
        except Exception:
            _log.exception("moving dead letters stopped; it goes on with the next task, or at the next start")

    async def close(self) -> None:
        """What goes on behind the requests ends. `desk` is told to stop before."""
        await self.ticker.stop()
        if self._moving is not None:
            await self._moving

    # ------------------------------------------------------------------ for those who look after it

    async def _health(self, request: Request, send: Send) -> None:
        try:
            await self._desk.do(self._service.is_readable)
        except Exception as error:
            await answer(send, 503, _encode({"status": "failing", "reason": str(error)}), _JSON)
            return
        await answer(send, 200, _encode({"status": "ok", "version": __version__}), _JSON)

    async def _queues(self, request: Request, send: Send) -> None:
        found = [
            {
                "region": address.region,
                "account": address.account,
                "name": address.name,
                "visible": counts.visible,
                "in_flight": counts.in_flight,
                "delayed": counts.delayed,
            }
            for address, counts in await self._desk.do(self._service.everywhere)
        ]
        await answer(send, 200, _encode({"queues": found}), _JSON)

    async def _schedules(self, request: Request, send: Send) -> None:
        await answer(send, 200, _encode({"schedules": await self._scheduler.everywhere()}), _JSON)

    async def _clock(self, request: Request, send: Send) -> None:
        """`{"advance_seconds": 60}`; only where the server was started with a clock to turn."""
        clock = self._desk.clock
        if not isinstance(clock, TurnableClock):
            await answer(send, 404, _encode({"error": "start the emulator with --test-clock"}), _JSON)
            return
        try:
            clock.advance(msgspec.json.decode(request.body, type=_Advance).advance_seconds)
        except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
            await answer(send, 400, _encode({"error": str(error)}), _JSON)
            return
        try:
            await self.ticker.catch_up()  # who turned it finds what was due by then
        except Exception as error:
            await answer(send, 503, _encode({"error": str(error)}), _JSON)
            return
        self.ticker.look()
        self._desk.wake_all()
        await answer(send, 200, _encode({"now": clock.now()}), _JSON)

    async def _reset(self, request: Request, send: Send) -> None:
        """Everything is gone, and the clock is the machine's; only where nothing that is to be kept can be lost."""
        if self._empty_all is None:
            await answer(send, 404, _encode({"error": "start the emulator with --test-clock --db :memory:"}), _JSON)
            return
        await self._empty_all()
        await answer(send, 200, _encode({"status": "empty"}), _JSON)


_MOVE_SECONDS = 0.02


class _Reply:
    """To one request of SQS, in the words of the protocol that it came in."""

    __slots__ = ("_protocol", "_request_id", "_send", "operation")

    def __init__(self, send: Send, protocol: Any) -> None:
        self._send, self._protocol, self._request_id = send, protocol, _request_id()
        self.operation = ""

    def tell(self, plan: Plan, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.fail(outcome.error)
            return
        try:
            answer = plan.shown(outcome.value)
        except Exception as error:
            self.fail(error)
            return
        self.give(answer)

    def give(self, answer: Answer | None) -> None:
        self._send(200, *self._protocol.answered(self.operation, answer, self._request_id))

    def fail(self, error: Exception) -> None:
        refusal = of_error(error)
        if refusal is None:
            _log.error("%s failed", self.operation, exc_info=error)
            refusal = Refusal("InternalFailure", "The emulator failed; its log says where. Please report it.")
        self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        self._send(refusal.status, *self._protocol.refused(refusal, self._request_id))


class _Advance(msgspec.Struct):
    advance_seconds: float


_OWN = {
    ("GET", "/_health"): Emulator._health,
    ("GET", "/_queues"): Emulator._queues,
    ("GET", "/_schedules"): Emulator._schedules,
    ("POST", "/_clock"): Emulator._clock,
    ("POST", "/_reset"): Emulator._reset,
}


def _names_an_action(request: Request) -> bool:
    """A queue may be called `schedules`, too."""
    return json_protocol.speaks(request) or "Action=" in request.query or b"Action=" in request.body[:4096]


_numbers = itertools.count()
_PREFIX = str(uuid.uuid4())[:24]


def _request_id() -> str:
    """Unlike any other: a random number for each would cost more than to parse the request."""
    return f"{_PREFIX}{next(_numbers):012x}"
