"""EventBridge Scheduler and its queues on one file, with a clock that we turn and nobody who ticks but us."""

from __future__ import annotations

from typing import Any

from fnqueue.broker.embedded.line import attributes_of
from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.schedule.service import Place, ScheduleService
from fnqueue.schedule.service import members as m

PLACE = Place("us-east-1", "111111111111")
ROLE = "arn:aws:iam::111111111111:role/r"


class World:
    def __init__(self, path: Any = None, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.database = Database(path)
        self.queues = self.make_queues()
        self.service = ScheduleService(self.database, self.queues, clock=self.clock)
        self.notes: list[str] = []

    def make_queues(self) -> QueueService:
        return QueueService(self.database, clock=self.clock)

    def restart(self) -> None:
        """As another process would begin."""
        self.service = ScheduleService(self.database, self.queues, clock=self.clock)
        after: tuple[float, int] | None = (0.0, 0)
        while after is not None:
            after, notes = self.service.resume(after)
            self.notes += notes

    # ------------------------------------------------------------------ queues

    def queue(self, name: str = "orders", **attributes: str) -> str:
        address = Address(*PLACE, name)
        self.queues.create(address, attributes, {})
        return address.arn

    def messages(self, name: str = "orders") -> list[tuple[str, dict[str, str]]]:
        """Bodies and attributes; they are gone then."""
        address, found = Address(*PLACE, name), []
        while (got := self.queues.receive(address, count=10, visibility_seconds=30, attempt=None)).messages:
            found += [(each[-1], attributes_of(each[6])) for each in got.messages]
            self.queues.delete(address, [f"{got.queue.id}.{row}.{receives}" for row, receives, *_ in got.messages])
        return found

    def bodies(self, name: str = "orders") -> list[str]:
        return [body for body, _ in self.messages(name)]

    # ------------------------------------------------------------------ schedules

    def asked(self, expression: str, **given: Any) -> m.PutSchedule:
        target = {"arn": Address(*PLACE, "orders").arn, "role_arn": ROLE, "input": TIME, **given.pop("target", {})}
        window = given.pop("minutes", None)
        flexible = m.FlexibleTimeWindow(mode="FLEXIBLE", minutes=window) if window else m.FlexibleTimeWindow(mode="OFF")
        options = {"name": "s", "flexible_time_window": flexible, **given}
        return m.PutSchedule(schedule_expression=expression, target=m.Target(**target), **options)

    def make(self, expression: str = "rate(1 hour)", **given: Any) -> str:
        return self.service.create(PLACE, self.asked(expression, **given))

    def update(self, expression: str = "rate(1 hour)", **given: Any) -> str:
        return self.service.update(PLACE, self.asked(expression, **given))

    def names(self) -> list[str]:
        return [row.name for row in self.service.page(PLACE, m.ListSchedules()).found]

    def tick(self) -> float | None:
        """Until nothing is due; when something is next."""
        while True:
            due_at, notes = self.service.tick()
            self.notes += notes
            if due_at is None or due_at > self.clock.now():
                return due_at

    def turn(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        self.tick()

    def go_to_next(self) -> bool:
        """To the moment of the next fire. False: there is none."""
        due_at = self.tick()
        if due_at is None:
            return False
        self.clock.jump(due_at - self.clock.now())
        self.tick()
        return True


TIME = "<aws.scheduler.scheduled-time>"
