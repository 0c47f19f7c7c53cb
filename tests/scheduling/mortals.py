"""Tickers in one process to which happens what happens to processes: they die, are overtaken, or stop for days.

All share a store and a clock that is turned. A point is before and after each write of a tick. At a drawn one a ticker
dies (it leaves whatever it had written), or another does a whole tick first, or it stops there as one that was sent
SIGSTOP, and goes on when much time has passed. One thread runs at a time, so a seed says what happens.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fnqueue.runtime import Runtime
from fnqueue.scheduling.ticking import ScheduleTicker

#: Each is a point before and after.
WRITES = ("claim", "send", "put", "delete")
POINTS = frozenset(f"{when} {write}" for when in ("before", "after") for write in WRITES)


class Killed(BaseException):
    pass


class _Fate:
    def __init__(self, kind: str, point: int) -> None:
        self.kind, self.point = kind, point


class _Stopped:
    """A tick in a thread of its own, and the hand that is passed to it and back."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._theirs, self._ours = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,))
        self._error: BaseException | None = None
        self._thread.start()

    def go(self) -> bool:
        """Let it run until it stops or ends. Whether it is still there."""
        self._theirs.release()
        self._ours.acquire()
        if self._error is not None:
            raise self._error
        return self._thread_runs

    def stop(self) -> None:
        self._ours.release()
        self._theirs.acquire()

    def _run(self, work: Callable[[], None]) -> None:
        self._thread_runs = True
        self._theirs.acquire()
        try:
            work()
        except BaseException as error:
            self._error = error
        self._thread_runs = False
        self._ours.release()


class Mortals:
    """`number` tickers of `runtime`, which must not have been used yet. `befallen`: what happened, where, how often."""

    def __init__(self, runtime: Runtime, chance: random.Random, *, number: int = 3) -> None:
        self._chance = chance
        self._here = threading.local()
        self.befallen: Counter[tuple[str, str]] = Counter()
        self.ticks = 0
        engine = runtime.engine
        runtime.__dict__["engine"] = replace(engine, broker=_Watched(engine.broker, self._around))
        kept = runtime.schedules
        assert kept is not None
        for name in ("claim", "put", "delete"):
            setattr(kept, name, partial(self._around, name, getattr(kept, name)))
        self._tickers = [ScheduleTicker(runtime) for _ in range(number)]
        self._stopped: list[_Stopped] = []

    def all_tick(self) -> None:
        """Two or three of them, or one, in a drawn order. Who was stopped may go on."""
        for ticker in self._chance.sample(self._tickers, self._chance.choice([1, 2, 2, 3, 3])):
            kind = self._chance.choices(("dies", "is overtaken", "stops", ""), (5, 5, 1, 89))[0]
            self.tick(kind, self._chance.randrange(8), ticker)
        if self._stopped and self._chance.random() < 0.01:
            self._go_on(self._stopped.pop(self._chance.randrange(len(self._stopped))))

    def tick(self, kind: str = "", point: int = 0, ticker: ScheduleTicker | None = None) -> None:
        """One tick, to which that happens at the point of this number, if it gets so far."""
        work = partial(self._tick, _Fate(kind, point), ticker or self._tickers[0])
        if kind == "stops":
            self._go_on(_Stopped(work))
        else:
            work()

    def end(self) -> None:
        """Who was stopped goes on."""
        while self._stopped:
            self._go_on(self._stopped.pop())

    def _go_on(self, stopped: _Stopped) -> None:
        self._going = stopped
        if stopped.go():
            self._stopped.append(stopped)

    def _tick(self, fate: _Fate, ticker: ScheduleTicker) -> None:
        self.ticks += 1
        fates = self._fates()
        fates.append(fate)
        try:
            ticker.tick()
        except Killed:
            pass
        finally:
            fates.pop()

    def _fates(self) -> list[_Fate]:
        """Of those that tick in this thread, one within the other. None of a worker's own ticks."""
        if not hasattr(self._here, "fates"):
            self._here.fates = []
        found: list[_Fate] = self._here.fates
        return found

    # ------------------------------------------------------------------ points

    def _around(self, name: str, write: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._point(f"before {name}")
        done = write(*args, **options)
        self._point(f"after {name}")
        return done

    def _point(self, where: str) -> None:
        fates = self._fates()
        if not fates:
            return
        fate = fates[-1]
        fate.point -= 1
        if fate.point != -1 or not fate.kind:
            return
        self.befallen[fate.kind, where] += 1
        if fate.kind == "dies":
            raise Killed
        if fate.kind == "stops":
            self._going.stop()
            return
        others = self._chance.sample(self._tickers, 2)
        self._tick(_Fate(self._chance.choice(("dies", "is overtaken", "")), self._chance.randrange(8)), others[0])


class _Watched:
    def __init__(self, broker: Any, around: Callable[..., Any]) -> None:
        self._broker, self._around = broker, around

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._broker, name)
        return partial(self._around, name, real) if name == "send" else real
