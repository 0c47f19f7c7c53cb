"""One application's wiring: settings become engines, keys and the two pipes (dispatch and execution).

Built without I/O; everything is made at first use, once per process, and all faults of the settings
are reported then, at once. `FnQueue` has one of these, or with Flask one per application.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fnqueue import policies, quotas
from fnqueue.backends import url_faults
from fnqueue.clock import Clock, SystemClock
from fnqueue.dispatch.calls import Prepared, SendPowers
from fnqueue.dispatch.dispatch import Dispatch
from fnqueue.errors import ExtraMissing, KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.events import Events
from fnqueue.forks import ProcessLock, importing, made_once
from fnqueue.hooks import Hooks
from fnqueue.keeping import Keeping
from fnqueue.middleware import Middleware
from fnqueue.registry import Registry
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keys import KeySource
from fnqueue.security.policy import Policy
from fnqueue.security.principal import Principal
from fnqueue.security.suites import SUITES, accepted
from fnqueue.settings import Settings
from fnqueue.store.base import Record
from fnqueue.task.task import Task

if TYPE_CHECKING:
    from fnqueue.execution.execute import Executor
    from fnqueue.execution.settle import Settler

#: What a fault is about.
FaultKind = Literal["url", "keys", "environment", "policy", "store", "priority", "queues"]


def _nothing() -> None: ...


@dataclass(kw_only=True)
class Runtime(Keeping):
    settings: Settings
    registry: Registry
    hooks: Hooks = field(default_factory=Hooks)
    clock: Clock = field(default_factory=SystemClock)
    events: Events = field(default_factory=Events)
    middleware: list[Middleware] = field(default_factory=list)
    keys_override: KeySource | None = None
    #: False: only looked at. A key file, or a folder, that first use would make is not made, and its lack is no fault.
    makes_files: bool = True
    #: Called when calls have left for the queue, here or after a commit. `fnqueue.testing` may run them then.
    sent: Callable[[], None] = _nothing
    #: What `fnqueue.testing` keeps beside an engine in memory.
    aids: Any = None
    _lock: ProcessLock = field(default_factory=ProcessLock, repr=False)
    _checked: bool = False
    _told_ring: KeyRing | None = field(default=None, repr=False)

    def to_look_at(self) -> Runtime:
        """The same with nothing opened, whose `faults` make no file and no folder."""
        return replace(self, makes_files=False, _checked=False)

    # ---------------------------------------------------------------- faults

    def faults(self) -> list[str]:
        """All that is wrong, one sentence each; empty: web and worker may start. Reads the key file, no network."""
        return [fault for faults in self.faults_by_kind().values() for fault in faults]

    def faults_by_kind(self, *, make_key: bool = True) -> dict[FaultKind, list[str]]:
        """The same by what they are about. Without `make_key` a key file that first use would make is not made."""
        found = url_faults(self.settings)
        if found:
            return {"url": found}
        return {
            "keys": self._key_faults(make_key),
            "environment": self._environment_faults(),
            "policy": self._policy_faults(),
            "store": self._store_faults(),
            "priority": self._priority_faults(),
            "queues": self._twin_queue_faults(),
        }

    def check(self) -> None:
        """Raises SettingsInvalid with every fault. Once it passed it is not asked again."""
        if self._checked:
            return
        found = self.faults()
        if found:
            raise SettingsInvalid(found)
        self._checked = True

    def _key_faults(self, make_key: bool) -> list[str]:
        settings = self.settings
        if settings.keys and settings.keys_file:
            return ["FNQUEUE_KEYS and FNQUEUE_KEYS_FILE are both set: give one of them"]
        if not self.engine.embedded and not settings.keys and not settings.keys_file and self.keys_override is None:
            return ["FNQUEUE_KEYS is not set, and on SQS there is no default: make a key with: fnqueue keys new"]
        own = self.own_key_file()
        if own is not None and not (make_key and self.makes_files) and not os.path.exists(own):
            return []
        try:
            ring, suites = self.ring(), accepted(settings.suites)
        except SettingsInvalid as error:
            return list(error.faults)
        except (KeyInvalid, KeysMissing, ExtraMissing) as error:
            return [str(error)]
        except ValueError as error:
            return [f"FNQUEUE_SUITES: {error}"]
        everywhere = ({"": frozenset(SUITES)} | dict(suites)).values()
        if ring.primary.can("sign") and not any(ring.primary.suite in taken for taken in everywhere):
            return [f"FNQUEUE_SUITES takes no message of the primary key, whose suite is {ring.primary.suite_name}"]
        return []

    def _environment_faults(self) -> list[str]:
        if not self.engine.local and self.settings.environment == "default":
            return [
                "FNQUEUE_ENVIRONMENT is not set: name it (production, staging), "
                "so that one cannot run the other's messages"
            ]
        return []

    def open_tasks(self) -> list[Task[Any, Any, Any]]:
        """Tasks that anybody may defer because neither they nor the settings name a policy."""
        if self.settings.default_policy is not None:
            return []
        return [task for task in self.registry if task.policy is None]

    def _policy_faults(self) -> list[str]:
        if self.engine.embedded or not self.open_tasks():
            return []
        tasks = self.open_tasks()
        shown = ", ".join(f"{task.name} ({task.where})" for task in tasks[:5]) + (", ..." if len(tasks) > 5 else "")
        plural = "1 task has" if len(tasks) == 1 else f"{len(tasks)} tasks have"
        return [
            f"{plural} no policy: {shown}. "
            f"Give {'it' if len(tasks) == 1 else 'each'} policy=..., or set "
            'FNQUEUE_DEFAULT_POLICY="authenticated" (or "public").'
        ]

    def _store_faults(self) -> list[str]:
        if self.engine.store is not None:
            return []
        found = []
        once = [task.name for task in self.registry if task.options.once]
        if once:
            found.append(f"once=True needs a store, and FNQUEUE_STORE_URL is not set: {', '.join(once)}")
        unique = [task.name for task in self.registry if task.options.unique_for_seconds is not None]
        if unique:
            found.append(f"unique_for_seconds= needs a store, and FNQUEUE_STORE_URL is not set: {', '.join(unique)}")
        if self.settings.replay == "required":
            found.append("FNQUEUE_REPLAY=required needs a store, and FNQUEUE_STORE_URL is not set")
        if self.registry.schedules:
            names = ", ".join(self.registry.schedules)
            found.append(f"@fn.schedule needs a store, and FNQUEUE_STORE_URL is not set: {names}")
        return found

    def _priority_faults(self) -> list[str]:
        if self.engine.embedded or "*" in self.settings.priority_queues:
            return []
        without = [
            f"{task.name} (queue {task.options.queue!r})"
            for task in self.registry
            if task.priority != "normal" and task.options.queue not in self.settings.priority_queues
        ]
        if not without:
            return []
        return [
            "on SQS a priority is a queue of its own, and FNQUEUE_PRIORITY_QUEUES does not name the queue of: "
            + ", ".join(without)
        ]

    def _twin_queue_faults(self) -> list[str]:
        """The seal binds a queue's name without `.fifo`: of two such queues one's messages would run from the other."""
        queues = set(self.registry.queues())
        return [
            f"the queues {queue!r} and '{queue}.fifo' are one to the seal of a message: give one of them another name"
            for queue in sorted(queues)
            if f"{queue}.fifo" in queues
        ]

    # ---------------------------------------------------------------- the two pipes

    @made_once
    def dispatch(self) -> Dispatch:
        self.check()
        settings = self.settings
        return Dispatch(
            SendPowers(
                keys=self.ring,
                environment=settings.environment,
                broker=self.engine.broker,
                clock=self.clock,
                events=self.events,
                policy_of=self.policy_of,
                priority_queues=settings.priority_queues,
                middleware=tuple(self.middleware),
                waits=lambda: self.hooks.transaction() is not None,
                parked=self.parked,
                dedupe=self.dedupe,
                blobs=self.blobs,
                max_body_bytes=settings.max_body_bytes or quotas.BODY_BYTES_MAX,
            )
        )

    def ask_again(self) -> None:
        """Settings or middleware were exchanged: what was made of them is made anew, and checked."""
        self.__dict__.pop("dispatch", None)
        self._checked = False

    def transmit(self, calls: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        """`Dispatch.send`, and what follows when they have left."""
        failed = self.dispatch.send(calls)
        self.sent()
        return failed

    def executor(self, **powers: Any) -> Executor:
        """A pipe for a worker. `powers`: what the worker adds, as `find`, `extend`, `worker`."""
        with importing():  # not at the top: a web process defers and never executes
            from fnqueue.execution.execute import Executor
            from fnqueue.execution.powers import Powers

        self.check()
        settings = self.settings
        lacking = self.ring().lacking("open", *(("state",) if self.results is not None else ()))
        if lacking:
            raise KeysMissing("; ".join(lacking))
        given: dict[str, Any] = {
            "find": self.registry.find,
            "keys": self.ring,
            "environment": settings.environment,
            "suites": accepted(settings.suites),
            "clock": self.clock,
            "events": self.events,
            "load_principal": self.reload,
            "policy_of": self.policy_of,
            "results": self.results,
            "replay": self.replay,
            "replay_required": settings.replay == "required",
            "parked": self.parked,
            "blobs": self.blobs,
            "scope": self.hooks.scope,
            "attempt": self.hooks.attempt,
            "coroutine": self.hooks.coroutine,
            "wait_for": self.hooks.wait_for,
            "thread_done": self.hooks.thread_done,
            "middleware": tuple(self.middleware),
            "max_crashes": settings.max_crashes,
            "lease_seconds": settings.visibility_seconds,
            "wants_values": self.results is not None,
            "write": self._write if self.engine.store is not None else None,
        }
        return Executor(Powers(**(given | powers)))

    def settler(self, **powers: Any) -> Settler:
        with importing():
            from fnqueue.execution.settle import SettlePowers, Settler

        given: dict[str, Any] = {
            "broker": self.engine.broker,
            "clock": self.clock,
            "events": self.events,
            "together": self.engine.together,
            "results": self.results,
            "replay": self.replay,
            "parked": self.parked,
            **({"forget": self.blobs.forget} if self.blobs is not None else {}),
            "store": self.engine.store,
            "unknown_grace_seconds": self.settings.unknown_grace_seconds,
        }
        return Settler(SettlePowers(**(given | powers)))

    def _write(self, record: Record) -> Record | None:
        store = self.engine.store
        return store.put_many([record], fenced=True)[0] if store is not None else None

    def policy_of(self, task: Task[Any, Any, Any]) -> Policy:
        if task.policy is not None:
            return task.policy
        return policies.authenticated if self.settings.default_policy == "authenticated" else policies.public

    def reload(self, signed: Principal) -> Principal | None:
        """The signed principal as it is now: rights that it lost are lost, rights that it gained do not count."""
        load = self.hooks.load_principal
        if signed.kind != "user":
            return signed
        if load is None:
            return signed.without_credentials()
        now = load(signed.id)
        return None if now is None else signed.narrowed_to(now)

    def close(self) -> None:
        if "audit" in self.__dict__:
            self.audit.close()
        if "engine" in self.__dict__:
            self.engine.close()
