"""A queue that refuses for a while: when it is tried again, and when it is given up."""

from __future__ import annotations

from typing import Any

import pytest

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.entries import Outgoing
from fnqueue.broker.embedded.service.service import Sent
from fnqueue.errors import BrokerRefused
from fnqueue.schedule.service import members as m
from tests.emulator.clients import row
from tests.schedule.service.world import PLACE, World

COUNTED = "<aws.scheduler.attempt-number> <aws.scheduler.scheduled-time>"


class Busy(QueueService):
    """As SQS is when it throttles: `times` sends to `orders` are refused, the others get through."""

    times = 0
    error: Exception = BrokerRefused("RequestThrottled", "Rate exceeded")

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.tried: list[float] = []

    def send(self, address: Address, message: Outgoing) -> Sent:
        if address.name == "orders":
            self.tried.append(self._clock.now())
            if len(self.tried) <= self.times:
                raise self.error
        return super().send(address, message)


class BusyWorld(World):
    queues: Busy

    def make_queues(self) -> QueueService:
        return Busy(self.database, clock=self.clock)


@pytest.fixture
def world() -> BusyWorld:
    made = BusyWorld()
    made.queue()
    made.queue("dead")
    return made


def run(world: World, seconds: int) -> None:
    until = world.clock.now() + seconds
    while (due_at := world.tick()) is not None and due_at <= until:
        world.clock.jump(due_at - world.clock.now())
    world.clock.jump(until - world.clock.now())


def target(**policy: int) -> dict[str, Any]:
    dead = m.DeadLetterConfig(arn=Address(*PLACE, "dead").arn)
    return {"input": COUNTED, "dead_letter_config": dead, "retry_policy": m.RetryPolicy(**policy)}


@row("G8", "G9", "G12", "G13")
def test_a_throttled_one_is_tried_again_with_growing_pauses_and_counts_its_attempts(world: BusyWorld) -> None:
    world.queues.times = 4
    world.make("at(2026-01-01T00:00:00)", target=target())
    run(world, 3600)
    begin = world.queues.tried[0]
    assert [each - begin for each in world.queues.tried] == [0, 1, 3, 7, 15]
    assert world.bodies() == ["5 2026-01-01T00:00:00Z"]
    assert world.messages("dead") == []


@row("G8", "G9", "G11")
@pytest.mark.parametrize("most", [0, 2])
def test_it_is_given_up_after_its_attempts(world: BusyWorld, most: int) -> None:
    world.queues.times = 99
    world.make("at(2026-01-01T00:00:00)", target=target(attempts=most))
    run(world, 86_400)
    assert len(world.queues.tried) == most + 1
    ((body, attributes),) = world.messages("dead")
    assert body == f"{most + 1} 2026-01-01T00:00:00Z"
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert attributes["RETRY_ATTEMPTS"] == str(most)
    assert attributes["ERROR_CODE"] == "RequestThrottled"


@row("G8", "G11")
def test_it_is_given_up_at_its_age(world: BusyWorld) -> None:
    world.queues.times = 99
    world.make("at(2026-01-01T00:00:00)", target=target(age=60))
    run(world, 86_400)
    assert world.queues.tried[-1] - world.queues.tried[0] <= 60
    ((_, attributes),) = world.messages("dead")
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"


def test_its_age_is_counted_from_its_moment_in_a_flexible_window(world: BusyWorld) -> None:
    world.queues.times = 3
    world.make("at(2026-01-01T00:00:00)", minutes=1440, target=target(age=60))
    run(world, 86_400)
    assert world.bodies() == ["4 2026-01-01T00:00:00Z"]


@row("G8")
def test_the_default_policy_ends_after_a_day(world: BusyWorld) -> None:
    world.queues.times = 999
    world.make("at(2026-01-01T00:00:00)", target=target())
    run(world, 2 * 86_400)
    assert 80_000 < world.queues.tried[-1] - world.queues.tried[0] <= 86_400
    assert 170 <= len(world.queues.tried) <= 186
    assert len(world.messages("dead")) == 1


@row("S10")
def test_what_deletes_itself_waits_for_the_end_of_its_tries(world: BusyWorld) -> None:
    world.queues.times = 2
    world.make("at(2026-01-01T00:00:00)", action_after_completion="DELETE", target=target())
    world.tick()
    assert world.names() == ["s"]
    run(world, 10)
    assert world.names() == []
    assert world.bodies() == ["3 2026-01-01T00:00:00Z"]


def test_what_deletes_itself_stays_where_it_was_changed_to_fire_again_meanwhile(world: BusyWorld) -> None:
    world.queues.times = 2
    world.make("at(2026-01-01T00:00:00)", action_after_completion="DELETE", target=target())
    world.tick()
    world.update("at(2026-01-01T09:00:00)", action_after_completion="DELETE", target=target())
    run(world, 3600)
    assert world.bodies() == ["3 2026-01-01T00:00:00Z"]
    assert world.names() == ["s"]
    run(world, 9 * 3600)
    assert world.bodies() == ["1 2026-01-01T09:00:00Z"]
    assert world.names() == []


def test_tries_outlive_a_restart_and_a_change_and_end_with_the_schedule(world: BusyWorld) -> None:
    world.queues.times = 3
    world.make("at(2026-01-01T00:00:00)", target=target())
    world.tick()
    world.restart()
    world.update("at(2026-01-01T09:00:00)", target={"input": "other"})
    run(world, 60)
    assert world.bodies() == ["4 2026-01-01T00:00:00Z"]
    world.queues.times = 99
    world.make("at(2026-01-01T00:01:00)", name="t", target=target())
    world.tick()
    world.service.delete(PLACE, m.OfSchedule(name="t"))
    tried = len(world.queues.tried)
    run(world, 3600)
    assert len(world.queues.tried) == tried


def test_a_mistake_of_ours_is_tried_again_and_told(world: BusyWorld) -> None:
    world.queues.times, world.queues.error = 1, RuntimeError("a mistake")
    world.make("at(2026-01-01T00:00:00)", target=target())
    run(world, 10)
    assert world.bodies() == ["2 2026-01-01T00:00:00Z"]
    assert any("RuntimeError" in note for note in world.notes)
