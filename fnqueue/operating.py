"""Who may operate on calls of others, and revoking: what `operate=` of a task decides.

Whoever deferred a call may stop it; everybody else needs the `operate=` policy of its task. A task without one is
operated by nobody else but `OPERATOR`, as whom the command line acts: it holds the keys.
`operate=` and `read=` look at who asks and at no argument: of a call that ended none is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from fnqueue.clock import Clock, to_datetime
from fnqueue.errors import OptionInvalid, PolicyDenied, StoreMissing
from fnqueue.registry import Registry
from fnqueue.security.ids import is_id
from fnqueue.security.policy import Decision, Policy, PolicyContext
from fnqueue.security.principal import KINDS, Principal, service
from fnqueue.state.control import Control
from fnqueue.state.parked import Parked
from fnqueue.state.results import Results, TaskRecord
from fnqueue.state.revocations import Grant
from fnqueue.task.task import Task

#: As whom the command line acts where no `--as` says another.
OPERATOR: Final = service("operator")
REVOKED_FOR_SECONDS: Final = 1_209_600.0  # SQS's longest retention: no message outlives the mark that stops it
ALLOWED: Final = Decision("allow")


def decided(policy: Policy, task: str, asker: Principal, asked_at: datetime) -> Decision:
    """What a policy on reading or operating says: there are no arguments to look at."""
    return policy.decide(PolicyContext(phase="execute", task=task, args={}, principal=asker, deferred_at=asked_at))


#: The audit: what, a line for the log, the fields.
Tell = Callable[[str, str, dict[str, Any]], None]


class OperatingRecords(NamedTuple):
    """None where there is no store."""

    control: Control | None
    results: Results | None
    parked: Parked | None


class Operating:
    """Safe between threads."""

    def __init__(self, registry: Registry, clock: Clock, records: OperatingRecords, tell: Tell) -> None:
        self._registry, self._clock, self._records, self._tell = registry, clock, records, tell

    # ---------------------------------------------------------------- who may

    def decision(self, task: str, asker: Principal) -> Decision:
        """Whether `asker` may operate on calls of others of the task with this name."""
        known = self._registry.find(task)
        if known is not None and known.options.operate is not None:
            return decided(known.options.operate, task, asker, self._now())
        return ALLOWED if is_operator(asker) else Decision("deny", "has no operate= policy")

    def check(self, task: str, asker: Principal, *, deferred_by: str | None = None) -> None:
        """Raises PolicyDenied unless `asker` deferred the call or may operate on its task."""
        if deferred_by == asker.subject:
            return
        decision = self.decision(task, asker)
        if decision.verdict != "allow":
            raise self._denied(task, asker, decision)

    def grant(self, asker: Principal) -> Grant:
        """What a wish of `asker` covers, decided now: workers know the calls, and need to ask nobody."""
        allowed = {task.name: self.decision(task.name, asker).verdict == "allow" for task in self._registry}
        if is_operator(asker):
            return Grant(asker.subject, tuple(name for name, may in allowed.items() if not may), but=True)
        return Grant(asker.subject, tuple(name for name, may in allowed.items() if may))

    # ---------------------------------------------------------------- revoking

    def revoke_id(self, id: str, asker: Principal, *, reason: str = "", expires_at: float | None = None) -> None:
        """Nothing happens for an id that never was, nor for one that `asker` may neither stop nor see: both look alike.

        Raises PolicyDenied for a call that he may see, and not stop.
        """
        control = self._control("revoke()")
        if not _is_id(id):
            return
        record = self._record(id)
        if record is not None and not self._may_revoke(record, asker):
            return
        grant, now = self.grant(asker), self._clock.now()
        until = max(self.expiry(id, expires_at, record), now + REVOKED_FOR_SECONDS)
        if grant.operates:  # whoever stops a call of their own is no operator
            self._tell_revoked("id", id, asker, reason)
        control.revoke("id", id, until=until, grant=grant, operator=grant.operates)

    def revoke_root(self, root: str, asker: Principal, *, reason: str = "") -> None:
        control = self._control("revoke(root=...)")
        if not is_id(root):
            raise OptionInvalid(f"revoke(root={root!r}): must be the id of the first call, 26 characters")
        grant = self.grant(asker)
        self._tell_revoked("root", root, asker, reason)
        control.revoke("root", root, grant=grant, operator=grant.operates)

    def revoke_principal(self, subject: str, asker: Principal, *, reason: str = "") -> None:
        """What was deferred for "user:7" until now. Raises PolicyDenied for somebody else's, without any task."""
        control = self._control("revoke(principal=...)")
        kind, _, name = subject.partition(":")
        if kind not in KINDS.values() or not name:
            raise OptionInvalid(f"revoke(principal={subject!r}): must be a kind and an id, as 'user:7'")
        grant = self.grant(asker)
        own = subject == asker.subject and asker.kind != "anonymous"  # all of nobody's are not one person's
        if not own and not grant.operates:
            raise self._denied("", asker, Decision("deny", f"no task's operate= policy allows it for {subject}"))
        self._tell_revoked("principal", subject, asker, reason)
        control.revoke("principal", subject, grant=grant, operator=True)

    def expiry(self, id: str, expires_at: float | None, record: TaskRecord | None) -> float:
        """The call's, as far as it is known: a call may wait in the store for longer than any message lives."""
        parked = self._records.parked
        if expires_at is not None or parked is None:
            return expires_at or 0
        return max(parked.kept_until(id) or 0, record.expires_at if record is not None else 0)

    # ---------------------------------------------------------------- helpers

    def _control(self, what: str) -> Control:
        if self._records.control is None:
            raise StoreMissing(what)
        return self._records.control

    def _record(self, id: str) -> TaskRecord | None:
        record = self._records.results.read(id) if self._records.results is not None else None
        return record if record is not None and record.readable else None

    def _may_revoke(self, record: TaskRecord, asker: Principal) -> bool:
        if asker.subject == record.principal:
            return True
        decision = self.decision(record.task, asker)
        if decision.verdict == "allow":
            return True
        error = self._denied(record.task, asker, decision)
        if self.may_read(record, asker):
            raise error
        return False

    def may_read(self, record: TaskRecord, asker: Principal) -> bool:
        """Who deferred it, and whom `read=` of its task allows."""
        if asker.subject == record.principal:
            return True
        task: Task[Any, Any, Any] | None = self._registry.find(record.task)
        if task is None or task.options.read is None:
            return False
        asked = to_datetime(record.deferred_at or 0)
        return decided(task.options.read, record.task, asker, asked).verdict == "allow"

    def _tell_revoked(self, what: str, value: str, asker: Principal, reason: str) -> None:
        by = asker.subject
        told = {"action": "revoke", "by": by, "named": what, "value": value, "reason": reason}
        self._tell("operator", f"OPERATOR {by} revokes {what} {value}: {reason or 'no reason given'}", told)

    def _denied(self, task: str, asker: Principal, decision: Decision) -> PolicyDenied:
        by = asker.subject
        text = f"{asker} may not operate on {task or 'these calls'}: {decision.reason}"
        self._tell(
            "denied",
            f"DENIED {text}",
            {"action": "operate", "task": task, "principal": by, "reason": decision.reason},
        )
        return PolicyDenied(text, task=task, reason=decision.reason)

    def _now(self) -> datetime:
        return to_datetime(self._clock.now())


def is_operator(asker: Principal) -> bool:
    return (asker.kind, asker.id) == (OPERATOR.kind, OPERATOR.id)


def _is_id(id: Any) -> bool:
    """Whether a call may have it. What stands in a request's url may be anything, and is nothing, not an error."""
    return isinstance(id, str) and is_id(id)
