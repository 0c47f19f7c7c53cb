from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fnqueue.clock import ManualClock
from fnqueue.state.dedupe import Dedupe
from fnqueue.state.signs import Signs
from fnqueue.store.base import Record, Store

KEY = "a" * 26
HOUR = 3600


@pytest.fixture
def dedupe(store: Store, clock: ManualClock) -> Dedupe:
    return Dedupe(store, clock)


def test_the_first_call_wins_and_the_others_get_its_id(dedupe: Dedupe, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    assert [dedupe.claim(KEY, id, until=until) for id in ("first", "second", "third")] == ["first"] * 3


def test_claiming_again_for_the_same_call_is_no_change(dedupe: Dedupe, clock: ManualClock) -> None:
    assert dedupe.claim(KEY, "first", until=clock.now() + HOUR) == "first"
    assert dedupe.claim(KEY, "first", until=clock.now() + 9 * HOUR) == "first"
    clock.advance(seconds=HOUR)
    assert dedupe.claim(KEY, "second", until=clock.now() + HOUR) == "second"


def test_another_key_is_another_call(dedupe: Dedupe, clock: ManualClock) -> None:
    dedupe.claim(KEY, "first", until=clock.now() + HOUR)
    assert dedupe.claim("b" * 26, "second", until=clock.now() + HOUR) == "second"


def test_all_who_race_agree_on_the_winner(dedupe: Dedupe, clock: ManualClock, race: Callable[[Any], list[Any]]) -> None:
    for n in range(10):
        claims = [lambda n=n, id=f"{who}": dedupe.claim(f"{n}", id, until=clock.now() + HOUR) for who in range(8)]
        winners = race(claims)
        assert len(set(winners)) == 1


def test_a_claim_ends_at_its_time(dedupe: Dedupe, clock: ManualClock) -> None:
    dedupe.claim(KEY, "first", until=clock.now() + HOUR)
    clock.advance(seconds=HOUR - 1)
    assert dedupe.claim(KEY, "second", until=clock.now() + HOUR) == "first"
    clock.advance(seconds=1)
    assert dedupe.claim(KEY, "second", until=clock.now() + HOUR) == "second"


def test_a_sender_that_died_before_it_sent_holds_the_key_for_its_lease_only(dedupe: Dedupe, clock: ManualClock) -> None:
    dedupe.claim(KEY, "dead", until=clock.now() + HOUR, lease_seconds=30)
    assert dedupe.claim(KEY, "second", until=clock.now() + HOUR, lease_seconds=30) == "dead"
    clock.advance(seconds=30)
    assert dedupe.claim(KEY, "second", until=clock.now() + HOUR, lease_seconds=30) == "second"


def test_a_confirmed_claim_is_held_for_its_whole_time(dedupe: Dedupe, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    dedupe.claim(KEY, "first", until=until, lease_seconds=30)
    assert dedupe.confirm(KEY, "first", until=until)
    clock.advance(seconds=HOUR - 1)
    assert dedupe.claim(KEY, "second", until=until + HOUR) == "first"
    clock.advance(seconds=1)
    assert dedupe.claim(KEY, "second", until=until + HOUR) == "second"


def test_a_slow_sender_learns_that_it_lost_the_key(dedupe: Dedupe, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    dedupe.claim(KEY, "slow", until=until, lease_seconds=30)
    clock.advance(seconds=30)
    assert dedupe.claim(KEY, "second", until=until) == "second"
    assert not dedupe.confirm(KEY, "slow", until=until)
    assert dedupe.claim(KEY, "third", until=until) == "second"


def test_a_slow_sender_that_nobody_replaced_keeps_the_key(dedupe: Dedupe, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    dedupe.claim(KEY, "slow", until=until, lease_seconds=30)
    clock.advance(seconds=31)
    assert dedupe.confirm(KEY, "slow", until=until)
    assert dedupe.claim(KEY, "second", until=until) == "slow"


def test_a_call_that_could_not_be_sent_lets_the_next_one_win(dedupe: Dedupe, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    dedupe.claim(KEY, "first", until=until)
    assert not dedupe.release(KEY, "second")
    assert dedupe.release(KEY, "first")
    assert not dedupe.release(KEY, "first")
    assert dedupe.claim(KEY, "second", until=until) == "second"


def test_claims_and_releases_that_race_leave_one_holder_or_none(
    dedupe: Dedupe, store: Store, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    until = clock.now() + HOUR

    def come_and_go(id: str) -> int:
        won = 0
        for _ in range(5):
            if dedupe.claim(KEY, id, until=until) == id:
                won += 1
                assert dedupe.release(KEY, id)
        return won

    assert sum(race([lambda id=f"{who}": come_and_go(id) for who in range(4)])) >= 1
    assert store.get("dedupe", KEY) is None


# ------------------------------------------------------------------ who can write to the store, and has no key


@pytest.fixture
def signed(store: Store, clock: ManualClock) -> Dedupe:
    def mac(data: bytes) -> bytes:
        return hmac.digest(b"key", data, "sha256")

    return Dedupe(store, clock, Signs(mac, lambda data, tag: hmac.compare_digest(mac(data), tag)), "production")


@pytest.mark.parametrize("forged", [{"id": "theirs"}, {"id": "theirs", "mac": b"m" * 32}, {"id": 7}, {}])
def test_a_forged_dedupe_key_gives_nobody_the_call_of_another(
    signed: Dedupe, store: Store, clock: ManualClock, forged: dict[str, Any]
) -> None:
    until = clock.now() + HOUR
    store.put(Record(kind="dedupe", id=f"production {KEY}", fields=forged))
    assert signed.holder(KEY) is None
    assert [signed.claim(KEY, id, until=until) for id in ("first", "second")] == ["first", "first"]
    assert signed.confirm(KEY, "first", until=until)


def test_a_dedupe_key_moved_or_edited_is_nobodys(signed: Dedupe, store: Store, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    assert signed.claim(KEY, "theirs", until=until) == "theirs"
    true = store.get("dedupe", f"production {KEY}")
    assert true is not None
    store.put(replace(true, id=f"production {'b' * 26}", version=0))
    assert signed.claim("b" * 26, "mine", until=until) == "mine"
    store.put(replace(true, fields={**true.fields, "id": "other"}))
    assert signed.claim(KEY, "mine", until=until) == "mine"


def test_environments_that_share_a_store_have_their_keys_apart(store: Store, clock: ManualClock) -> None:
    until = clock.now() + HOUR
    for environment in ("staging", "production"):
        assert Dedupe(store, clock, environment=environment).claim(KEY, environment, until=until) == environment
