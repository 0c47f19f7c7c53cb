"""May it run, and for whom: arguments decoded, the principal reloaded, the policy asked again, the record looked at.

Each step passes or raises `End` with the outcome. A refusal that ends the call first takes up what earlier deliveries
recorded of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fnqueue.broker.names import binding
from fnqueue.clock import to_datetime
from fnqueue.codec.secret import Secret, masked, secrets_in
from fnqueue.context import TaskContext
from fnqueue.errors import ArgumentError, FnQueueError, TaskError
from fnqueue.events import RanAs
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.lookback import look_back, recall
from fnqueue.execution.opening import End
from fnqueue.execution.powers import Powers
from fnqueue.execution.texts import error_text
from fnqueue.outcome import ENDED, UNKNOWN, Outcome, Refused, Rescheduled
from fnqueue.security.policy import PolicyContext
from fnqueue.security.principal import Principal
from fnqueue.task.options import Backoff
from fnqueue.task.task import Task

#: Refusals that end the call now, or once its grace is over.
ENDS = ENDED | UNKNOWN | {"DECODE"}


@dataclass(slots=True)
class Run:
    """A delivery that may run, with its decoded arguments."""

    delivery: Delivery
    task: Task[Any, Any, Any]
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    retry: Backoff

    def secrets(self) -> list[Secret[Any]]:
        """What must not stand in a text that is recorded. Looked for when there is such a text, and not before."""
        return secrets_in(self.args, self.kwargs)


class Admitter:
    """Safe between threads: all state is in the delivery."""

    def __init__(self, powers: Powers) -> None:
        self.powers = powers

    def admit(self, delivery: Delivery, task: Task[Any, Any, Any], sealed: dict[str, Any]) -> Run:
        signed = Principal.from_wire(sealed["p"])
        delivery.principal = signed.subject
        try:
            args, kwargs = task.binder.decode(sealed.get("args", []), sealed.get("kwargs", {}))
        except ArgumentError as error:
            raise End(self.refused(delivery, "DECODE", str(error))) from None
        principal = self._authorise(delivery, task, signed, args, kwargs)
        retry = task.retry.changed_by_wire(sealed["ry"]) if sealed.get("ry") else task.retry
        end = look_back(delivery, task, self.powers)
        if end is not None:
            raise End(end)
        if task.options.runs_as is not None:
            self._tell_runs_as(delivery, task)
            principal = principal.as_service(task.options.runs_as)
        run = Run(delivery, task, args, kwargs, retry)
        delivery.context = self._context(run, principal, sealed)
        return run

    def _authorise(
        self, delivery: Delivery, task: Task[Any, Any, Any], signed: Principal, args: Any, kwargs: Any
    ) -> Principal:
        try:
            principal = self.powers.load_principal(signed)
        except Exception as error:
            raise End(not_now(delivery, error_text(error))) from None
        if principal is None:
            raise End(self.refused(delivery, "DENIED", f"the {signed.kind} is gone or inactive"))
        decision = self.powers.policy_of(task).decide(
            PolicyContext(
                phase="execute",
                task=task.name,
                args=task.binder.bound(args, kwargs),
                principal=principal,
                deferred_at=to_datetime(delivery.deferred_at),
            )
        )
        if decision.verdict == "error":
            raise End(not_now(delivery, TaskError("PolicyUndecided", decision.reason)))
        if decision.verdict != "allow":
            raise End(self.refused(delivery, "DENIED", decision.reason))
        return principal

    def _tell_runs_as(self, delivery: Delivery, task: Task[Any, Any, Any]) -> None:
        self.powers.events.publish(
            RanAs(
                id=delivery.id or "",
                task=task.name,
                service=task.options.runs_as or "",
                principal=delivery.principal or "",
            )
        )

    def _context(self, run: Run, principal: Principal, sealed: dict[str, Any]) -> TaskContext:
        powers, delivery, task = self.powers, run.delivery, run.task
        assert delivery.id is not None
        return TaskContext(
            id=delivery.id,
            task=task.name,
            attempt=delivery.attempt,
            queue=binding(delivery.queue),
            principal=principal,
            deferred_at=delivery.deferred_at,
            fence=delivery.fence,
            clock=powers.clock,
            deadline=lambda: delivery.receipt.deadline,
            report=partial(self._report, run) if powers.results is not None and powers.write is not None else None,
            extend=partial(powers.extend, delivery) if powers.extend is not None else None,
            traceparent=delivery.traceparent,
            baggage=sealed.get("bg"),
            root=delivery.root,
            mandate=sealed.get("m"),
        )

    def _report(self, run: Run, done: float, total: float | None, message: str) -> None:
        results, delivery, record = self.powers.results, run.delivery, run.delivery.record
        assert results is not None and record is not None and self.powers.write is not None
        if delivery.abandoned or delivery.lost:
            return  # a STARTED after it was given back would look like a crash
        said = masked(str(message), run.secrets()) if message else ""
        written = self.powers.write(results.progressed(record, done, total, said))
        if written is not None:
            delivery.record = record.changed(version=written.version, state="STARTED", starts=max(1, record.starts))

    def refused(self, delivery: Delivery, code: str, detail: str) -> Outcome:
        """A refusal that ends the call takes up what earlier deliveries recorded: it may have ended before."""
        try:
            # Large arguments go when their call has succeeded: a copy that comes after that looks for them in vain.
            copy = code == "BLOB_MISSING"
            end = recall(delivery, self.powers, copy=copy) if delivery.id is not None and code in ENDS else None
        except FnQueueError as error:
            return not_now(delivery, error_text(error))
        return end or Refused(code, detail)


def not_now(delivery: Delivery, error: TaskError) -> Rescheduled:
    """For what is not the message's fault, nor an attempt."""
    return Rescheduled(delivery.backoff_seconds, error, counts=False)
