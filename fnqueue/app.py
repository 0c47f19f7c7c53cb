"""`FnQueue`: the registry of tasks and the public verbs. Wiring only; nothing below knows its name.

An object may be made at import time, before any setting is known: nothing is read, opened or started until
the first call. Nor is the runtime imported before, because modules with tasks are imported by all kinds of
processes, and most never call one. `flask_fnqueue.FnQueue` and `django_fnqueue.fn` are subclasses that find the
application's runtime and principal by themselves.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, overload

from fnqueue import forks
from fnqueue.acting import Acting
from fnqueue.errors import ArgumentError, NotATask, OptionInvalid, SomeNotSent
from fnqueue.hooks import Hooks
from fnqueue.lambdas import OnLambda
from fnqueue.middleware import Middleware
from fnqueue.reads import StoreReads
from fnqueue.registry import Registry
from fnqueue.security.policy import check_arguments, check_policy
from fnqueue.security.principal import Principal
from fnqueue.task.batch import Batch, innermost
from fnqueue.task.decorators import BoundTaskDecorator, TaskDecorator
from fnqueue.task.handle import Handle, Hold, Result
from fnqueue.task.mistakes import no_attribute_of_queue, not_a_task, not_settings
from fnqueue.task.options import TaskKeywords, TaskOptions, unknown_option
from fnqueue.task.task import Task, check_function, with_wire_options
from fnqueue.workflow.signature import Signature

if TYPE_CHECKING:
    from fnqueue.dispatch.calls import Prepared
    from fnqueue.held import Held, Transaction
    from fnqueue.runtime import Runtime
    from fnqueue.scheduling.book import ScheduleBook

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
T = TypeVar("T")


class FnQueue(Acting, OnLambda):
    """Background functions on a queue.

    `settings`: a mapping of `FNQUEUE_*` names (or without the prefix); `overrides`: the same as keywords.
    The environment wins over both. Faults are raised at the first call, all at once (SettingsInvalid).
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, **overrides: Any) -> None:
        if settings is not None and not isinstance(settings, Mapping):
            raise not_settings(settings)
        super().__init__()
        forks.expect_early()
        self.registry, self.hooks = Registry(), Hooks()
        self.middleware: list[Middleware] = []
        self.given = (settings, overrides)
        self._subscriptions: list[tuple[type[Any], Callable[[Any], None]]] = []
        self._runtime: Runtime | None = None
        self._batch: ContextVar[Batch[Prepared] | None] = ContextVar("fnqueue_batch", default=None)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute_of_queue(type(self), name)

    # ---------------------------------------------------------------- tasks

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def task(self, *, bind: Literal[True], **options: Unpack[TaskKeywords]) -> BoundTaskDecorator: ...
    @overload
    def task(self, *, bind: Literal[False] = ..., **options: Unpack[TaskKeywords]) -> TaskDecorator: ...
    def task(self, function: Any = None, /, **options: Any) -> Any:  # type: ignore[misc]
        """Register a function as a task: `@fn.task` or `@fn.task(queue="billing", retry=3)`.

        name: default is the module and qualified name. queue: logical, a name or `name.fifo`.
        policy: who may defer it, checked again before it runs; default: FNQUEUE_DEFAULT_POLICY.
        retry: attempts after the first, or a `Backoff`. expires_seconds: not run later than this after it was due.
        priority: high, normal, low. time_limit_seconds: coroutine tasks are cancelled; for functions in threads
        only soft_time_limit_seconds works (an exception inside the task). once: at most one recorded success per
        call (needs a store). unique_for_seconds: calls of one principal with the same arguments are one for so long
        (needs a store). dead_letter: keep a copy of a call that failed for good. at_most_once: delete the
        message before the run; a crash loses the call. keep_result_seconds, keep_failure_seconds: how long the
        store remembers. raises: exceptions that are part of the job, logged without traceback. runs_as: the run
        acts as this service instead of the caller. defers: names of the tasks that it may defer for whoever it runs
        for, where workers' keys do not mint. read: who else may see state and result. operate: who else may
        revoke its calls, send them back from a dead-letter queue and see their arguments. bind: the first parameter
        is the TaskContext, which callers do not pass.
        Raises OptionInvalid, TaskNameInvalid.
        """
        if function is not None:
            return self._register(function, TaskOptions())
        unknown = [name for name in options if name not in TaskOptions.__slots__]
        if unknown:
            raise unknown_option(unknown[0], TaskOptions)
        checked = TaskOptions(**options)
        for policy in (checked.policy, checked.read, checked.operate):
            if policy is not None:
                check_policy(policy)
        return lambda decorated: self._register(decorated, checked)

    def _register(self, function: Callable[..., Any], options: TaskOptions) -> Task[Any, Any, Any]:
        check_function(function)
        task: Task[Any, Any, Any] = Task(function, options, self)
        if options.policy is not None:
            check_arguments(options.policy, inspect.signature(function).parameters, task=task.name)
        for name, policy in (("read", options.read), ("operate", options.operate)):
            if policy is not None and policy.arguments():
                raise OptionInvalid(
                    f"{task.name}: {name}={policy!r} looks at an argument, and of a call that ended none is kept: "
                    "say it of whoever asks, as role(...)"
                )
        self.registry.add(task)
        return task

    # ---------------------------------------------------------------- schedules

    def schedule(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[T], T]:
        """Call a task by the calendar, above `@fn.task`. Needs a store, and a worker or `fnqueue schedule run`.

        expression: rate(5 minutes), cron() of six fields or at(), as Amazon EventBridge Scheduler has them. name: the
        task's, if none is given. args, kwargs: `SCHEDULED_TIME`, `SCHEDULE_NAME` of `fnqueue.schedule`: what is known
        when it fires. options: those of `Schedule` and of `task.using`. Raises ExpressionInvalid, OptionInvalid.
        """
        from fnqueue.scheduling.declared import declares  # not at the top: most applications have no schedule

        said = {"timezone": timezone, "name": name, "args": args, "kwargs": kwargs, **options}
        return declares(self.registry.schedule, expression, said)

    @property
    def schedules(self) -> ScheduleBook:
        """Put, look at, pause and run schedules of this application."""
        with forks.importing():
            from fnqueue.scheduling.book import ScheduleBook  # not at the top: see `schedule`

        return ScheduleBook(self.runtime)

    # ---------------------------------------------------------------- deferring

    def defer(self, task: Task[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Check, authorise, seal and send a call of `task`. Returned means durable.

        Raises ArgumentError, PolicyDenied, PolicyUndecided, BrokerError: then nothing was sent.
        """
        return self.send(self._task(task), args, kwargs)

    async def adefer(self, task: Task[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`defer` for async views: the send is in a thread, with this context's variables."""
        return await self.asend(self._task(task), args, kwargs)

    def defer_many(self, task: Task[P, R, Any], calls: Iterable[tuple[Any, ...] | Signature], /) -> list[Handle[R]]:
        """Defer a call per tuple of arguments (or signature), in batches of ten. Handles in the same order.

        All are checked, authorised and sealed before the first is sent.
        Raises SomeNotSent with `.sent` and `.failed` when the queue refused part of them.
        """
        chosen = self._task(task)
        batch: Batch[Prepared] = Batch()
        try:
            for call in calls:
                batch.add([self._prepare(*self._call(chosen, call))], [])
        except BaseException:
            self.runtime().dispatch.drop(batch.close())
            raise
        return self._deliver(batch.close())

    def send(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        """What `task.defer` calls."""
        return self._deliver([self._prepare(task, args, kwargs)])[0]

    async def asend(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        """What `task.adefer` calls. Integrations say in which thread, and for whom."""
        import asyncio  # whoever awaits has it already; at the top it costs every import of fnqueue a fifth

        return await asyncio.to_thread(self.send, task, args, kwargs)

    @contextmanager
    def batch(self) -> Iterator[Batch[Prepared]]:
        """Sends inside the block leave in tens at its end. An exception inside sends nothing.

        Handles have their ids at once. Raises SomeNotSent at the end. Blocks may be nested: the outermost sends.
        """
        outer = self._batch.get()
        batch: Batch[Prepared] = Batch(transaction=self._transaction(), place=self.runtime(), around=outer)
        token = self._batch.set(batch)
        try:
            yield batch
        except BaseException:
            self.runtime().dispatch.drop(batch.close(dropped=True))
            raise
        finally:
            self._batch.reset(token)
        if outer is not None:
            outer.held += batch.held
        batch.deliver(self._deliver)

    def apply(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[Any]:
        """What `task.apply` calls."""
        with forks.importing():  # not at the top: most processes never execute
            from fnqueue.execution.apply import WITHOUT_WORKER, apply_here
        runtime = self.runtime()
        executor = runtime.executor(**WITHOUT_WORKER)
        prepared = self._prepare(task, args, kwargs, here=True)
        # The task's own principal counts inside it, as in a worker: it may be the service that the task runs as.
        token = self._principal.set(None)
        try:
            return apply_here(executor, prepared, runtime.clock)
        finally:
            self._principal.reset(token)
            runtime.dispatch.drop([prepared])  # it was not sent: whoever defers the same must not be told that it was

    def _prepare(
        self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, here: bool = False
    ) -> Prepared:
        principal = self.current_principal()
        hint = self._nobody() if principal.kind == "anonymous" else ""
        return self.runtime().dispatch.prepare(task, args, kwargs, principal, hint=hint, here=here)

    def _deliver(self, prepared: list[Prepared]) -> list[Handle[Any]]:
        if not prepared:
            return []
        batch, transaction = innermost(self._batch.get(), self.runtime()), self._transaction()
        # A transaction that began inside the block may roll back before the block ends: what is deferred in it
        # cannot wait for the block. One around the block is waited for at the block's end, with all of its calls.
        if batch is not None and transaction in (None, batch.transaction):
            handles = [self._handle_of(call, batch) for call in prepared]
            if batch.add(prepared, handles):
                return handles
        if transaction is None:
            return self._transmit(prepared)
        held = self._hold(transaction, prepared)
        handles = [self._handle_of(call, held) for call in prepared]
        if batch is not None:
            batch.note_held(held, handles)
        return handles

    def _transaction(self) -> Transaction | None:
        return self.runtime().hooks.transaction()

    def _hold(self, transaction: Transaction, prepared: list[Prepared]) -> Held:
        runtime = self.runtime()
        with forks.importing():
            from fnqueue.held import Held
        held = Held(prepared, runtime.dispatch, runtime.events, runtime.sent)
        try:
            transaction.hold(held)
        except BaseException:
            held.drop()
            raise
        held.tell()
        return held

    def _transmit(self, prepared: list[Prepared]) -> list[Handle[Any]]:
        prepared = self.runtime().dispatch.renewed(prepared)
        failed = self.runtime().transmit(prepared)
        lost = {call.id for call, _ in failed}
        sent = [self._handle_of(call) for call in prepared if call.id not in lost]
        if failed:
            raise failed[0][1] if len(prepared) == 1 else SomeNotSent(sent, failed)
        return sent

    def _call(
        self, task: Task[Any, Any, Any], call: tuple[Any, ...] | Signature
    ) -> tuple[Task[Any, Any, Any], tuple[Any, ...], dict[str, Any]]:
        if isinstance(call, Signature):
            if call.task != task.name:
                raise ArgumentError(f"defer_many({task.name}): got a signature of {call.task}", task=task.name)
            return with_wire_options(task, call.options), call.args, dict(call.kwargs)
        if not isinstance(call, tuple | list):
            raise ArgumentError(
                f"defer_many({task.name}): each call is a tuple of arguments, as (7,), got {type(call).__name__}",
                task=task.name,
            )
        return task, tuple(call), {}

    def _task(self, task: Any) -> Task[Any, Any, Any]:
        if isinstance(task, Task):
            if self.registry.find(task.name) is None:
                raise NotATask(
                    f"{task.name} belongs to another FnQueue than this one: defer it with task.defer(...), "
                    "or register it here"
                )
            return task
        raise not_a_task(task)

    def _handle_of(self, prepared: Prepared, held: Hold | None = None) -> Handle[Any]:
        return Handle(
            prepared.winner or prepared.id,
            task=prepared.task,
            reads=self.reads(),
            expires_at=prepared.expires_at,
            queue=prepared.queue,
            # An earlier call that holds the dedupe key was sent long ago: its result does not wait for this commit.
            held=held if prepared.winner is None else None,
        )

    # ---------------------------------------------------------------- reading

    def handle(self, id: str) -> Handle[Any]:
        """A handle from an id. Reading is for whoever deferred it, and whom the task's `read` policy allows;
        to all others it looks like an id that never was (UNKNOWN)."""
        return Handle(id, task="", reads=self.reads(asked_by=self.current_principal()))

    def revoke(
        self,
        id: str | None = None,
        *,
        root: str | None = None,
        principal: Principal | str | None = None,
        reason: str = "",
    ) -> None:
        """Stop a call; or a whole tree, by its first call (`root`); or all that was deferred for `principal` until now.

        Workers learn of it at their next heartbeat, and start none of it; what runs is told within two heartbeats
        (`context.revoked`). For whoever is asking now: it counts for their own calls, and for those of tasks whose
        `operate` policy lets them. An id that is nobody's, or not theirs to see, is passed over. `reason` is for the
        audit. Needs a store.
        Raises PolicyDenied, StoreMissing, OptionInvalid.
        """
        if sum(given is not None for given in (id, root, principal)) != 1:
            raise OptionInvalid("revoke() takes one of: an id, root=, principal=")
        operating, asker = self.runtime().operating, self.current_principal()
        if id is not None:
            operating.revoke_id(id, asker, reason=reason)
        elif root is not None:
            operating.revoke_root(root, asker, reason=reason)
        elif principal is not None:
            subject = principal.subject if isinstance(principal, Principal) else principal
            operating.revoke_principal(subject, asker, reason=reason)

    def status_url(self, handle: Handle[Any], *, expires_seconds: float = 900) -> str:
        """A url that gives the call's state as JSON to whoever is asking now, for `expires_seconds`."""
        token = handle.status_token(expires_seconds=expires_seconds)
        if self.hooks.status_url is not None:
            return self.hooks.status_url(token)
        return self.runtime().settings.status_url.format(token=token)

    def reads(self, asked_by: Principal | None = None) -> StoreReads:
        return StoreReads(self.runtime(), asked_by=asked_by, subject=self.current_principal)

    def describe_user(self, function: Callable[[Any], Mapping[str, Any] | None], /) -> Any:
        """`@fn.describe_user`: a user of Flask-Login's or Django's -> what else is true of them, a dict; or None.

        tenant, roles (instead of the user's own), scopes, auth_time (aware), credential_version (text that changes with
        their password). Asked when a call is made, and again of the user who is loaded before the run.
        """
        self.hooks.describe_user = function
        return function

    # ---------------------------------------------------------------- events and wiring

    def on(self, event: type[E], callback: Callable[[E], None]) -> None:
        """Call `callback` at each event of this type (`fnqueue.events`). In web and worker alike."""
        self._subscriptions.append((event, callback))
        if self._runtime is not None:
            self._runtime.events.on(event, callback)

    def runtime(self) -> Runtime:
        """This application's wiring, made at first use."""
        if self._runtime is None:
            with forks.importing():  # two threads that are first at once must not have two queues
                self._runtime = self._runtime or self.make_runtime(*self.given, base=os.getcwd())
        return self._runtime

    def make_runtime(self, settings: Mapping[str, Any] | None, overrides: dict[str, Any], *, base: str) -> Runtime:
        with forks.importing():
            from fnqueue.audit import telling
            from fnqueue.runtime import Runtime
            from fnqueue.settings import Settings, merged
        built = Settings.build(merged(settings, overrides)).resolved(base)
        runtime = Runtime(settings=built, registry=self.registry, hooks=self.hooks, middleware=self.middleware)
        for event, callback in self._subscriptions:
            runtime.events.on(event, callback)
        telling.subscribe(runtime.events, lambda: runtime.audit)
        return runtime

    def close(self) -> None:
        """Let go of files and connections. The object may be used again: they are opened anew."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()
