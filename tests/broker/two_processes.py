"""A broker in another process, driven through a pipe, and a broker that goes by turns to two.

The child is a real process with its own connection to the file. Under a ManualClock both sides show the
same time: each question carries the asker's, each answer the child's.
"""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from multiprocessing.connection import Connection as Pipe
from typing import Any

from fnqueue import errors
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.clock import Clock, ManualClock, SystemClock
from fnqueue.database import Database


class Elsewhere:
    """All of Broker's verbs, in a child process. Safe between threads, one question at a time."""

    receive_max = EmbeddedBroker.receive_max
    batch_max = EmbeddedBroker.batch_max
    max_body_bytes = EmbeddedBroker.max_body_bytes
    creates_queues = True

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._clock: Clock = SystemClock()
        self._lock = threading.Lock()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def open(self, path: str, clock: Clock) -> None:
        """Take this file, under a clock of the same kind. The one before is let go."""
        self._clock = clock
        self._ask("open", (path, isinstance(clock, ManualClock)), {})

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda *args, **options: self._ask(verb, args, options)

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join(10)
        self._process.close()
        self._pipe.close()

    def _ask(self, verb: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        with self._lock:
            self._pipe.send((self._clock.now(), verb, args, options))
            their_now, answer, error = self._pipe.recv()
        catch_up(self._clock, their_now)
        if error is not None:
            raise _rebuilt(*error)
        return answer


class ByTurns:
    """Each call goes to the next of the brokers: whatever the first did, the second must know."""

    receive_max = EmbeddedBroker.receive_max
    batch_max = EmbeddedBroker.batch_max
    max_body_bytes = EmbeddedBroker.max_body_bytes
    creates_queues = True

    def __init__(self, *brokers: Any) -> None:
        self._next = itertools.cycle(brokers)

    def __getattr__(self, verb: str) -> Any:
        return getattr(next(self._next), verb)


def catch_up(clock: Clock, now: float) -> None:
    if isinstance(clock, ManualClock) and now > clock.now():
        clock.advance(seconds=now - clock.now())


def _serve(pipe: Pipe) -> None:
    here = _Here()
    while (question := pipe.recv()) is not None:
        now, verb, args, options = question
        catch_up(here.clock, now)
        try:
            target = here if verb == "open" else here.broker
            answer, error = getattr(target, verb)(*args, **options), None
        except errors.FnQueueError as raised:
            answer, error = None, (type(raised).__name__, str(raised), vars(raised))
        pipe.send((here.clock.now(), answer, error))
    here.close()


class _Here:
    """In the child: the file that is open."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.broker: EmbeddedBroker | None = None
        self._database: Database | None = None

    def open(self, path: str, manual: bool) -> None:
        self.close()
        self.clock = ManualClock() if manual else SystemClock()
        self._database = Database(path, durability="relaxed", clock=self.clock)
        self.broker = EmbeddedBroker(self._database, clock=self.clock)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


def _rebuilt(name: str, text: str, values: dict[str, Any]) -> errors.FnQueueError:
    """By hand: an error's own arguments are not those of Exception, which pickle would take."""
    kind: type[errors.FnQueueError] = getattr(errors, name)
    made = kind.__new__(kind, text)
    made.args = (text,)
    vars(made).update(values)
    return made
