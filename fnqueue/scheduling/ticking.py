"""What falls due: any number of these look, and none leads.

A schedule that is due is claimed with a lease, the calls of its times are sent under derived ids, then its next time
is written. Killed between the two, another does it again with the same ids, and the record of each call lets it take
effect once. A tick costs one query per shard, however many schedules there are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fnqueue.clock import to_datetime
from fnqueue.errors import ArgumentError, EnvelopeError, FnQueueError, OptionInvalid, PolicyDenied, StoreMissing
from fnqueue.events import EngineTrouble, ScheduleFired, ScheduleSkipped
from fnqueue.runtime import Runtime
from fnqueue.schedule.due import decide
from fnqueue.scheduling.entry import Entry, read_entry
from fnqueue.scheduling.firing import Firing
from fnqueue.scheduling.overlap import runs_still
from fnqueue.state.schedules import Kept

#: Half of GRACE_SECONDS: a time that one failed, or died with, is tried again before it counts as missed.
LEASE_SECONDS: Final = 30.0
#: Schedules that one tick looks at; the next goes on. Between two, parked messages are sent.
MOST_AT_ONCE: Final = 1000
#: Such a fire cannot be made good by trying again: its time is given up, and said to be.
_FINAL: Final = (ArgumentError, PolicyDenied, OptionInvalid)
_log = logging.getLogger("fnqueue.schedule")


class ScheduleTicker:
    """One thread at a time. Raises StoreMissing where there is no store."""

    def __init__(self, runtime: Runtime) -> None:
        if runtime.schedules is None:
            raise StoreMissing("a schedule")
        self._runtime, self._kept = runtime, runtime.schedules
        self._firing = Firing(runtime)

    def tick(self) -> int:
        """Fire what is due; how many calls were sent. Raises a store's errors."""
        fired = looked_at = 0
        for record in self._kept.due(self._runtime.clock.now()):
            kept = self._kept.open(record)
            entry = read_entry(kept.data) if kept is not None else None
            # What is of another deploy, or another application on this store, is left to whoever knows its task.
            if kept is None or entry is None or self._runtime.registry.find(entry.schedule.task) is None:
                continue
            fired += self._look_at(kept, entry)
            looked_at += 1  # what is left to others is not counted: it stays due, and would hide what is ours
            if looked_at == MOST_AT_ONCE:
                break
        return fired

    def _look_at(self, kept: Kept, entry: Entry) -> int:
        now = to_datetime(self._runtime.clock.now())
        due = entry.due
        if due is None or due > now.timestamp() + 0.001:
            # Its place in the index is not sealed: whoever can write to the store can have it looked at too soon.
            self._kept.put(kept.name, kept.data, due=due, over=kept)
            return 0
        lapses_at = self._runtime.clock.now() + LEASE_SECONDS
        claimed = self._kept.claim(kept, lease_seconds=LEASE_SECONDS)
        if claimed is None:
            return 0
        try:
            return self._fire(claimed, entry, now, lapses_at)
        except FnQueueError as error:
            # The claim lapses, and somebody tries again, with the same ids; in the end the misfire policy decides.
            self._trouble(entry, error)
            return 0
        except Exception as error:
            _log.exception("schedule %s failed to fire", kept.name)
            self._trouble(entry, error)
            return 0

    def _fire(self, claimed: Kept, entry: Entry, now: datetime, lapses_at: float) -> int:
        assert entry.next is not None
        schedule = entry.schedule
        due = decide(schedule, entry.expression(), since=entry.next, now=now)
        if due.missed is not None:
            self._skipped(entry, due.missed, f"missed (misfire={schedule.misfire!r})")
        sent: list[tuple[datetime, str]] = []
        last_id = entry.last_id
        for time in due.times:
            if self._runtime.clock.now() > lapses_at:
                return len(sent)  # stopped meanwhile, for days perhaps: another has seen to all of it
            task = self._firing.task(schedule)
            if schedule.overlap == "skip" and runs_still(self._runtime, task, schedule, last_id, now):
                self._skipped(entry, time, "the call of the time before it has not ended (overlap='skip')")
                continue
            call_id = self._send(claimed, entry, time, now)
            if call_id is not None:
                sent.append((time, call_id))
                last_id = call_id
        self._advance(claimed, entry, due.next, sent)
        return len(sent)

    def _send(self, claimed: Kept, entry: Entry, time: datetime, now: datetime) -> str | None:
        """The call's id; None: it is refused for good. Raises what trying again may mend."""
        try:
            key = self._firing.key(entry, claimed.sealed)
            # As of when it was decided on: a later copy must have expired before the record of the first has.
            prepared = self._firing.prepare(entry.schedule, time, key=key, made_at=now.timestamp())
        except (*_FINAL, EnvelopeError) as error:
            self._skipped(entry, time, str(error))
            return None
        for _, failure in self._runtime.transmit([prepared]):
            raise failure
        self._runtime.events.publish(
            ScheduleFired(
                schedule=entry.schedule.name,
                task=entry.schedule.task,
                time=time.isoformat(),
                id=prepared.id,
                late_seconds=(now - time).total_seconds(),
            )
        )
        return prepared.id

    def _advance(
        self, claimed: Kept, entry: Entry, following: datetime | None, sent: Sequence[tuple[datetime, str]]
    ) -> None:
        """Refused where it was changed or claimed anew meanwhile: then that stands, and the ids absorb a repetition."""
        if following is None and entry.schedule.delete_after_completion:
            self._kept.delete(claimed)
            return
        last, last_id = sent[-1] if sent else (entry.last, entry.last_id)
        changed = entry.changed(next=following, last=last, last_id=last_id)
        self._kept.put(claimed.name, changed.to_json(), due=changed.due, over=claimed)

    def _skipped(self, entry: Entry, time: datetime, reason: str) -> None:
        schedule = entry.schedule
        self._runtime.events.publish(
            ScheduleSkipped(schedule=schedule.name, task=schedule.task, time=time.isoformat(), reason=reason)
        )

    def _trouble(self, entry: Entry, error: Exception) -> None:
        self._runtime.events.publish(
            EngineTrouble(
                what=f"schedule {entry.schedule.name}",
                queue=None,
                error=str(error) or type(error).__name__,
                retry_seconds=LEASE_SECONDS,
            )
        )
