from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fnqueue import quotas
from fnqueue.clock import ManualClock
from fnqueue.state.parked import KIND, LATE_SECONDS, PART_BYTES, PART_KIND, SENT_SECONDS, Claimed, Parked
from fnqueue.store.base import Record, Store

ID = "01aaaaaaaaaaaaaaaaaaaaaaaa"
HOUR = 3600


@pytest.fixture
def parked(store: Store, clock: ManualClock) -> Parked:
    return Parked(store, clock)


@pytest.fixture
def park(parked: Parked, clock: ManualClock) -> Callable[..., None]:
    def put(id: str = ID, *, seconds: float = HOUR, **message: Any) -> None:
        due = clock.now() + seconds
        parked.park(id, **{"queue": "billing", "body": "fq1.body", "due": due, "until": due + 60, **message})

    return put


def claim_all(parked: Parked, clock: ManualClock) -> list[Claimed]:
    return [claimed for record in parked.due(clock.now()) if (claimed := parked.claim(record))]


def test_a_message_is_due_from_its_moment_on(parked: Parked, park: Callable[..., None], clock: ManualClock) -> None:
    park()
    clock.advance(seconds=HOUR - 0.01)
    assert parked.due(clock.now()) == []
    clock.advance(seconds=0.01)
    assert [record.id for record in parked.due(clock.now())] == [f"{ID}.0"]


def test_a_claimed_message_is_what_was_parked(parked: Parked, park: Callable[..., None], clock: ManualClock) -> None:
    due = clock.now()
    park(seconds=0, queue="billing.fifo", body="fq1.x", group="g", dedupe="d", generation=3)
    park("bare", seconds=0)
    (full, bare) = sorted(claim_all(parked, clock), key=lambda each: each.id)
    assert (full.id, full.queue, full.body, full.group) == (ID, "billing.fifo", "fq1.x", "g")
    assert (full.dedupe, full.generation, full.due) == ("d", 3, due)
    assert (bare.group, bare.dedupe, bare.generation) == (None, None, 0)


def test_the_most_overdue_come_first(parked: Parked, park: Callable[..., None], clock: ManualClock) -> None:
    order = [(n * 7) % 40 for n in range(40)]
    for n in order:
        park(f"{n:02d}", seconds=n)
    clock.advance(seconds=HOUR)
    assert [record.id for record in parked.due(clock.now())] == [f"{n:02d}.0" for n in range(40)]
    assert [record.id for record in parked.due(clock.now(), 5)] == [f"{n:02d}.0" for n in range(5)]


def test_the_next_due_moment_is_known(parked: Parked, park: Callable[..., None], clock: ManualClock) -> None:
    assert parked.next_due() is None
    start = clock.now()
    for n in range(10):
        park(f"{n}", seconds=100 + n)
    assert parked.next_due() == start + 100
    clock.advance(seconds=100)
    claim_all(parked, clock)
    assert parked.next_due() == start + 101


def test_a_message_is_claimed_by_one_ticker(
    parked: Parked, park: Callable[..., None], clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    for n in range(12):
        park(f"{n}", seconds=0)

    def tick() -> list[str]:
        return [claimed.id for claimed in claim_all(parked, clock)]

    claimed = [id for ids in race([tick] * 5) for id in ids]
    assert sorted(claimed) == sorted(f"{n}" for n in range(12))
    assert parked.due(clock.now()) == []


def test_what_a_dead_ticker_claimed_is_due_again(parked: Parked, park: Callable[..., None], clock: ManualClock) -> None:
    park(seconds=0)
    (record,) = parked.due(clock.now())
    assert parked.claim(record, lease_seconds=30) is not None
    clock.advance(seconds=29)
    assert parked.due(clock.now()) == []
    clock.advance(seconds=1)
    (again,) = claim_all(parked, clock)
    assert (again.id, again.body) == (ID, "fq1.body")


def test_what_is_sent_is_never_due_again(parked: Parked, park: Callable[..., None], clock: ManualClock) -> None:
    park(seconds=0)
    park("other", seconds=0)
    parked.sent(*claim_all(parked, clock))
    clock.advance(days=30)
    assert parked.due(clock.now()) == []
    assert parked.next_due() is None


def test_parking_twice_is_parking_once(
    parked: Parked, park: Callable[..., None], store: Store, clock: ManualClock
) -> None:
    park(seconds=5)
    park(seconds=5)
    clock.advance(seconds=5)
    assert len(claim_all(parked, clock)) == 1


def test_a_message_that_comes_back_after_it_was_sent_is_not_parked_again(
    parked: Parked, park: Callable[..., None], store: Store, clock: ManualClock
) -> None:
    park(seconds=0)
    parked.sent(*claim_all(parked, clock))
    clock.advance(seconds=SENT_SECONDS - 1)
    due = clock.now()
    records = parked.records(ID, queue="billing", body="fq1.body", due=due, until=due + 60)
    assert store.put_many(records, fenced=True) == [None]
    assert parked.due(clock.now()) == []


def test_the_next_generation_is_a_message_of_its_own(
    parked: Parked, park: Callable[..., None], clock: ManualClock
) -> None:
    park(seconds=0)
    parked.sent(*claim_all(parked, clock))
    park(seconds=0, generation=1)
    assert [claimed.generation for claimed in claim_all(parked, clock)] == [1]


def test_a_claim_that_lapsed_may_still_say_that_it_sent(
    parked: Parked, park: Callable[..., None], clock: ManualClock
) -> None:
    park(seconds=0)
    (slow,) = claim_all(parked, clock)
    clock.advance(minutes=5)
    (twin,) = claim_all(parked, clock)
    parked.sent(slow)
    parked.sent(twin)
    clock.advance(minutes=5)
    assert parked.due(clock.now()) == []


@pytest.mark.parametrize(
    "size", [1, PART_BYTES, PART_BYTES + 1, quotas.FIELD_BYTES_MAX + 1, 3 * PART_BYTES, quotas.BODY_BYTES_MAX]
)
def test_every_body_that_a_queue_takes_can_be_parked(
    parked: Parked, park: Callable[..., None], store: Store, clock: ManualClock, size: int
) -> None:
    body = "".join(chr(33 + n % 90) for n in range(size))
    park(seconds=0, body=body)
    (claimed,) = claim_all(parked, clock)
    assert claimed.body == body
    parked.sent(claimed)
    assert store.get_many(PART_KIND, [f"{ID}.0.{n}" for n in range(10)]) == {}


@pytest.mark.parametrize("body", ["x" * (quotas.BODY_BYTES_MAX + 1), "é"], ids=["too large", "not ASCII"])
def test_a_body_that_no_queue_takes_is_refused(parked: Parked, clock: ManualClock, body: str) -> None:
    with pytest.raises(ValueError, match="body of"):
        parked.records(ID, queue="billing", body=body, due=clock.now(), until=clock.now() + 60)


def test_no_record_of_a_large_body_is_larger_than_a_store_keeps(parked: Parked, clock: ManualClock) -> None:
    records = parked.records(
        ID, queue="billing", body="x" * quotas.BODY_BYTES_MAX, due=clock.now(), until=clock.now() + 60
    )
    for record in records:
        assert sum(len(str(value)) for value in record.fields.values()) < quotas.FIELD_BYTES_MAX


def test_a_body_of_which_parts_are_missing_waits_for_them(parked: Parked, store: Store, clock: ManualClock) -> None:
    now = clock.now()
    records = parked.records(ID, queue="billing", body="x" * 600_000, due=now, until=now + HOUR)
    store.put_many([*records[:1], records[-1]], fenced=True)  # the writer died in the middle
    assert claim_all(parked, clock) == []
    store.put_many(records, fenced=True)  # its message came back
    (claimed,) = claim_all(parked, clock)
    assert claimed.body == "x" * 600_000


def test_a_parked_message_outlives_a_week_without_any_ticker(
    parked: Parked, park: Callable[..., None], store: Store, clock: ManualClock
) -> None:
    park(seconds=0, body="x" * 600_000, until=clock.now() + HOUR)
    clock.advance(seconds=HOUR + LATE_SECONDS - 1)
    assert len(claim_all(parked, clock)) == 1
    clock.advance(seconds=1)
    assert store.get(KIND, f"{ID}.0") is None


def test_a_stale_view_of_a_record_claims_nothing(
    parked: Parked, park: Callable[..., None], store: Store, clock: ManualClock
) -> None:
    park(seconds=0)
    (stale,) = parked.due(clock.now())
    assert parked.claim(stale) is not None
    assert parked.claim(stale) is None
    gone = Record(kind=KIND, id="gone.0", fields=stale.fields, version=1)
    assert parked.claim(gone) is None


def test_environments_that_share_a_store_send_their_own(store: Store, clock: ManualClock) -> None:
    ours, theirs = (Parked(store, clock, environment) for environment in ("production", "staging"))
    ours.park("a", queue="default", body="fq1.body", due=clock.now(), until=clock.now() + 60)
    assert (theirs.due(clock.now()), theirs.next_due()) == ([], None)
    assert [ours.claim(record).id for record in ours.due(clock.now())] == ["a"]  # type: ignore[union-attr]
