"""A worker without a poller: AWS Lambda brings the messages, and is told which of them failed.

    event --records--> messages --> a worker that ends with them --> {"batchItemFailures": [...]}

Each message is settled as soon as it ended, as in a worker: what ran is gone from the queue although the invocation may
be cut off later, and what is to be tried again is hidden for as long as its task says. What is told as failed is what
is still in the queue. On FIFO queues a group stops at its first failure, and what follows is told as failed, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fnqueue.broker.base import Message
from fnqueue.broker.sqs.url import parse_sqs_url
from fnqueue.errors import SettingsInvalid
from fnqueue.execution.later import Plan
from fnqueue.execution.settle import Ended
from fnqueue.runtime import Runtime
from fnqueue.settings import foreign_environment
from fnqueue.worker.blobs import BlobKeeper
from fnqueue.worker.lambda_event import message_of, records_of
from fnqueue.worker.poller import Poller
from fnqueue.worker.pools import KeptLoop
from fnqueue.worker.ticker import Ticker
from fnqueue.worker.worker import Worker

#: The answer must have left by then.
_GOODBYE_SECONDS = 0.3
_log = logging.getLogger("fnqueue.worker")

Left = Callable[[], float]
"""Seconds until Lambda ends the invocation."""


class LambdaHandler:
    """Safe between invocations of one process, and for one at a time, as Lambda has it."""

    def __init__(self, runtime: Runtime, reserve_seconds: float) -> None:
        self._runtime, self._reserve_seconds, self._loop = runtime, reserve_seconds, KeptLoop()

    def __call__(self, event: object, context: Any) -> dict[str, Any]:
        """Raises EventInvalid, and what keeps a worker from starting. Then Lambda takes all records for failed."""
        records, runtime = records_of(event), self._runtime
        if runtime.engine.embedded:
            raise SettingsInvalid(["lambda_handler() is for queues on SQS: set FNQUEUE_URL=sqs://REGION/PREFIX"])
        left = _left(context, runtime)
        url, queues = parse_sqs_url(runtime.settings.url), runtime.registry.queues()
        deadline = runtime.clock.monotonic() + left()
        messages: list[Message] = []
        for message_id, record in records.items():
            try:
                messages.append(message_of(record, url, queues, deadline))
            except ValueError as error:
                _log.error("Lambda gave a record that is not run: %.200r: %s", message_id, error)
        gone = self._work(messages, left) if messages else set()
        return {"batchItemFailures": [{"itemIdentifier": each} for each in records if each not in gone]}

    def _work(self, messages: list[Message], left: Left) -> set[str]:
        if (given := left()) <= self._reserve_seconds:
            # Not given back: visible at once they would come at once, again and again, until the queue has them dead.
            line = (
                "Lambda gives %.1f s, and reserve_seconds=%g leaves nothing of it: nothing is begun; give it more time"
            )
            _log.error(line, given, self._reserve_seconds)
            return set()
        invocation = Invocation(self._runtime, left, self._reserve_seconds, count=len(messages), loop=self._loop)
        return invocation.work(messages)


class Invocation(Worker):
    """A worker whose messages are given, and which ends with them. Used once."""

    def __init__(self, runtime: Runtime, left: Left, reserve_seconds: float, *, count: int, loop: KeptLoop) -> None:
        self._left, self._reserve_seconds, self.kept_loop = left, reserve_seconds, loop
        self._gone: set[str] = set()  # message ids of what is in the queue no more
        super().__init__(runtime, name=_name(), concurrency=min(runtime.settings.concurrency, count), schedules=False)

    def work(self, messages: list[Message]) -> set[str]:
        """The ids of those that need not come again."""
        self._start()
        self._take(messages)
        clock = self.runtime.clock
        ended = self._wait_for(self._all_ended, clock.monotonic() + self._left() - self._reserve_seconds)
        if not ended:
            self._give_back_waiting()
            # A run is not left behind: it would go on in the next invocation, while its message is run anew. Who runs
            # on is cut off by Lambda, with the process.
            self._wait_for(self._is_over, float("inf"))
        self._leave()
        return set(self._gone)  # as of now: a request under way may still end, when the process is thawed

    def _all_ended(self) -> bool:
        return self._ended_tasks == self._received

    def _is_over(self) -> bool:
        """Or nothing runs any more, and what could not be settled until now will come again."""
        return self._all_ended() or (self._slots.held == 0 and self._left() < _GOODBYE_SECONDS)

    def _leave(self) -> None:
        """As a worker's `_close`, but the answer leaves in time, whatever hangs: one that is late fails all records."""
        self._pool.close()
        self._settling.close(self._patience(10.0), self._patience(2.0))
        self._heartbeat.close()
        self._heartbeat.join(self._patience(5.0))
        self._loop.close()

    def _patience(self, most: float) -> float:
        return max(0.02, min(most, self._left() - _GOODBYE_SECONDS))

    def _settle_powers(self) -> dict[str, Any]:
        return {"written": self._written}

    def _written(self, plans: Sequence[Plan]) -> None:
        """All but the messages' own end. If the queue does not take that, Lambda does: nothing is to run anew."""
        self._gone.update(plan.delivery.message.message_id for plan in plans if plan.hide_seconds is None)

    def _settled(self, batch: Sequence[Ended], plans: Sequence[Plan]) -> None:
        self._gone.update(delivery.message.message_id for delivery, _ in batch if delivery.deleted)
        super()._settled(batch, plans)

    # ---------------------------------------------------------------- what an invocation does not have

    def _make_pollers(self) -> list[Poller]:
        return []

    def _make_ticker(self) -> Ticker | None:
        return None

    def _make_blobs(self) -> BlobKeeper | None:
        return None

    def _tell_started(self) -> None:
        return


def _name() -> str | None:
    """Of the worker, for records and logs: the function and its instance. None outside of Lambda."""
    function, stream = (foreign_environment(f"AWS_LAMBDA_{name}") for name in ("FUNCTION_NAME", "LOG_STREAM_NAME"))
    return f"lambda:{function}:{stream}" if function else None


def _left(context: Any, runtime: Runtime) -> Left:
    """By the context, or where there is none, as in a test or a shell, as long as a worker's message is hidden."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is not None:
        return lambda: float(remaining()) / 1000
    clock = runtime.clock
    end = clock.monotonic() + runtime.settings.visibility_seconds
    return lambda: end - clock.monotonic()
