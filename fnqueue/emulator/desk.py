"""One thread works on the engine for all clients, and those who wait for a message stand in line here.

What many clients ask at the same moment is done in one transaction, so one fsync serves them all; the moment lasts
until nobody has asked for more in a turn of the loop, so that who was just answered can come along. A long poll is a
future in its queue's line: it costs nothing until a message comes, or is due. Of those who wait one is woken; when it
has what it wanted it wakes the next. What another process writes into the file is seen within a second.
Knows nothing of protocols; runs works, and knows of queues only that they are touched.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from fnqueue.broker.embedded.service import QueueService
from fnqueue.clock import Clock
from fnqueue.database import Connection, Database
from fnqueue.errors import BrokerRefused

T = TypeVar("T")
_log = logging.getLogger("fnqueue.emulator")

_TOGETHER_MAX = 64
_QUIET_TURNS = 2  # what was read in one turn of the loop is asked for in the next
_SHORTEST_SECONDS = 0.001
_GLANCE_SECONDS = 1.0


class Share(NamedTuple):
    """A work that is done in one with its like: `verb` is given the `part` of each that has the same subject, and
    returns as many values, or refusals. That costs a third of what it would to do them one by one.
    """

    verb: Callable[[Any, Sequence[Any]], Sequence[Any]]
    subject: Hashable
    part: Any


Work = Callable[[], Any] | Share


class Outcome(NamedTuple):
    value: Any = None
    error: Exception | None = None


class _Order(NamedTuple):
    work: Work
    told: Callable[[Outcome], None]
    durable: bool


class Desk:
    """Made in the event loop that it serves."""

    def __init__(self, database: Database, service: QueueService, clock: Clock) -> None:
        self._database, self._service, self.clock = database, service, clock
        self._loop = asyncio.get_running_loop()
        self._orders: list[_Order] = []  # not begun
        self._works: SimpleQueue[list[_Order] | None] = SimpleQueue()
        self._busy = False  # the engine is, or will be in a moment
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._glances = database.path is None  # or none is needed: nobody else has it
        self._version: int | None = None  # of the file, as others have written it
        self.stopping = False
        self._thread = threading.Thread(target=self._run, name="fnqueue-emulator-engine", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], T], *, durable: bool = True) -> T:
        """What `work` returns, once it is durable. Raises what it raises.

        `durable=False`: it does not wait for the disk, where it need not for others. A power failure may take it back.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self.ask(work, partial(_settle, future), durable=durable)
        try:
            return await future
        finally:
            del future  # its error knows this frame: a circle, as in `_outcome`

    def ask(self, work: Work, told: Callable[[Outcome], None], *, durable: bool = True) -> None:
        """As `do`, for who does not wait: `told` is called in the loop, and raises nothing."""
        self._orders.append(_Order(work, told, durable))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._gather, 1, _QUIET_TURNS)

    async def idle(self) -> None:
        """When all that was asked for until now is done and told, or has failed: also where the file is gone."""
        told = asyncio.Event()
        self.ask(lambda: None, lambda _: told.set())
        await told.wait()

    def close(self) -> None:
        """Does what was asked for, and nothing more. In a thread; the loop goes on."""
        self._works.put(None)
        self._thread.join()

    # ------------------------------------------------------------------ in the engine's thread

    def _run(self) -> None:
        while (orders := self._works.get()) is not None:
            outcomes = self._together(orders)
            touched, self._service.touched = self._service.touched, set()
            self._loop.call_soon_threadsafe(self._tell, orders, outcomes, touched)
            del orders, outcomes

    def _together(self, orders: list[_Order]) -> list[Outcome]:
        def work(connection: Connection) -> list[Outcome]:
            with self._service.together():
                return _outcomes([order.work for order in orders], lambda: connection.in_transaction)

        try:
            return self._database.write(work, durable=any(order.durable for order in orders))
        except Exception as error:  # nothing was committed, and each hears it
            return [Outcome(error=error)] * len(orders)

    # ------------------------------------------------------------------ in the loop

    def _gather(self, seen: int, turns: int) -> None:
        """Have the engine do what was asked for, unless more is asked for in the next `turns`."""
        count = len(self._orders)
        if count < _TOGETHER_MAX and (count > seen or turns):
            turns = _QUIET_TURNS if count > seen else turns - 1
            self._loop.call_soon(self._gather, count, turns)
            return
        orders, self._orders = self._orders[:_TOGETHER_MAX], self._orders[_TOGETHER_MAX:]
        self._works.put(orders)

    def _tell(self, orders: list[_Order], outcomes: list[Outcome], touched: set[str]) -> None:
        for order, outcome in zip(orders, outcomes, strict=True):
            try:
                order.told(outcome)
            except Exception:  # a mistake of ours: the others must hear theirs
                _log.exception("an answer failed")
        for name in touched:
            self.wake(name)
        self._busy = bool(self._orders)
        if self._busy:
            self._loop.call_soon(self._gather, len(self._orders), _QUIET_TURNS)

    def stand(self, name: str) -> asyncio.Future[None]:
        """In line for a queue, before looking whether there is a message: done when it is time to look again."""
        place: asyncio.Future[None] = self._loop.create_future()
        self._lines.setdefault(name, deque()).append(place)
        if not self._glances:
            self._glances = True
            self._loop.call_later(_GLANCE_SECONDS, self._glance)
        return place

    def leave(self, name: str, place: asyncio.Future[None], *, passes_on: bool) -> None:
        """`passes_on`: one who was woken will not look; the next does."""
        if place.done():
            if passes_on:
                self.wake(name)
            return
        place.cancel()
        line = self._lines.get(name)
        if line is not None:
            line.remove(place)
            if not line:  # a name is as long as a request, and may be no queue's
                del self._lines[name]

    def wake(self, name: str) -> None:
        """The first in line looks."""
        line = self._lines.get(name)
        if line:
            line.popleft().set_result(None)
        elif line is not None:
            del self._lines[name]

    def wake_all(self) -> None:
        for name, line in list(self._lines.items()):
            for _ in range(len(line)):
                self.wake(name)

    def look_at(self, name: str, due_at: float) -> None:
        """Wake somebody then: a message may be visible. Unix seconds."""
        if not self._lines.get(name):
            return
        when = self._loop.time() + max(_SHORTEST_SECONDS, due_at - self.clock.now())
        timer = self._timers.get(name)
        if timer is not None and timer.when() <= when:
            return
        if timer is not None:
            timer.cancel()
        self._timers[name] = self._loop.call_at(when, self._due, name)

    def _due(self, name: str) -> None:
        del self._timers[name]
        self.wake(name)

    # ------------------------------------------------------------------ what other processes write

    def _glance(self) -> None:
        """Once a second while somebody waits: nobody else's send is heard of."""
        self._glances = bool(self._lines) and not self.stopping
        if self._glances:
            self.ask(lambda: self._database.write(_version), self._glanced)

    def _glanced(self, found: Outcome) -> None:
        if found.error is None and found.value != self._version:  # else who asks for more hears the error
            self._version = found.value
            self.wake_all()
        self._loop.call_later(_GLANCE_SECONDS, self._glance)

    def stop(self) -> None:
        """Long polls end now, with nothing."""
        self.stopping = True
        self.wake_all()


def _version(connection: Connection) -> int:
    """It changes when another connection has written: all that we write goes through this one."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _settle(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if future.done():  # who asked has been cancelled
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)


def _outcomes(works: Sequence[Work], goes_on: Callable[[], bool]) -> list[Outcome]:
    """Those that are shared first: what they send, the others may find. `goes_on`: the transaction is still there."""
    outcomes: list[Outcome] = [Outcome()] * len(works)
    alike: dict[Any, list[int]] = {}
    alone: list[int] = []
    for at, work in enumerate(works):
        if isinstance(work, Share):
            alike.setdefault((work.verb, work.subject), []).append(at)
        else:
            alone.append(at)
    for (verb, subject), places in alike.items():
        parts = [works[at].part for at in places]  # type: ignore[union-attr]
        for at, outcome in zip(places, _shared(partial(verb, subject, parts), len(parts), goes_on), strict=True):
            outcomes[at] = outcome
    for at in alone:
        outcomes[at] = _outcome(works[at], goes_on)  # type: ignore[arg-type]
    return outcomes


def _shared(work: Callable[[], Any], count: int, goes_on: Callable[[], bool]) -> list[Outcome]:
    all_ = _outcome(work, goes_on)
    if all_.error is not None:
        return [all_] * count
    return [Outcome(error=one) if isinstance(one, BrokerRefused) else Outcome(one) for one in all_.value]


def _outcome(work: Callable[[], Any], goes_on: Callable[[], bool]) -> Outcome:
    """Raises what ended the transaction: what followed would be committed piece by piece, and told as failed."""
    try:
        return Outcome(work())
    except BrokerRefused as error:
        # Its frames know the orders, and these the error: a circle that keeps megabytes until a collection.
        return Outcome(error=error.with_traceback(None))
    except Exception as error:
        if not goes_on():
            raise
        return Outcome(error=error)
