"""Revocations in the store: seen by all, cheap to look at, and worthless where no key of ours sealed them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fnqueue import quotas
from fnqueue.clock import ManualClock
from fnqueue.sealing import Sealing
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.security.records import seal_record
from fnqueue.state import control as control_module
from fnqueue.state.control import ASKED, KIND, OPERATORS, OVERLAP_SECONDS, REFRESH_SECONDS, WIDE_SECONDS, Control, Seals
from fnqueue.state.revocations import Call, Grant
from fnqueue.store.base import Page, Record, Store

DAY = 86_400
KEY = new_key()
ONE, TWO = "0" * 25 + "1", "0" * 25 + "2"


def seals(*keys: str, environment: str = "default") -> Seals:
    ring = KeyRing.from_text(" ".join(keys))
    sealing = Sealing(lambda: ring, environment)
    return Seals(sealing.seal_revocation, sealing.unseal_revocation, sealing.name_revocation)


def made(store: Store, clock: ManualClock, *keys: str, **more: Any) -> Control:
    return Control(store, clock, seals(*(keys or (KEY,)), **more))


@pytest.fixture
def control(store: Store, clock: ManualClock) -> Control:
    return made(store, clock)


class Counting:
    """A store that counts the records which queries read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = 0

    def query(self, *args: Any, **kwargs: Any) -> Page:
        page = self._store.query(*args, **kwargs)
        self.read += len(page.records)
        return page

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)


def rows(store: Store) -> list[Record]:
    return [*store.query(KIND, ASKED).records, *store.query(KIND, OPERATORS).records]


def ids(control: Control) -> frozenset[str]:
    return control.snapshot().named("id")


def test_nothing_is_revoked_at_first(control: Control) -> None:
    assert not control.snapshot().any


def test_what_one_process_revokes_the_others_see(control: Control, store: Store, clock: ManualClock) -> None:
    other = made(store, clock)
    other.snapshot()
    control.revoke("id", "a", until=clock.now() + DAY)
    control.revoke("id", "b", until=clock.now() + DAY)
    assert ids(other) == ids(control) == {"a", "b"}


def test_a_revocation_lasts_while_anything_of_the_call_may_run(control: Control, clock: ManualClock) -> None:
    control.revoke("id", "a", until=clock.now() + 60)
    control.snapshot()
    clock.advance(seconds=60 + quotas.RUN_SECONDS_MAX - 1)
    assert ids(control) == {"a"}
    clock.advance(seconds=1)
    assert not control.snapshot().any


def test_revoking_twice_is_revoking_once_for_the_longer_time(
    control: Control, store: Store, clock: ManualClock
) -> None:
    for seconds in (DAY, 60):
        control.revoke("id", "a", until=clock.now() + seconds)
        clock.advance(seconds=1)
    assert len(rows(store)) == 1
    clock.advance(seconds=DAY - 60)
    assert ids(control) == {"a"}


def test_a_second_revocation_of_a_person_takes_nothing_of_the_first_back(control: Control, clock: ManualClock) -> None:
    control.revoke("principal", "user:7")
    now = clock.now()
    control.revoke("principal", "user:7", before=now - 3600)
    (kept,) = control.snapshot()._principals["user:7"]
    assert kept.before == now


def test_of_two_who_revoke_a_person_at_once_the_later_moment_stands(store: Store, clock: ManualClock) -> None:
    early, late = made(store, clock), made(store, clock)
    now, real = clock.now(), store.get

    class Between:
        """The other writes between this one's look and its write."""

        def __init__(self) -> None:
            self.done = False

        def get(self, kind: str, id: str) -> Record | None:
            found = real(kind, id)
            if not self.done:
                self.done = True
                late.revoke("principal", "user:7", before=now)
            return found

        def __getattr__(self, verb: str) -> Any:
            return getattr(store, verb)

    early._store = Between()  # type: ignore[assignment]
    early.revoke("principal", "user:7", before=now - 3600)
    (kept,) = made(store, clock).snapshot()._principals["user:7"]
    assert kept.before == now


def test_a_revocation_of_a_person_outlives_whatever_may_wait_for_them(control: Control, clock: ManualClock) -> None:
    control.revoke("principal", "user:7")
    clock.advance(seconds=WIDE_SECONDS)
    assert control.snapshot().named("principal") == {"user:7"}


def test_the_store_does_not_tell_whose_calls_are_revoked(control: Control, store: Store, clock: ManualClock) -> None:
    control.revoke("principal", "user:ada@example.org")
    control.revoke("id", "a" * 26, until=clock.now() + DAY, grant=Grant("user:ada@example.org"))
    text = repr(rows(store))
    assert "ada" not in text
    assert "a" * 26 not in text


# ------------------------------------------------------------------ whoever can write to the store, and has no key


def flipped(sealed: bytes, at: int) -> bytes:
    return sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at:][1:]


@pytest.mark.parametrize(
    "forge",
    [
        lambda true: {"sealed": flipped(true["sealed"], len(true["sealed"]) - 1)},
        lambda true: {"sealed": flipped(true["sealed"], 1)},
        lambda true: {"sealed": flipped(true["sealed"], 20)},
        lambda true: {"sealed": b""},
        lambda true: {"sealed": true["sealed"][:-1]},
        lambda true: {"sealed": "text"},
        lambda true: {},
        lambda true: {"sealed": seals(new_key()).seal("mine", b"x")},
    ],
)
def test_a_revocation_whose_row_was_edited_stops_nothing(
    control: Control, store: Store, clock: ManualClock, forge: Callable[[Any], Any]
) -> None:
    control.revoke("id", ONE, until=clock.now() + DAY)
    assert control.snapshot().revokes(Call(ONE, ONE, "mail", "user:7", ()))
    (true,) = rows(store)
    store.put(Record(kind=KIND, id=true.id, fields=forge(true.fields), bucket=true.bucket, sort=true.sort))
    assert not made(store, clock).snapshot().any


def test_a_revocation_whose_row_was_swapped_with_another_or_copied_stops_nothing(
    control: Control, store: Store, clock: ManualClock
) -> None:
    control.revoke("principal", "user:7")
    control.revoke("principal", "user:8")
    first, second = rows(store)
    for one, other in ((first, second), (second, first)):
        store.put(Record(kind=KIND, id=one.id, fields=other.fields, bucket=one.bucket, sort=one.sort))
    store.put(Record(kind=KIND, id="another", fields=first.fields, bucket=first.bucket, sort=first.sort))
    assert not made(store, clock).snapshot().any


def test_what_was_sealed_for_another_purpose_is_no_revocation(
    control: Control, store: Store, clock: ManualClock
) -> None:
    control.revoke("id", ONE, until=clock.now() + DAY)
    (true,) = rows(store)
    ring, data = KeyRing.from_text(KEY), seals(KEY).unseal(true.id, true.fields["sealed"])  # type: ignore[arg-type]
    result = seal_record(ring, "result", f"revoked default {true.id}", data)
    store.put(Record(kind=KIND, id=true.id, fields={"sealed": result}, bucket=true.bucket, sort=true.sort))
    assert not made(store, clock).snapshot().any


def test_a_revocation_of_staging_stops_nothing_in_production(store: Store, clock: ManualClock) -> None:
    made(store, clock, environment="staging").revoke("principal", "user:7")
    assert not made(store, clock, environment="production").snapshot().any


def test_a_row_that_is_deleted_is_obeyed_until_the_next_whole_read(
    control: Control, store: Store, clock: ManualClock
) -> None:
    control.revoke("id", "a", until=clock.now() + DAY)
    assert ids(control) == {"a"}
    (row,) = rows(store)
    store.delete(KIND, row.id)
    assert ids(control) == {"a"}
    clock.advance(seconds=REFRESH_SECONDS)
    assert not control.snapshot().any


def test_a_revocation_by_a_key_that_was_rotated_out_counts_while_it_is_accepted(
    store: Store, clock: ManualClock
) -> None:
    old, new = new_key(), new_key()
    made(store, clock, old).revoke("id", "a", until=clock.now() + DAY)
    assert not made(store, clock, new).snapshot().any
    assert ids(made(store, clock, new, old)) == {"a"}
    assert not made(store, clock, f"primary:{new}", f"revoked:{old}").snapshot().any


# ------------------------------------------------------------------ what a look costs, and what it misses


def test_a_snapshot_reads_only_what_is_new(store: Store, clock: ManualClock) -> None:
    counting = Counting(store)
    control = made(counting, clock)  # type: ignore[arg-type]
    for n in range(2500):
        control.revoke("id", f"{n}", until=clock.now() + DAY)
    assert len(ids(control)) == 2500
    clock.advance(seconds=OVERLAP_SECONDS + 1)
    control.snapshot()
    counting.read = 0
    clock.advance(seconds=15)
    control.revoke("id", "late", until=clock.now() + DAY)
    assert len(ids(control)) == 2501
    assert counting.read == 1


def test_what_was_seen_is_not_opened_again(store: Store, clock: ManualClock) -> None:
    real, opened = seals(KEY), []

    def unseal(name: str, data: bytes) -> bytes:
        opened.append(name)
        return real.unseal(name, data)

    control = Control(store, clock, replace(real, unseal=unseal))
    control.revoke("id", "a", until=clock.now() + DAY)
    first = control.snapshot()
    assert control.snapshot() is first
    assert len(opened) == 1


def test_a_revocation_by_a_clock_that_is_behind_is_seen(control: Control, store: Store, clock: ManualClock) -> None:
    behind = ManualClock(clock.now() - OVERLAP_SECONDS + 1)
    control.snapshot()
    made(store, behind).revoke("id", "a", until=clock.now() + DAY)
    assert ids(control) == {"a"}


def test_what_an_overlap_misses_the_next_whole_read_sees(control: Control, store: Store, clock: ManualClock) -> None:
    far_behind = ManualClock(clock.now() - DAY)
    control.snapshot()
    made(store, far_behind).revoke("id", "a", until=clock.now() + DAY)
    assert not control.snapshot().any
    clock.advance(seconds=REFRESH_SECONDS)
    assert ids(control) == {"a"}


@pytest.mark.parametrize("seconds", [OVERLAP_SECONDS + 1, REFRESH_SECONDS, 3600])
def test_a_wall_clock_that_is_set_back_hides_nothing(control: Control, clock: ManualClock, seconds: float) -> None:
    control.snapshot()
    clock.jump(-seconds)
    control.revoke("id", "a", until=clock.now() + DAY)
    assert ids(control) == {"a"}
    clock.jump(7200)
    assert ids(control) == {"a"}


def test_the_newest_count_when_there_are_too_many_and_nobody_crowds_out_an_operators(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "KEPT_MAX", 1000)
    control = made(store, clock)
    control.revoke("principal", "user:7", operator=True)
    for n in range(1500):
        control.revoke("id", f"{n:04d}", until=clock.now() + DAY)
        clock.advance(seconds=0.001)
    assert ids(control) == {f"{n:04d}" for n in range(500, 1500)}
    assert control.snapshot().named("principal") == {"user:7"}


def test_threads_may_revoke_and_look_at_once(control: Control, clock: ManualClock) -> None:
    wrong: list[frozenset[str]] = []

    def look() -> None:
        seen = frozenset[str]()
        for _ in range(50):
            now = ids(control)
            if not seen <= now:
                wrong.append(seen - now)
            seen = now

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(60):
        control.revoke("id", f"{n}", until=clock.now() + DAY)
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert len(ids(control)) == 60


# ------------------------------------------------------------------ what falls under one


@pytest.mark.parametrize(
    ("grant", "falls"),
    [
        (Grant("user:7"), True),
        (Grant("user:8"), False),
        (Grant("user:8", ("mail",)), True),
        (Grant("user:8", ("pay",)), False),
        (Grant("service:operator", ("pay",), but=True), True),
        (Grant("service:operator", ("mail",), but=True), False),
        (Grant(None), False),
    ],
)
def test_a_wish_counts_for_the_askers_own_calls_and_the_tasks_that_they_may_operate(
    control: Control, clock: ManualClock, grant: Grant, falls: bool
) -> None:
    control.revoke("id", ONE, until=clock.now() + DAY, grant=grant)
    snapshot = control.snapshot()
    assert snapshot.revokes(Call(ONE, ONE, "mail", "user:7", ())) is falls
    assert not snapshot.revokes(Call(TWO, TWO, "mail", "user:7", ()))


def test_a_wish_that_does_not_count_takes_nothing_from_one_that_does(control: Control, clock: ManualClock) -> None:
    for subject in ("user:8", "user:7", "user:9"):
        control.revoke("id", ONE, until=clock.now() + DAY, grant=Grant(subject))
    assert control.snapshot().revokes(Call(ONE, ONE, "mail", "user:7", ()))
