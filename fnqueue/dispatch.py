"""One call to one sealed entry, and entries to the broker: all that happens when a view defers.

check arguments -> principal -> policy (defer phase) -> middleware -> seal -> broker.send, or a parked record
when the delay is longer than the queue can hold. Every step before the send is without effect, so a refusal
leaves nothing behind. Knows no framework: who is asking, and whether a transaction is open, are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import structs

from fnqueue import quotas
from fnqueue.broker.base import Broker, Entry
from fnqueue.broker.names import binding, is_fifo, physical
from fnqueue.claims import Claim, Claims
from fnqueue.clock import Clock, to_datetime
from fnqueue.errors import (
    ArgumentsDoNotFit,
    DelayNeedsStore,
    FnQueueError,
    MessageTooLarge,
    OptionInvalid,
    PolicyDenied,
    PolicyUndecided,
    SendRefused,
)
from fnqueue.events import CallDeferred, CallDenied, Events
from fnqueue.middleware import Middleware, OutgoingCall, around_send
from fnqueue.security.envelope import seal
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing
from fnqueue.security.policy import Policy, PolicyContext
from fnqueue.security.principal import Principal
from fnqueue.security.records import group_id
from fnqueue.state.dedupe import Dedupe
from fnqueue.state.parked import Parked
from fnqueue.task.options import MEANT, retry_of
from fnqueue.task.task import Task

Wire = tuple[tuple[Any, ...], dict[str, Any]]  # arguments as the codec makes them travel


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed call that was not sent yet. `queue` is physical. `parked_until` unset: it goes to the queue."""

    id: str
    task: str
    queue: str
    entry: Entry
    expires_at: float
    principal_kind: str
    delay_seconds: float = 0
    parked_until: float | None = None
    claim: Claim | None = None  # dedupe

    @property
    def winner(self) -> str | None:
        """The id of the earlier call that holds the dedupe key: then nothing is sent."""
        return self.claim.winner if self.claim is not None and self.claim.winner != self.id else None


class Tick(msgspec.Struct, frozen=True):
    """The fire of a schedule that makes a call: whoever makes it again, after a crash, makes it with the same id."""

    id: str
    schedule: str
    time: str
    #: Unix seconds. Until then a copy may come, so the record that it ran is kept as long.
    until: float
    #: When it left, unix seconds, if that was not now: another scheduler sent it.
    made_at: float | None = None


class SendPowers(msgspec.Struct, frozen=True, kw_only=True):
    keys: Callable[[], KeyRing]
    environment: str
    broker: Broker
    clock: Clock
    events: Events
    policy_of: Callable[[Task[Any, Any, Any]], Policy]
    priority_queues: tuple[str, ...] = ()
    middleware: tuple[Middleware, ...] = ()
    #: Whether a transaction is open, so that what is prepared now will wait for its commit.
    waits: Callable[[], bool] = lambda: False
    parked: Parked | None = None
    dedupe: Dedupe | None = None
    max_body_bytes: int = quotas.BODY_BYTES_MAX


class Dispatch:
    """Safe between threads."""

    def __init__(self, powers: SendPowers) -> None:
        self._powers = powers
        self._claims = Claims(powers.dedupe, powers.clock)

    # ---------------------------------------------------------------- prepare

    def prepare(
        self,
        task: Task[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        principal: Principal,
        *,
        hint: str,
        tick: Tick | None = None,
    ) -> Prepared:
        """Everything but the send. `hint` is said when a policy denies and nobody is logged in."""
        wire = self._check(task, args, kwargs)
        self._authorise(task, args, kwargs, principal, hint)
        if not self._powers.middleware:
            call = OutgoingCall(task=task.name, args=args, kwargs=kwargs, queue=task.queue, principal=principal)
            return self._seal(task, call, wire, tick)
        return self._through_middleware(task, args, kwargs, principal, tick)

    def _through_middleware(
        self,
        task: Task[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        principal: Principal,
        tick: Tick | None,
    ) -> Prepared:
        sealed: list[Prepared] = []

        def seal_changed(changed: OutgoingCall) -> Prepared:
            wire = self._check(task, changed.args, changed.kwargs)
            if _is_changed(changed, args, kwargs, principal):
                self._authorise(task, changed.args, changed.kwargs, changed.principal, hint="")
            sealed.append(self._seal(task, changed, wire, tick))
            return sealed[-1]

        call = OutgoingCall(task=task.name, args=args, kwargs=dict(kwargs), queue=task.queue, principal=principal)
        try:
            prepared = around_send(self._powers.middleware, seal_changed)(call)
            if not isinstance(prepared, Prepared):
                raise OptionInvalid(f"{task.name}: a middleware's send() must return what call_next returned")
        except BaseException:
            self.drop(sealed)
            raise
        return prepared

    def _check(self, task: Task[Any, Any, Any], args: Any, kwargs: Any) -> Wire:
        try:
            return task.binder.check(args, kwargs)
        except ArgumentsDoNotFit as error:
            raise _with_option_hint(error, task, kwargs) from None

    def _authorise(self, task: Task[Any, Any, Any], args: Any, kwargs: Any, principal: Principal, hint: str) -> None:
        powers = self._powers
        context = PolicyContext(
            phase="defer",
            task=task.name,
            args=task.binder.bound(args, kwargs),
            principal=principal,
            deferred_at=to_datetime(powers.clock.now()),
        )
        decision = powers.policy_of(task).decide(context)
        if decision.verdict in ("allow", "skip"):
            return
        if decision.verdict == "error":
            raise PolicyUndecided(
                f"{task.name}: the policy could not decide: {decision.reason}. Nothing was sent.",
                task=task.name,
                reason=decision.reason,
            )
        powers.events.publish(CallDenied(task=task.name, principal_kind=principal.kind, reason=decision.reason))
        text = f"{task.name} {decision.reason}"
        if principal.kind == "anonymous":
            text += hint
        raise PolicyDenied(text, task=task.name, reason=decision.reason)

    # ---------------------------------------------------------------- seal

    def _seal(self, task: Task[Any, Any, Any], call: OutgoingCall, wire: Wire, tick: Tick | None) -> Prepared:
        powers, options = self._powers, task.call_options
        now = powers.clock.now() if tick is None or tick.made_at is None else tick.made_at
        queue, delay = self.physical_queue(task, call.queue), self._delay(task, now)
        not_before = now + delay if delay else None
        expires = max(now, not_before or 0) + (options.expires_seconds or task.options.expires_seconds)
        call_id = new_id(now) if tick is None else tick.id
        ring = powers.keys()
        sealed: dict[str, Any] = {"args": wire[0], "kwargs": wire[1], "p": call.principal.to_wire()}
        if call.baggage:
            sealed["bg"] = call.baggage
        if tick is not None:
            sealed["tk"] = [tick.schedule, tick.time, str(math.ceil(tick.until))]
        if options.retry is not None:
            sealed["ry"] = retry_of(options.retry).to_wire()
        body = seal(
            keyring=ring,
            environment=powers.environment,
            queue=binding(queue),
            id=call_id,
            task=task.name,
            created_at=now,
            not_before=not_before,
            expires_at=expires,
            principal_kind=call.principal.kind,
            traceparent=call.traceparent,
            sealed=sealed,
        )
        self._check_size(task, body, call)
        entry, parked_until = self._entry(ring, task, queue, call_id, body, delay, now)
        # Last: whatever is refused after it would hold the key.
        claim = self._claims.take(ring, task, call_id, expires, powers.waits) if options.dedupe is not None else None
        return Prepared(
            id=call_id,
            task=task.name,
            queue=queue,
            entry=entry,
            expires_at=expires,
            principal_kind=call.principal.kind,
            delay_seconds=delay,
            parked_until=parked_until,
            claim=claim,
        )

    def physical_queue(self, task: Task[Any, Any, Any], queue: str) -> str:
        """The one of a logical queue that the task's priority means. Raises OptionInvalid."""
        priority = task.priority
        if priority != "normal" and not self.has_priorities(queue):
            raise OptionInvalid(
                f"{task.name}: priority={priority!r}: on SQS a priority is a queue of its own; "
                f"name {queue!r} in FNQUEUE_PRIORITY_QUEUES, and run: fnqueue queues create"
            )
        return physical(queue, priority)

    def has_priorities(self, queue: str) -> bool:
        """On SQS a queue has three physical ones only where the settings say so: each costs its polls."""
        wanted = self._powers.priority_queues
        return "*" in wanted or queue in wanted or self._powers.broker.receive_max > quotas.RECEIVE_MAX

    def _delay(self, task: Task[Any, Any, Any], now: float) -> float:
        options = task.call_options
        if options.not_before is not None:
            return max(0.0, options.not_before.timestamp() - now)
        return options.delay_seconds or 0.0

    def _entry(
        self, ring: KeyRing, task: Task[Any, Any, Any], queue: str, call_id: str, body: str, delay: float, now: float
    ) -> tuple[Entry, float | None]:
        fifo = is_fifo(queue)
        group = group_of(ring, task, queue)
        if fifo and group is None:
            raise OptionInvalid(
                f"{task.name}: {queue!r} is a FIFO queue and needs a group: "
                f"{task.name.rpartition('.')[2]}.using(group=...).defer(...)"
            )
        dedupe = f"{call_id}.0" if fifo else None
        held = math.ceil(delay)
        if delay and (fifo or held > quotas.DELAY_SECONDS_MAX):
            if self._powers.parked is not None:
                return Entry(id=call_id, body=body, group=group, dedupe=dedupe), now + delay
            held = self._hop(task, fifo, held)
        return Entry(id=call_id, body=body, delay_seconds=held, group=group, dedupe=dedupe), None

    def _hop(self, task: Task[Any, Any, Any], fifo: bool, seconds: int) -> int:
        if fifo or seconds > quotas.HOP_TOTAL_SECONDS_MAX:
            longest = "no delay on a FIFO queue" if fifo else "at most 24 h"
            raise DelayNeedsStore(
                f"{task.name}: a delay of {seconds:,} s needs a store ({longest} without one): set FNQUEUE_STORE_URL"
            )
        return quotas.DELAY_SECONDS_MAX

    def _check_size(self, task: Task[Any, Any, Any], body: str, call: OutgoingCall) -> None:
        limit = min(self._powers.max_body_bytes, self._powers.broker.max_body_bytes)
        # What travels beside the body counts too: the generation, and its name and type.
        if len(body) + 16 > limit:
            raise MessageTooLarge(task=task.name, size=len(body), limit=limit, largest=_largest(call))

    # ---------------------------------------------------------------- send

    def send(self, calls: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        """Send all, in tens per queue, in order. Returns those that were not taken, each with its error.

        Raises what the engine raises when none of a queue's calls could be sent and nothing went before.
        """
        todo = [call for call in calls if call.winner is None]
        try:
            failed = self._send(todo)
        except BaseException:
            self.drop(todo)
            raise
        lost = {call.id for call, _ in failed}
        self._claims.settle(todo, unsent=lost)
        self._tell(todo, lost)
        return failed

    def drop(self, calls: Sequence[Prepared]) -> None:
        """These are not sent after all: whoever comes next with their dedupe keys must not be told that they were."""
        self._claims.settle(calls, unsent={call.id for call in calls})

    def keep(self, call: Prepared) -> None:
        """It runs here and is not sent: its dedupe key is its own all the same."""
        self._claims.settle([call])

    def renewed(self, calls: Iterable[Prepared]) -> list[Prepared]:
        """What was prepared perhaps long ago and leaves now: where another call has the dedupe key, as its loser."""
        claims = [(call, self._claims.renewed(call.claim, call.id)) for call in calls]
        return [call if claim is call.claim else structs.replace(call, claim=claim) for call, claim in claims]

    def forestalled(self, calls: Sequence[Prepared]) -> tuple[dict[str, str], dict[str, FnQueueError]]:
        """Of calls that were held: see `Claims.forestalled`."""
        return self._claims.forestalled(calls)

    def _send(self, todo: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        late = [call for call in todo if call.parked_until is not None]
        failed, sent_any = self._park(late), bool(late)
        by_queue: dict[str, list[Prepared]] = {}
        for call in todo:
            if call.parked_until is None:
                by_queue.setdefault(call.queue, []).append(call)
        for queue, group in by_queue.items():
            try:
                failures = self._powers.broker.send(queue, [call.entry for call in group])
            except FnQueueError as error:
                if not sent_any and len(by_queue) == 1:
                    raise
                failed += [(call, error) for call in group]
                continue
            sent_any = True
            failed += [(group[f.index], SendRefused(f.code, f.text, sender_fault=f.sender_fault)) for f in failures]
        return failed

    def _park(self, calls: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        """From where the store failed: those that were not taken. Raises its error where it took none."""
        parked = self._powers.parked
        for index, call in enumerate(calls):
            assert parked is not None
            entry, times = call.entry, {"due": call.parked_until, "until": call.expires_at}
            try:
                parked.park(call.id, queue=call.queue, body=entry.body, group=entry.group, **times)
            except FnQueueError as error:
                if index == 0:
                    raise
                return [(rest, error) for rest in calls[index:]]
        return []

    def _tell(self, calls: Sequence[Prepared], failed: set[str]) -> None:
        events = self._powers.events
        if not events.wanted(CallDeferred):
            return
        for call in calls:
            if call.id not in failed:
                events.publish(
                    CallDeferred(
                        id=call.id,
                        task=call.task,
                        queue=binding(call.queue),
                        principal_kind=call.principal_kind,
                        bytes=len(call.entry.body),
                        delay_seconds=call.delay_seconds,
                    )
                )


def group_of(ring: KeyRing, task: Task[Any, Any, Any], queue: str) -> str | None:
    """The MessageGroupId of a task's calls in a queue."""
    options = task.call_options
    group = options.group if options.group is not None else options.tenant
    if group is None:
        return None
    return group if options.group_clear else group_id(ring.primary, binding(queue), group)


def _with_option_hint(error: ArgumentsDoNotFit, task: Task[Any, Any, Any], kwargs: dict[str, Any]) -> ArgumentsDoNotFit:
    slots, parameters = type(task.call_options).__slots__, task.binder.parameters
    options = {MEANT.get(name, name): value for name, value in kwargs.items() if name not in parameters}
    options = {name: value for name, value in options.items() if name in slots}
    if not options:
        return error
    # Numbers only: a group may be somebody's e-mail address.
    shown = ", ".join(f"{name}={value if isinstance(value, int | float) else '...'}" for name, value in options.items())
    return ArgumentsDoNotFit(
        f"{error} Options go in task.using({shown}).defer(...)", task=task.name, parameter=error.parameter
    )


def _is_changed(call: OutgoingCall, args: Any, kwargs: dict[str, Any], principal: Principal) -> bool:
    """Whether a middleware made another call of it than the policy allowed. By identity: values may not compare."""
    given, now = (*args, *kwargs.values()), (*call.args, *call.kwargs.values())
    same = len(given) == len(now) and all(new is old for new, old in zip(now, given, strict=True))
    return not same or call.kwargs.keys() != kwargs.keys() or call.principal != principal


def _largest(call: OutgoingCall) -> str:
    named = [(f"args[{i}]", value) for i, value in enumerate(call.args)] + list(call.kwargs.items())
    if not named:
        return "none"
    name, value = max(named, key=lambda pair: len(str(pair[1])))
    return f"{name} (about {len(str(value)):,} characters)"
