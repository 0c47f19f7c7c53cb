"""`fn.schedules`: put, look at, pause and run schedules. What `@fn.schedule` says in code is written here, too.

The store is the truth: a worker that starts writes what its code says where that differs, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from fnqueue.clock import to_datetime
from fnqueue.errors import FnQueueError, OptionInvalid, StoreMissing, UnknownSchedule
from fnqueue.runtime import Runtime
from fnqueue.schedule.schedule import Schedule
from fnqueue.scheduling.declared import declare
from fnqueue.scheduling.entry import Entry, Scheduled, first_time, read_entry, to_scheduled
from fnqueue.scheduling.firing import Firing
from fnqueue.state.schedules import Kept, KeptSchedules
from fnqueue.task.task import Task

_TRIES: Final = 8  # each lost race means that somebody else moved it on
Many = list[Scheduled]
Done = list[tuple[str, str]]
Texts = list[str]
Entries = list[Entry]
Change = Callable[[Entry, datetime], Entry]


class ScheduleBook:
    """Of one runtime. All raise StoreMissing where there is no store."""

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime

    # ---------------------------------------------------------------- looking

    def get(self, name: str) -> Scheduled:
        """Raises UnknownSchedule."""
        return to_scheduled(self._entry(name)[1])

    def list(self) -> Many:
        """By name."""
        entries = (read_entry(kept.data) for kept in self._kept().all())
        return [to_scheduled(entry) for entry in entries if entry is not None]

    def entries(self, *, as_code_says: bool = False, prune: bool = False) -> Entries:
        """By name. `as_code_says`: as they would be after a `sync(prune)`, which writes; this writes nothing."""
        found = {kept.name: read_entry(kept.data) for kept in self._kept().all()}
        if as_code_says:
            now = to_datetime(self._runtime().clock.now())
            for schedule in self._runtime().registry.schedules.values():
                found[schedule.name] = self._would_be(found.get(schedule.name), schedule, now)
        gone = {name for name, entry in found.items() if as_code_says and prune and self._is_pruned(entry)}
        return [entry for name, entry in sorted(found.items()) if entry is not None and name not in gone]

    # ---------------------------------------------------------------- changing

    def put(
        self,
        name: str,
        expression: str,
        task: Task[Any, Any, Any],
        *,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Scheduled:
        """Make the schedule `name`, or make it say this; what it said is replaced as a whole.

        `options` as `@fn.schedule` has them. An expression that changed counts from now on; one that did not goes on
        where it was. Raises ExpressionInvalid, OptionInvalid, ArgumentError.
        """
        schedule = declare(name, expression, task, args=args, kwargs=kwargs, **options)
        self._check(schedule)
        return to_scheduled(self._write(schedule))

    def pause(self, name: str) -> Scheduled:
        """No time fires until `resume`."""
        return self._change(name, lambda entry, now: entry.changed(paused=True))

    def resume(self, name: str) -> Scheduled:
        """Its next time is the first from now on: what was missed in the pause stays missed."""
        return self._change(name, _resumed)

    def delete(self, name: str) -> None:
        """Raises UnknownSchedule. What code says is put again when a worker starts."""
        for _ in range(_TRIES):
            kept, _entry = self._entry(name)
            if self._kept().delete(kept):
                return
        raise _busy(name)

    def run_now(self, name: str) -> str:
        """Make its call now, besides its times, paused or not. Returns the call's id. Raises as a `defer` does."""
        kept, entry = self._entry(name)
        runtime = self._runtime()
        now = to_datetime(runtime.clock.now())
        firing = Firing(runtime)
        prepared = firing.prepare(entry.schedule, now, key=firing.key(entry, kept.sealed), step="now")
        for _, error in runtime.transmit([prepared]):
            raise error
        return prepared.id

    def sync(self, *, prune: bool = False) -> Done:
        """Write what the code says. Returns (name, "made", "changed", "removed") of what differed.

        `prune`: remove what code said once and says no more. All of the code's faults are raised at once.
        """
        declared = self._runtime().registry.schedules
        faults = self.faults()
        if faults:
            raise OptionInvalid("\n".join(faults))
        done = [(schedule.name, what) for schedule in declared.values() if (what := self._sync(schedule)) is not None]
        if prune:
            for found in self.list():
                if self._is_pruned(found):
                    self.delete(found.name)
                    done.append((found.name, "removed"))
        return done

    def faults(self) -> Texts:
        """Of what the code says, one sentence each: a task that would not take the arguments, say."""
        return [fault for each in self._runtime().registry.schedules.values() for fault in self._faults(each)]

    # ---------------------------------------------------------------- helpers

    def _sync(self, schedule: Schedule) -> str | None:
        kept = self._kept().get(schedule.name)
        entry = read_entry(kept.data) if kept is not None else None
        if entry is not None and entry.schedule == schedule:
            return None
        self._write(schedule)
        return "made" if kept is None else "changed"

    def _is_pruned(self, found: Entry | Scheduled | None) -> bool:
        """Whether code said it once, and says it no more."""
        if found is None or found.schedule.origin != "code":
            return False
        return found.schedule.name not in self._runtime().registry.schedules

    def _write(self, schedule: Schedule) -> Entry:
        store = self._kept()
        for _ in range(_TRIES):
            now = to_datetime(self._runtime().clock.now())
            kept = store.get(schedule.name)
            before = read_entry(kept.data) if kept is not None else None
            entry = self._would_be(before, schedule, now)
            if store.put(schedule.name, entry.to_json(), due=entry.due, over=kept) or (
                kept is None and store.replace_unreadable(schedule.name, entry.to_json(), due=entry.due)
            ):
                return entry
        raise _busy(schedule.name)

    def _would_be(self, before: Entry | None, schedule: Schedule, now: datetime) -> Entry:
        ring = self._runtime().ring()
        if before is None:
            return Entry.made(schedule, now, key=ring.primary.key_id)
        entry = before.said(schedule, now)
        return entry if ring.get(entry.key) is not None else entry.changed(key=ring.primary.key_id)

    def _change(self, name: str, change: Change) -> Scheduled:
        for _ in range(_TRIES):
            kept, entry = self._entry(name)
            changed = change(entry, to_datetime(self._runtime().clock.now()))
            if self._kept().put(name, changed.to_json(), due=changed.due, over=kept):
                return to_scheduled(changed)
        raise _busy(name)

    def _entry(self, name: str) -> tuple[Kept, Entry]:
        kept = self._kept().get(name)
        entry = read_entry(kept.data) if kept is not None else None
        if kept is None or entry is None:
            raise UnknownSchedule(name, [each.name for each in self._kept().all()])
        return kept, entry

    def _faults(self, schedule: Schedule) -> Texts:
        try:
            self._check(schedule)
        except FnQueueError as error:
            return [f"schedule {schedule.name}: {error}"]
        return []

    def _check(self, schedule: Schedule) -> None:
        """That a worker could run what it will send."""
        firing = Firing(self._runtime())
        firing.arguments(schedule, firing.task(schedule), to_datetime(self._runtime().clock.now()))

    def _kept(self) -> KeptSchedules:
        kept = self._runtime().schedules
        if kept is None:
            raise StoreMissing("a schedule")
        return kept


def _resumed(entry: Entry, now: datetime) -> Entry:
    if not entry.paused:
        return entry
    return entry.changed(paused=False, next=first_time(entry.expression(), now), resumed_at=now)


def _busy(name: str) -> FnQueueError:
    return FnQueueError(f"schedule {name!r} was changed {_TRIES} times meanwhile: try again")
