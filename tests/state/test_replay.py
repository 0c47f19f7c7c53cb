from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fnqueue import quotas
from fnqueue.clock import ManualClock
from fnqueue.state.replay import SKEW_SECONDS, Done, Elsewhere, Replay, Taken
from fnqueue.store.base import Record, Store

ID = "01aaaaaaaaaaaaaaaaaaaaaaaa"
LEASE = 30


@pytest.fixture
def replay(store: Store, clock: ManualClock) -> Replay:
    return Replay(store, clock)


@pytest.fixture
def take(replay: Replay, clock: ManualClock) -> Callable[..., Taken | Done | Elsewhere]:
    until = clock.now() + 4 * 86_400

    def ask(fence: tuple[int, int] = (0, 1), *, until: float = until) -> Taken | Done | Elsewhere:
        return replay.take(ID, fence=fence, lease_seconds=LEASE, until=until)

    return ask


def held(answer: Taken | Done | Elsewhere) -> Taken:
    assert isinstance(answer, Taken)
    return answer


def write(store: Store, record: Record) -> bool:
    return store.put_many([record], fenced=True) != [None]


def test_the_first_to_come_may_run(take: Callable[..., Any], clock: ManualClock) -> None:
    taken = held(take())
    assert (taken.id, taken.run, taken.lease_until, taken.delivery) == (ID, 1, clock.now() + LEASE, (0, 1))


def test_the_first_take_costs_one_write(take: Callable[..., Any], store: Store) -> None:
    take()
    assert store.get("once", ID).version == 1  # type: ignore[union-attr]


def test_an_engine_that_asks_twice_does_not_lose_its_own_take(store: Store, clock: ManualClock) -> None:
    class Twice:
        """As boto3 after a time-out: the write is there, and its repetition is refused."""

        def put(self, record: Record, *, if_version: int | None = None) -> Record:
            store.put(record, if_version=if_version)
            return store.put(record, if_version=if_version)

        def get(self, kind: str, id: str) -> Record | None:
            return store.get(kind, id)

    replay = Replay(Twice(), clock)  # type: ignore[arg-type]
    assert held(replay.take(ID, fence=(0, 1), lease_seconds=LEASE, until=clock.now() + 99)).run == 1
    assert isinstance(replay.take(ID, fence=(0, 2), lease_seconds=LEASE, until=clock.now() + 99), Elsewhere)


def test_while_it_runs_the_others_learn_when_to_ask_again(take: Callable[..., Any], clock: ManualClock) -> None:
    take()
    assert take((0, 2)) == Elsewhere(LEASE + SKEW_SECONDS)
    clock.advance(seconds=20)
    assert take((0, 1)) == Elsewhere(LEASE + SKEW_SECONDS - 20)  # a copy may bear the same fence


def test_of_many_that_come_at_once_one_may_run(
    replay: Replay, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    for n in range(10):
        answers = race(
            [
                lambda n=n: replay.take(f"id{n}", fence=(0, 1), lease_seconds=LEASE, until=clock.now() + 99)
                for _ in range(8)
            ]
        )
        assert sum(isinstance(answer, Taken) for answer in answers) == 1
        assert sum(isinstance(answer, Elsewhere) for answer in answers) == 7


def test_what_is_done_is_never_taken_again(take: Callable[..., Any], replay: Replay, store: Store) -> None:
    assert write(store, replay.done_record(held(take())))
    assert take((0, 2)) == take((5, 9)) == Done(dead=False)


def test_what_is_dead_is_never_taken_again(take: Callable[..., Any], replay: Replay, store: Store) -> None:
    assert write(store, replay.dead_record(held(take())))
    assert take((0, 2)) == Done(dead=True)


def test_what_failed_is_taken_again_as_the_next_run(take: Callable[..., Any], replay: Replay, store: Store) -> None:
    for run in (1, 2, 3):
        taken = held(take((0, run)))
        assert taken.run == run
        assert write(store, replay.failed_record(taken))


def test_a_copy_does_not_shorten_the_backoff(
    take: Callable[..., Any], replay: Replay, store: Store, clock: ManualClock
) -> None:
    write(store, replay.failed_record(held(take()), retry_at=clock.now() + 60))
    assert take() == Elsewhere(60 - SKEW_SECONDS)
    clock.advance(seconds=60)
    assert held(take((0, 2))).run == 2


def test_what_was_given_back_is_taken_at_once(take: Callable[..., Any], replay: Replay, store: Store) -> None:
    write(store, replay.released_record(held(take())))
    assert held(take((0, 2))).run == 2


def test_of_many_that_retry_at_once_one_may_run(
    take: Callable[..., Any], replay: Replay, store: Store, race: Callable[[Any], list[Any]]
) -> None:
    taken = held(take())
    for run in range(2, 12):
        write(store, replay.released_record(taken))
        (taken,) = [answer for answer in race([take] * 6) if isinstance(answer, Taken)]
        assert taken.run == run


def test_a_holder_is_replaced_only_when_its_lease_has_run_out(take: Callable[..., Any], clock: ManualClock) -> None:
    take()
    clock.advance(seconds=LEASE + SKEW_SECONDS - 0.001)
    assert isinstance(take((0, 2)), Elsewhere)
    clock.advance(seconds=0.001)
    assert held(take((0, 2))).run == 2


def test_of_many_that_replace_a_lost_holder_one_may_run(
    take: Callable[..., Any], clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    take()
    clock.advance(seconds=LEASE + SKEW_SECONDS)
    answers = race([take] * 8)
    assert [answer.run for answer in answers if isinstance(answer, Taken)] == [2]


@pytest.mark.parametrize("end", ["done_record", "dead_record", "failed_record"])
def test_who_was_replaced_can_write_no_end(
    take: Callable[..., Any], replay: Replay, store: Store, clock: ManualClock, end: str
) -> None:
    late = held(take((0, 1)))
    clock.advance(seconds=LEASE + SKEW_SECONDS)
    twin = held(take((0, 1)))  # a copy: the delivery's fence is the same
    assert not write(store, getattr(replay, end)(late))
    assert isinstance(take(), Elsewhere)
    assert write(store, replay.done_record(twin))
    assert take() == Done()


def test_who_was_late_but_not_replaced_may_end_it(
    take: Callable[..., Any], replay: Replay, store: Store, clock: ManualClock
) -> None:
    late = held(take())
    clock.advance(hours=1)
    assert write(store, replay.done_record(late))
    assert take((0, 2)) == Done()


def test_of_a_late_end_and_a_new_holder_one_wins(
    take: Callable[..., Any], replay: Replay, store: Store, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    late = held(take())
    clock.advance(seconds=LEASE + SKEW_SECONDS)
    ended, taken = race([lambda: write(store, replay.done_record(late)), lambda: take((0, 2))])
    assert ended != isinstance(taken, Taken)


def test_a_lease_is_renewed_while_it_is_held(take: Callable[..., Any], replay: Replay, clock: ManualClock) -> None:
    taken = held(take())
    for _ in range(10):
        clock.advance(seconds=LEASE / 2)
        (renewed,) = replay.renew([taken], lease_seconds=LEASE)
        assert renewed is not None
        assert (renewed.run, renewed.lease_until) == (1, clock.now() + LEASE)
        assert isinstance(take((0, 2)), Elsewhere)


def test_who_was_replaced_cannot_renew(take: Callable[..., Any], replay: Replay, clock: ManualClock) -> None:
    late = held(take())
    clock.advance(seconds=LEASE + SKEW_SECONDS)
    twin = held(take((0, 2)))
    other = held(replay.take("other", fence=(0, 1), lease_seconds=LEASE, until=clock.now() + 99))
    renewed = replay.renew([late, twin, other], lease_seconds=LEASE)
    assert [each and (each.id, each.run) for each in renewed] == [None, (ID, 2), ("other", 1)]


@pytest.mark.parametrize("end", ["done_record", "dead_record", "failed_record", "released_record"])
def test_a_heartbeat_that_is_late_by_a_moment_revives_nothing(
    take: Callable[..., Any], replay: Replay, store: Store, end: str
) -> None:
    taken = held(take())
    write(store, getattr(replay, end)(taken))
    assert replay.renew([taken], lease_seconds=LEASE) == [None]
    assert not isinstance(take((0, 2)), Elsewhere)


def test_the_record_outlives_every_envelope_that_could_open(
    take: Callable[..., Any], replay: Replay, store: Store, clock: ManualClock
) -> None:
    until = clock.now() + 900
    write(store, replay.done_record(held(take(until=until))))
    clock.advance(seconds=900 + quotas.FUTURE_SKEW_SECONDS - 1)
    assert take((0, 2), until=until) == Done()
    clock.advance(seconds=1)
    assert store.get("once", ID) is None


def test_at_most_one_success_is_recorded_however_many_die(
    replay: Replay, store: Store, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    """Holders vanish, come late and race; the clock runs on. Whoever writes `done` is counted."""
    until = clock.now() + 86_400
    late: list[Taken] = []
    successes = 0
    for turn in range(30):
        answers = race([lambda: replay.take(ID, fence=(0, 1), lease_seconds=LEASE, until=until)] * 3)
        taken = [answer for answer in answers if isinstance(answer, Taken)]
        assert len(taken) <= 1
        if turn < 20:
            late += taken  # dies, or is stopped; may try to end its run later
        ends = [*late[-3:], *taken] if turn >= 20 else late[-3:-1]
        successes += sum(race([lambda end=end: write(store, replay.done_record(end)) for end in ends] or [bool]))
        clock.advance(seconds=LEASE + SKEW_SECONDS)
    assert successes == 1
