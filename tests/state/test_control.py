from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fnqueue import quotas
from fnqueue.clock import ManualClock
from fnqueue.state import control as control_module
from fnqueue.state.control import KIND, OVERLAP_SECONDS, REFRESH_SECONDS, Control
from fnqueue.store.base import Page, Record, Store

DAY = 86_400


def mac_with(key: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(key, data, "sha256")


MAC = mac_with(b"k" * 32)


@pytest.fixture
def control(store: Store, clock: ManualClock) -> Control:
    return Control(store, clock, MAC)


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


def test_nothing_is_revoked_at_first(control: Control) -> None:
    assert control.snapshot() == frozenset()
    assert not control.revoked("a")


def test_what_one_process_revokes_the_others_see(control: Control, store: Store, clock: ManualClock) -> None:
    other = Control(store, clock, MAC)
    other.snapshot()
    control.revoke("a", clock.now() + DAY)
    control.revoke("b", clock.now() + DAY)
    assert other.snapshot() == control.snapshot() == {"a", "b"}
    assert other.revoked("a")
    assert not other.revoked("c")


def test_a_revocation_lasts_while_anything_of_the_call_may_run(control: Control, clock: ManualClock) -> None:
    control.revoke("a", clock.now() + 60)
    control.snapshot()
    clock.advance(seconds=60 + quotas.RUN_SECONDS_MAX - 1)
    assert control.snapshot() == {"a"}
    clock.advance(seconds=1)
    assert control.snapshot() == frozenset()
    assert not control.revoked("a")


def test_revoking_twice_is_revoking_once(control: Control, clock: ManualClock) -> None:
    for _ in range(2):
        control.revoke("a", clock.now() + DAY)
        clock.advance(seconds=1)
    assert control.snapshot() == {"a"}


@pytest.mark.parametrize(
    "forge",
    [
        lambda true: {**true, "mac": b"\0" * 32},
        lambda true: {**true, "mac": b""},
        lambda true: {**true, "mac": "text"},
        lambda true: {**true, "until": true["until"] + DAY},
        lambda true: {**true, "until": "soon"},
        lambda true: {"until": true["until"]},
        lambda true: {},
        lambda true: {**true, "mac": mac_with(b"other" * 8)(b"x")},
    ],
)
def test_a_forged_revocation_stops_nothing(
    control: Control, store: Store, clock: ManualClock, forge: Callable[[Any], Any]
) -> None:
    control.revoke("mine", clock.now() + DAY)
    true = store.get(KIND, "mine")
    assert true is not None
    rest: dict[str, Any] = {"bucket": true.bucket, "sort": true.sort, "expires_at": true.expires_at}
    store.put(Record(kind=KIND, id="victim", fields=true.fields, **rest))  # moved to another id
    store.put(Record(kind=KIND, id="mine", fields=forge(true.fields), **rest))
    assert control.snapshot() == frozenset()
    assert not control.revoked("victim")
    assert not control.revoked("mine")


def test_a_revocation_by_a_key_that_was_rotated_out_counts_where_it_is_still_accepted(
    store: Store, clock: ManualClock
) -> None:
    old, new = mac_with(b"old" * 11), mac_with(b"new" * 11)
    Control(store, clock, old).revoke("a", clock.now() + DAY)

    def check(data: bytes, tag: bytes) -> bool:
        return any(hmac.compare_digest(tag, make(data)) for make in (new, old))

    assert Control(store, clock, new).snapshot() == frozenset()
    assert Control(store, clock, new, check).snapshot() == {"a"}


def test_a_snapshot_reads_only_what_is_new(store: Store, clock: ManualClock) -> None:
    counting = Counting(store)
    control = Control(counting, clock, MAC)
    for n in range(2500):
        control.revoke(f"{n}", clock.now() + DAY)
    assert len(control.snapshot()) == 2500
    clock.advance(seconds=OVERLAP_SECONDS + 1)
    control.snapshot()
    counting.read = 0
    clock.advance(seconds=15)
    control.revoke("late", clock.now() + DAY)
    assert len(control.snapshot()) == 2501
    assert counting.read == 1


def test_a_revocation_by_a_clock_that_is_behind_is_seen(control: Control, store: Store, clock: ManualClock) -> None:
    behind = ManualClock(clock.now() - OVERLAP_SECONDS + 1)
    control.snapshot()
    Control(store, behind, MAC).revoke("a", clock.now() + DAY)
    assert control.snapshot() == {"a"}


def test_what_an_overlap_misses_the_next_whole_read_sees(control: Control, store: Store, clock: ManualClock) -> None:
    far_behind = ManualClock(clock.now() - DAY)
    control.snapshot()
    Control(store, far_behind, MAC).revoke("a", clock.now() + DAY)
    assert control.snapshot() == frozenset()
    clock.advance(seconds=REFRESH_SECONDS)
    assert control.snapshot() == {"a"}


def test_what_an_operator_takes_back_is_forgotten_with_the_next_whole_read(
    control: Control, store: Store, clock: ManualClock
) -> None:
    control.revoke("a", clock.now() + DAY)
    assert control.snapshot() == {"a"}
    store.delete(KIND, "a")
    clock.advance(seconds=REFRESH_SECONDS)
    assert control.snapshot() == frozenset()


@pytest.mark.parametrize("seconds", [OVERLAP_SECONDS + 1, REFRESH_SECONDS, 3600])
def test_a_wall_clock_that_is_set_back_hides_nothing(control: Control, clock: ManualClock, seconds: float) -> None:
    control.snapshot()
    clock.jump(-seconds)
    control.revoke("a", clock.now() + DAY)
    assert control.snapshot() == {"a"}
    clock.jump(7200)
    assert control.snapshot() == {"a"}


def test_the_newest_count_when_there_are_too_many(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "IDS_MAX", 1000)
    control = Control(store, clock, MAC)
    for n in range(1500):
        control.revoke(f"{n:04d}", clock.now() + DAY)
        clock.advance(seconds=0.001)
    assert control.snapshot() == {f"{n:04d}" for n in range(500, 1500)}
    assert control.revoked("0000")


def test_threads_may_revoke_and_look_at_once(control: Control, clock: ManualClock) -> None:
    wrong: list[frozenset[str]] = []

    def look() -> None:
        seen = frozenset[str]()
        for _ in range(50):
            now = control.snapshot()
            if not seen <= now:
                wrong.append(seen - now)
            seen = now

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(60):
        control.revoke(f"{n}", clock.now() + DAY)
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert len(control.snapshot()) == 60
