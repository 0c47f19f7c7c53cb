"""From a received message to exactly one Outcome: open, authorise, look at the record, run.

A pipe of small steps; each returns or raises `End` with the outcome, and no exception leaves `execute`.
Nothing is written for a first delivery: reading and writing records is for redeliveries, for `once`
and for what the settlement does. The powers (keys, records, the principal's loader) are handed in.
Knows no broker: a delivery is given, and what becomes of its message is `settle`'s.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fnqueue.broker.names import binding
from fnqueue.context import TaskContext, running
from fnqueue.errors import (
    ArgumentError,
    EnvelopeError,
    SoftTimeLimitExceeded,
    TaskRevoked,
)
from fnqueue.events import TaskStarted
from fnqueue.execution.admitting import Admitter, Run, not_now
from fnqueue.execution.coroutines import Runner
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.large_results import is_large, kept
from fnqueue.execution.limits import SoftLimits
from fnqueue.execution.opening import End, Opener, revocable
from fnqueue.execution.powers import Powers, WaitFor
from fnqueue.execution.texts import error_text
from fnqueue.execution.verdict import verdict
from fnqueue.middleware import Middleware, around_execute
from fnqueue.outcome import Failed, Outcome, Refused, Succeeded
from fnqueue.security.principal import Principal
from fnqueue.state.revocations import NONE, Snapshot
from fnqueue.task.task import Task

if TYPE_CHECKING:
    import asyncio


@dataclass(slots=True)
class Executor:
    """Safe between threads: all state is in the delivery. `revoked` is the heartbeat's snapshot."""

    powers: Powers
    revoked: Snapshot = NONE
    _limits: SoftLimits = field(init=False)
    _opener: Opener = field(init=False)
    _admitter: Admitter = field(init=False)

    def __post_init__(self) -> None:
        self._limits = self.powers.limits or SoftLimits(self.powers.clock)
        self._opener, self._admitter = Opener(self.powers), Admitter(self.powers)

    # ---------------------------------------------------------------- the pipe

    def execute(self, delivery: Delivery) -> Outcome | Run:
        """The outcome, or for a coroutine task the Run that the caller gives to `execute_async`."""
        try:
            task, sealed = self._open(delivery)
            return self._in_thread(delivery, task, sealed)
        except End as end:
            return end.outcome
        except EnvelopeError as error:
            return self._admitter.refused(delivery, error.code, error.detail)
        except BaseException as error:
            # An engine that we asked, the door of the scope, or a mistake of ours: not an attempt of the task.
            _let_ctrl_c_through(error)
            return not_now(delivery, error_text(error))

    def _in_thread(self, delivery: Delivery, task: Task[Any, Any, Any], sealed: dict[str, Any]) -> Outcome | Run:
        run: Run | None = None
        outcome: Outcome | None = None
        try:
            with self.powers.attempt(task), self.powers.scope(task):
                run = admitted = self._admitter.admit(delivery, task, sealed)
                if task.is_coroutine:
                    return run
                outcome = self._wrapped(run, lambda context: self._call(admitted))
                _leave(delivery)
            return outcome
        except BaseException as error:
            if outcome is not None and error is delivery.raised:
                return outcome
            if run is None or delivery.started_at is None or not isinstance(error, Exception):
                raise
            return self._raised(run, error)  # leaving the scope failed: what it should have kept may be lost
        finally:
            delivery.raised = None  # with the frames that it holds

    async def execute_async(self, run: Run) -> Outcome:
        """Run a coroutine task on the running loop."""
        try:
            end = self._begin(run)
            return await self._in_scope(run) if end is None else end
        except BaseException as error:
            return self._raised(run, error)

    async def _in_scope(self, run: Run) -> Outcome:
        outcome: Outcome | None = None
        try:
            async with self.powers.coroutine(run.task):
                with self.powers.scope(run.task):
                    outcome = await self._run_async(run)
                    _leave(run.delivery)
            return outcome
        except BaseException as error:
            if outcome is not None and error is run.delivery.raised:
                return outcome
            raise
        finally:
            run.delivery.raised = None

    def execute_wrapped(self, run: Run, loop: asyncio.AbstractEventLoop) -> Outcome:
        """Run a coroutine task on `loop` with middleware around it, in a thread that waits for it."""
        import asyncio  # see coroutines.py

        return self.execute_waiting(run, lambda it: asyncio.run_coroutine_threadsafe(it, loop).result())

    def execute_waiting(self, run: Run, wait_for: WaitFor) -> Outcome:
        """Run a coroutine task with middleware around it, in this thread, which waits for it by `wait_for`."""
        return self._wrapped(run, lambda context: wait_for(self._in_scope(run)))

    def wraps_runs(self) -> bool:
        """Whether a middleware wraps executions: then a coroutine's run needs a thread that waits for it."""
        return any(type(m).execute is not Middleware.execute for m in self.powers.middleware)

    # ---------------------------------------------------------------- open

    def open_ahead(self, deliveries: Sequence[Delivery]) -> None:
        """What a worker does with a whole receive before its messages' turns come. See `opening`."""
        self._opener.ahead(deliveries)

    def _open(self, delivery: Delivery) -> tuple[Task[Any, Any, Any], dict[str, Any]]:
        task, sealed = self._opener.open(delivery)
        if self.revoked.any:
            signed = Principal.from_wire(sealed["p"])
            delivery.principal = signed.subject
            if self.revoked.revokes(revocable(delivery, signed.via)):
                raise End(self._admitter.refused(delivery, "REVOKED", ""))
        # Not before: what was revoked is not worth the way.
        return task, sealed if delivery.blob is None else self._opener.complete(delivery, sealed)

    # ---------------------------------------------------------------- run

    def _wrapped(self, run: Run, innermost: Callable[[TaskContext], Outcome]) -> Outcome:
        assert run.delivery.context is not None
        end = self._begin(run)
        if end is not None:
            return end
        try:
            if not self.powers.middleware:
                return innermost(run.delivery.context)
            return around_execute(self.powers.middleware, innermost)(run.delivery.context)
        except BaseException as error:
            return self._raised(run, error)

    def _begin(self, run: Run) -> Outcome | None:
        """None: it runs, from now on."""
        delivery, powers = run.delivery, self.powers
        if run.task.options.at_most_once and powers.delete_first is not None:
            try:
                delivery.deleted = powers.delete_first(delivery)
            except Exception as error:
                return not_now(delivery, error_text(error))
            if not delivery.deleted:
                return Refused("REPLAY", "elsewhere", retry_after_seconds=0)
        now = powers.clock.now()
        if delivery.record is not None:
            delivery.record = delivery.record.changed(started_at=now)
        delivery.started_at = now  # after the record: from here on the heartbeat may write it
        if powers.events.wanted(TaskStarted):
            powers.events.publish(
                TaskStarted(
                    id=str(delivery.id), task=run.task.name, queue=binding(delivery.queue), attempt=delivery.attempt
                )
            )
        return None

    def _call(self, run: Run) -> Outcome:
        delivery = run.delivery
        token = running.set(delivery.context)
        try:
            outcome = self._returned(run, self._value(run))
            return kept(outcome, run, self.powers) if is_large(outcome, self.powers) else outcome
        except BaseException as error:
            return self._raised(run, error)
        finally:
            delivery.finished_at = self.powers.clock.now()
            running.reset(token)

    def _value(self, run: Run) -> Any:
        seconds = run.task.options.soft_time_limit_seconds
        if seconds is None:
            return run.task.function(*self._arguments(run), **run.kwargs)
        with self._limits.within(seconds):
            return run.task.function(*self._arguments(run), **run.kwargs)

    async def _run_async(self, run: Run) -> Outcome:
        delivery, options = run.delivery, run.task.options
        token = running.set(delivery.context)
        try:
            coroutine: Coroutine[Any, Any, Any] = run.task.function(*self._arguments(run), **run.kwargs)
            delivery.coroutine = runner = Runner(coroutine)
            if delivery.revoked:  # looked at after `coroutine` is set: the heartbeat sets one and reads the other
                runner.interrupt(TaskRevoked(f"task {delivery.id} was cancelled"))
            value = await runner.run(options.soft_time_limit_seconds, options.time_limit_seconds, SoftTimeLimitExceeded)
            outcome = self._returned(run, value)
            if not is_large(outcome, self.powers):
                return outcome
            import asyncio  # see coroutines.py

            return await asyncio.to_thread(kept, outcome, run, self.powers)  # others run on this loop
        except BaseException as error:
            return self._raised(run, error)
        finally:
            delivery.coroutine = None
            delivery.finished_at = self.powers.clock.now()
            running.reset(token)

    def _arguments(self, run: Run) -> tuple[Any, ...]:
        return (run.delivery.context, *run.args) if run.task.options.bind else run.args

    # ---------------------------------------------------------------- how it ended

    def _returned(self, run: Run, value: Any) -> Outcome:
        # Of these nothing ran yet: the codec says so, which without a store would not be asked.
        unrun = inspect.isgenerator(value) or inspect.isasyncgen(value) or inspect.iscoroutine(value)
        if not self.powers.wants_values and not unrun:
            return Succeeded(b"null")
        try:
            return Succeeded(run.task.binder.result_to_json(value))
        except ArgumentError as error:
            return Failed(error_text(error, run.secrets()))

    def _raised(self, run: Run, error: BaseException) -> Outcome:
        _let_ctrl_c_through(error)
        run.delivery.raised = error
        if self.powers.raised is not None:
            self.powers.raised(run.delivery, error)
        try:
            return verdict(run, error, self.powers)
        except Exception as worse:  # a property of the task's own exception raised, say
            return Failed(error_text(worse, run.secrets()))


def _leave(delivery: Delivery) -> None:
    """What the task raised goes out through the scope, as in a view: what it commits when all is well is not done."""
    if delivery.raised is not None:
        raise delivery.raised


def _let_ctrl_c_through(error: BaseException) -> None:
    # A worker runs tasks in other threads than the main one; `task.apply` in a shell does not.
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error
