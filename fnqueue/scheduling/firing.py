"""One time of one schedule becomes one call: checked, authorised and sealed as any other, under an id of its own.

The id is derived from the schedule and the time with one key, so that whoever makes the call again, after a crash,
because two looked at once or because EventBridge ticks as well, makes it with the same id, and it takes effect once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fnqueue.dispatch.calls import Prepared, Tick
from fnqueue.errors import EnvelopeError
from fnqueue.runtime import Runtime
from fnqueue.schedule.due import latest
from fnqueue.schedule.schedule import Schedule
from fnqueue.scheduling.entry import Entry
from fnqueue.security.ids import derived_id
from fnqueue.security.keyring import KeyRecord
from fnqueue.security.principal import Principal, service
from fnqueue.security.records import sealing_key_id
from fnqueue.task.task import Task, with_wire_options


@dataclass(frozen=True)
class Firing:
    runtime: Runtime

    def prepare(
        self,
        schedule: Schedule,
        time: datetime,
        *,
        key: KeyRecord,
        step: str = "tick",
        queue: str | None = None,
        made_at: float | None = None,
    ) -> Prepared:
        """Raises what a `defer` in code would: ArgumentError, PolicyDenied, PolicyUndecided, UnknownTask.

        `queue`: instead of the task's. `made_at`: when it was sent, if that was not now.
        """
        runtime = self.runtime
        task = self.task(schedule) if queue is None else self.task(schedule).using(queue=queue)
        args, kwargs = self.arguments(schedule, task, time)
        expires = task.call_options.expires_seconds or task.options.expires_seconds
        until = latest(schedule, time).timestamp() + expires
        tick = Tick(
            id=self.id(schedule, time, key, step),
            schedule=schedule.name,
            time=time.isoformat(),
            until=until,
            made_at=made_at,
        )
        principal = service(schedule.runs_as) if schedule.runs_as else Principal(id=schedule.name, kind="schedule")
        return runtime.dispatch.prepare(task, args, kwargs, principal, hint="", tick=tick)

    def task(self, schedule: Schedule) -> Task[Any, Any, Any]:
        """Raises UnknownTask."""
        return with_wire_options(self.runtime.registry.get(schedule.task), schedule.options)

    def arguments(
        self, schedule: Schedule, task: Task[Any, Any, Any], time: datetime
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As the function would get them. Raises ArgumentError."""
        return task.binder.decode(*schedule.arguments(time))

    def key(self, entry: Entry, sealed: bytes) -> KeyRecord:
        """What ids of a schedule's calls are derived with: whatever it is sealed with now, always the same key, for as
        long as the ring has it. Raises EnvelopeError."""
        ring = self.runtime.ring()
        key = ring.get(entry.key) or ring.get(sealing_key_id(sealed))
        if key is None:
            raise EnvelopeError("UNKNOWN_KEY", f"the key of schedule {entry.schedule.name!r} is not here")
        return key

    def id(self, schedule: Schedule, time: datetime, key: KeyRecord, step: str = "tick") -> str:
        cause = f"{self.runtime.settings.environment} {schedule.name} {time.isoformat()}"
        return derived_id(int(time.timestamp() * 1000), key, cause, step)
