"""One time of one schedule becomes one call: checked, authorised and sealed as any other, under an id of its own.

The id is derived from the schedule and the time with the key that the schedule is sealed with, so that whoever makes
the call again, after a crash or because two looked at once, makes it with the same id, and it takes effect once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fnqueue.dispatch import Prepared, Tick
from fnqueue.errors import EnvelopeError
from fnqueue.runtime import Runtime
from fnqueue.schedule.schedule import Schedule
from fnqueue.security.ids import derived_id
from fnqueue.security.principal import Principal, service
from fnqueue.security.records import sealing_key_id
from fnqueue.task.task import Task, with_wire_options


@dataclass(frozen=True)
class Firing:
    runtime: Runtime

    def prepare(self, schedule: Schedule, time: datetime, *, sealed: bytes, step: str = "tick") -> Prepared:
        """Raises what a `defer` in code would: ArgumentError, PolicyDenied, PolicyUndecided, UnknownTask."""
        runtime = self.runtime
        task = self.task(schedule)
        args, kwargs = self.arguments(schedule, task, time)
        tick = Tick(self._id(schedule, time, sealed, step), schedule.name, time.isoformat())
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

    def _id(self, schedule: Schedule, time: datetime, sealed: bytes, step: str) -> str:
        key = self.runtime.ring().get(sealing_key_id(sealed))
        if key is None:
            raise EnvelopeError("UNKNOWN_KEY", f"the key that schedule {schedule.name!r} is sealed with is not here")
        cause = f"{self.runtime.settings.environment} {schedule.name} {time.isoformat()}"
        return derived_id(int(time.timestamp() * 1000), key, cause, step)
