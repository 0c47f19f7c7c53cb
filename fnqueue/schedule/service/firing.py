"""Fires what is due: sends, counts on, tries again, gives up. One step is one transaction with what it sends.

The queues lie in the same file, so a message and the mark that its time has fired are committed together: a crash
between the two cannot be, and of two processes on one file the second finds the time marked. That is the claim; a row
of its own for each (schedule, time) would say nothing more [N3].
A missed time [N1]: after a start, recurring schedules skip what is more than a minute old, and one-time ones fire.
A work may be done twice, or be undone with what it is part of: so nothing of it is kept here, and who calls holds how
far a resumption has come.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from fnqueue.broker.embedded.service import QueueService
from fnqueue.broker.embedded.service.address import of_arn
from fnqueue.clock import Clock
from fnqueue.database import Connection, Database
from fnqueue.errors import BrokerRefused, DatabaseError
from fnqueue.schedule.service import rows, targets, times
from fnqueue.schedule.service.invocation import Failure, Invocation, again_at, dead_letter, payload
from fnqueue.schedule.service.rows import Row

#: So long nobody else is served: some 30 ms.
_TRIP: Final = 50
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Invocation).decode


class Ticked(NamedTuple):
    """`due_at`: when there is something to do next, unix seconds; it may be past. `notes`: what to tell the log."""

    due_at: float | None
    notes: list[str]


class Resumed(NamedTuple):
    """`after`: where the next trip begins; None: that was the last."""

    after: tuple[float, int] | None
    notes: list[str]


class Firing:
    """On `database`, in which `queues` lie too."""

    def __init__(self, database: Database, queues: QueueService, clock: Clock) -> None:
        self._database, self._queues, self._clock = database, queues, clock
        self._started_at = clock.now()
        self._notes: list[str] = []

    def resume(self, after: tuple[float, int]) -> Resumed:
        """One trip over what came due before the start. Raises DatabaseError."""

        def work(connection: Connection) -> Resumed:
            self._notes = []
            found = rows.overdue(connection, self._started_at - times.GRACE_SECONDS, after, _TRIP)
            for row in found:
                self._skip(connection, row)
            last = found[-1] if len(found) == _TRIP else None
            return Resumed(None if last is None else (last.due_at or 0.0, last.id), self._notes)

        return self._database.write(work)

    def tick(self) -> Ticked:
        """One trip, in the order of the moments. Raises DatabaseError."""

        def work(connection: Connection) -> Ticked:
            self._notes = []
            for _ in range(_TRIP):
                found = rows.earliest(connection)
                if found is None or found.due_at > self._clock.now():
                    return Ticked(None if found is None else found.due_at, self._notes)
                self._do(connection, found)
            return Ticked(self._clock.now(), self._notes)

        return self._database.write(work)

    def _do(self, connection: Connection, found: rows.Earliest) -> None:
        try:
            self._database.write(self._retry(found) if found.is_retry else self._fire(found))
        except DatabaseError:
            raise
        except Exception as error:  # the others go on; this one would come again with each tick
            self._notes.append(f"{_what(connection, found)} stopped, please report it: {type(error).__name__}: {error}")
            if found.is_retry:
                rows.take_retry(connection, found.id)
            elif (row := rows.find_id(connection, found.id)) is not None:
                rows.skip(connection, row, None, None)

    # ------------------------------------------------------------------ a fire, and a try again

    def _fire(self, found: rows.Earliest) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            row = rows.find_id(connection, found.id)
            assert row is not None
            assert row.next_time is not None
            assert row.schedule.target is not None
            expression = times.expression_of(row.schedule, row.anchor)
            following = times.following(expression, row.next_time)
            due_at = None if following is None else times.due_at(row.arn, row.schedule, following)
            rows.fired(connection, row, following, due_at)
            invocation = Invocation(
                region=row.place.region,
                account=row.place.account,
                arn=row.arn,
                time=row.next_time,
                begun_at=found.due_at,
                target=row.schedule.target,
                completes=following is None and times.completes(row.schedule, expression),
            )
            self._attempt(connection, row.id, invocation, found.due_at)

        return work

    def _retry(self, found: rows.Earliest) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            schedule, text = rows.take_retry(connection, found.id)
            self._attempt(connection, schedule, _decode(text), found.due_at)

        return work

    def _attempt(self, connection: Connection, schedule: int, invocation: Invocation, at: float) -> None:
        """`at`: when it was to be; a tick that is late makes no pause longer."""
        execution_id = secrets.token_hex(8)  # [G13]: of each try
        body = payload(invocation, execution_id, str(uuid.uuid4()))
        failure = self._send(invocation, body)
        invocation.attempts += 1
        if failure is not None:
            again = again_at(invocation, at) if failure.is_passing else None
            if isinstance(again, float):
                rows.put_retry(connection, schedule, again, _encode(invocation))
                return
            self._give_up(invocation, body, failure, again, execution_id)
        if invocation.completes and not rows.is_waiting(connection, schedule):
            rows.remove(connection, schedule)

    def _send(self, invocation: Invocation, body: str) -> Failure | None:
        try:
            self._queues.send(*targets.message(invocation.place, invocation.target, body))
        except targets.NotServed as error:
            return Failure("TargetNotServed", str(error))
        except BrokerRefused as error:
            return Failure(error.code, error.text)
        except DatabaseError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            self._notes.append(f"{invocation.arn} could not be sent, please report it: {told}")
            return Failure("InternalFailure", "The emulator failed; its log says where.")
        return None

    def _give_up(
        self, invocation: Invocation, body: str, failure: Failure, exhausted: str | None, execution_id: str
    ) -> None:
        told = f"{invocation.arn} at {times.written(invocation.time)} was not sent: {failure.code}: {failure.text}"
        dead = invocation.target.dead_letter_config
        queue = of_arn(dead.arn) if dead is not None and dead.arn is not None else None
        if queue is None:
            self._notes.append(f"{told} (it has no dead-letter queue)")
            return
        try:
            bytes_max = int(self._queues.attributes(queue, ["MaximumMessageSize"])["MaximumMessageSize"])
            self._queues.send(queue, dead_letter(invocation, body, failure, exhausted, execution_id, bytes_max))
        except BrokerRefused as error:
            self._notes.append(f"{told}; and not to its dead-letter queue {queue.name}: {error}")
        else:
            self._notes.append(f"{told}; it is in its dead-letter queue {queue.name}")

    # ------------------------------------------------------------------ after a start

    def _skip(self, connection: Connection, row: Row) -> None:
        assert row.next_time is not None
        try:
            expression = times.expression_of(row.schedule, row.anchor)
        except BrokerRefused:  # a zone that this machine does not know: told when it fires
            return
        time = times.resumed(row.schedule, expression, row.next_time, self._started_at)
        if time == row.next_time:
            return
        self._notes.append(f"{row.arn}: nobody was there at {times.written(row.next_time)}, so it was skipped")
        if time is None and times.completes(row.schedule, expression):
            rows.remove(connection, row.id)
            return
        rows.skip(connection, row, time, None if time is None else times.due_at(row.arn, row.schedule, time))


def _what(connection: Connection, found: rows.Earliest) -> str:
    if found.is_retry:
        return "a try again"
    row = rows.find_id(connection, found.id)
    return f"schedule {found.id}" if row is None else row.arn
