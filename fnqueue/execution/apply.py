"""`task.apply`: the whole pipe here and now. The same seal, policies, opening and run; no queue, no settlement."""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from fnqueue import codec
from fnqueue.broker.base import Message, Receipt
from fnqueue.clock import Clock, to_datetime
from fnqueue.dispatch.calls import Prepared
from fnqueue.errors import TaskError
from fnqueue.execution.admitting import Run
from fnqueue.execution.coroutines import serve
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.execute import Executor
from fnqueue.execution.powers import no_async_scope, no_scope
from fnqueue.outcome import DeadLettered, Failed, Outcome, Refused, Rescheduled, Succeeded
from fnqueue.task.handle import Result
from fnqueue.task.task import Task

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
FOREVER = float("inf")
#: Powers of a run in a thread that is no worker's: what belongs to the thread is the caller's.
IN_CALLERS_THREAD: dict[str, Any] = {"attempt": no_scope, "coroutine": no_async_scope}
#: And of one that has no worker at all: nothing is recorded, neither progress nor a right to run that would never end.
WITHOUT_WORKER: dict[str, Any] = {"write": None, "replay": None, "wants_values": True, **IN_CALLERS_THREAD}


def apply_here(executor: Executor, prepared: Prepared, clock: Clock) -> Result[Any]:
    """Run a prepared call in this thread. A delay is not waited for. What a worker would try again ends as RETRY."""
    delivery = Delivery(_message(prepared, clock))
    outcome = executor.execute(delivery)
    if isinstance(outcome, Run):
        outcome = run_coroutine(executor, outcome)
    return _result(prepared, delivery, outcome)


def run_coroutine(executor: Executor, run: Run) -> Outcome:
    """Run a coroutine task to its end, with middleware around it here, as the framework waits for coroutines."""
    return executor.execute_waiting(run, executor.powers.wait_for or on_another_thread)


def on_another_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """As a worker does: on a loop of another thread. So it works where a loop runs already: in an async view, or in a
    notebook."""
    import asyncio  # see coroutines.py

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop,), name="fnqueue-apply", daemon=True)
    thread.start()
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        serve(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _message(prepared: Prepared, clock: Clock) -> Message:
    return Message(
        message_id=prepared.id,
        body=prepared.entry.body,
        receipt=Receipt(prepared.queue, "apply", 1, FOREVER),
        sent_at=clock.now(),
        first_received_at=clock.now(),
    )


def _result(prepared: Prepared, delivery: Delivery, outcome: Outcome) -> Result[Any]:
    state, value, error = _ended(outcome, delivery.task)
    return Result(
        id=prepared.id,
        task=prepared.task,
        state=state,
        value=value,
        error=error,
        attempts=delivery.attempt,
        deferred_at=to_datetime(delivery.deferred_at),
        started_at=to_datetime(delivery.started_at) if delivery.started_at is not None else None,
        finished_at=to_datetime(delivery.finished_at) if delivery.finished_at is not None else None,
    )


def _ended(outcome: Outcome, task: Task[Any, Any, Any] | None) -> tuple[Any, Any, TaskError | None]:
    match outcome:
        case Succeeded(value):
            return "SUCCESS", task.binder.result_from_json(value) if task else codec.result_from_json(value), None
        case Rescheduled(error=error):
            return "RETRY", None, error
        case Failed(error=error):
            return "FAILURE", None, error
        case DeadLettered(reason, error):
            return "FAILURE", None, error or TaskError("DeadLetter", reason)
        case Refused(code, detail):
            return (code if code in ("DENIED", "EXPIRED", "REVOKED") else "FAILURE"), None, TaskError(code, detail)
    return "PENDING", None, None
