"""Sealed records, names that stand for names, and ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnqueue.errors import EnvelopeError, KeysMissing
from fnqueue.security.ids import ALPHABET, derived_id, is_id, milliseconds, new_id
from fnqueue.security.keyfile import share
from fnqueue.security.keyring import KeyRing, make_record, new_key, parse_key
from fnqueue.security.principal import Principal
from fnqueue.security.records import (
    call_digest,
    dedupe_id,
    group_id,
    mac,
    seal_record,
    unseal_record,
)
from tests.security.rings import whole


def refusal(ring: KeyRing, purpose: Any, id: str, sealed: bytes) -> str:
    with pytest.raises(EnvelopeError) as refused:
        unseal_record(ring, purpose, id, sealed)
    return refused.value.code


# ------------------------------------------------------------------ records


@given(st.binary(max_size=500))
def test_a_record_comes_back(data: bytes) -> None:
    ring = KeyRing.from_text("fnqk1-root-" + FIXED)
    sealed = seal_record(ring, "result", "id", data)
    assert len(sealed) == len(data) + 49
    assert unseal_record(ring, "result", "id", sealed) == data
    assert sealed != seal_record(ring, "result", "id", data)


FIXED = new_key().removeprefix("fnqk1-root-")


def test_a_record_opens_only_for_its_purpose_and_its_id(ring: KeyRing, other_ring: KeyRing) -> None:
    sealed = seal_record(ring, "result", "one", b"value")
    assert refusal(ring, "result", "two", sealed) == "UNSEAL"
    assert refusal(ring, "schedule", "one", sealed) == "UNSEAL"
    assert refusal(other_ring, "result", "one", sealed) == "UNKNOWN_KEY"


def test_no_byte_of_a_record_can_be_another(ring: KeyRing) -> None:
    sealed = seal_record(ring, "result", "one", b"value")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        assert refusal(ring, "result", "one", changed) in ("MALFORMED", "UNKNOWN_KEY", "UNSEAL")
    for cut in range(len(sealed)):
        assert refusal(ring, "result", "one", sealed[:cut]) in ("MALFORMED", "UNSEAL")


def test_records_of_an_accepted_key_open_and_of_a_revoked_one_do_not() -> None:
    old, new = new_key(), new_key()
    sealed = seal_record(KeyRing.from_text(old), "result", "one", b"value")
    assert unseal_record(KeyRing.from_text(new, old), "result", "one", sealed) == b"value"
    assert refusal(KeyRing.from_text(f"{new} revoked:{old}"), "result", "one", sealed) == "REVOKED_KEY"


def test_a_record_that_names_another_key_of_the_ring_does_not_open() -> None:
    ring = KeyRing.from_text(new_key(), new_key())
    one, two = ring
    sealed = seal_record(ring, "result", "one", b"value")
    assert refusal(ring, "result", "one", sealed.replace(one.key_id.encode(), two.key_id.encode())) == "UNSEAL"


# ------------------------------------------------------------------ names


def test_a_group_has_one_name_in_a_queue_that_fits_sqs_and_tells_nothing(ring: KeyRing, other_ring: KeyRing) -> None:
    name = group_id(ring.primary, "billing", "customer 42")
    assert len(name) == 26
    assert name.isalnum()
    assert name == group_id(ring.primary, "billing", "customer 42")
    others = [
        group_id(ring.primary, "billing", "customer 43"),
        group_id(ring.primary, "billingcustomer ", "42"),
        group_id(other_ring.primary, "billing", "customer 42"),
        dedupe_id(ring.primary, "billing", None, "customer 42"),
    ]
    assert name not in others


def test_a_deduplication_key_is_one_per_task_and_tenant(ring: KeyRing) -> None:
    key = ring.primary
    names = {
        dedupe_id(key, task, tenant, dedupe)
        for task in ("a", "b")
        for tenant in (None, "", "-", "t")
        for dedupe in ("x", "y", "")
    }
    assert len(names) == 24


def test_purposes_do_not_share_their_macs(ring: KeyRing) -> None:
    assert len({mac(ring.primary, purpose, b"") for purpose in ring.primary.purposes}) == 6  # type: ignore[arg-type]


def test_two_sealings_of_one_call_are_the_same_call_across_a_rotation(calls: Any) -> None:
    old, new = new_key(), new_key()
    before, after = KeyRing.from_text(old), KeyRing.from_text(new, old)
    sealed = {
        "args": [1, {"a": 1, "b": 2}],
        "kwargs": {"x": 1, "y": 2},
        "p": Principal("42", roles=frozenset({"a", "b"})).to_wire(),
    }
    digest = call_digest("shop.a", calls.open(calls.seal(keyring=before, sealed=sealed), keyring=before))
    again = calls.open(calls.seal(keyring=after, sealed=sealed | {"bg": {"request": "2"}}), keyring=after)
    assert call_digest("shop.a", again) == digest
    assert call_digest("shop.a", again | {"args": [1, {"b": 2, "a": 1}], "kwargs": {"y": 2, "x": 1}}) == digest


@pytest.mark.parametrize(
    "change",
    [
        {"args": [2]},
        {"args": [True]},
        {"args": [1.0]},
        {"kwargs": {"x": 2}},
        {"p": {"i": "43", "k": "u"}},
        {"p": {"i": "42", "k": "s"}},
        {"p": {"i": "42", "k": "u", "r": ["root"]}},
        {"w": ["w", "n"]},
        {"args": [], "kwargs": {"x": 1, "a": 1}},
    ],
)
def test_another_call_under_the_same_id_is_told(change: dict[str, Any]) -> None:
    sealed = {"args": [1], "kwargs": {"x": 1}, "p": {"i": "42", "k": "u"}}
    digest = call_digest("shop.a", sealed)
    assert call_digest("shop.a", dict(sealed)) == digest
    assert call_digest("shop.a", sealed | change) != digest
    assert call_digest("shop.b", sealed) != digest


# ------------------------------------------------------------------ ids


@given(st.floats(0, 2.8e11, allow_nan=False))
def test_an_id_tells_its_time(now: float) -> None:
    id = new_id(now)
    assert is_id(id)
    assert milliseconds(id) == int(now * 1000)


@given(st.lists(st.integers(0, 2**48 - 1), min_size=2, max_size=10))
def test_ids_sort_as_their_times_do(times: list[int]) -> None:
    key = make_record(parse_key("fnqk1-root-" + FIXED))
    ids = [derived_id(time, key, "cause", "step") for time in times]
    assert [milliseconds(id) for id in sorted(ids)] == sorted(times)


def test_new_ids_of_one_moment_differ_in_80_bits() -> None:
    ids = [new_id(1_767_225_600) for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert {id[:10] for id in ids} == {ids[0][:10]}
    for place in range(10, 26):
        assert {id[place] for id in ids} == set(ALPHABET)  # every place takes every character


def test_an_id_of_a_cause_is_one_per_cause_step_and_key(ring: KeyRing, other_ring: KeyRing) -> None:
    key, other = ring.primary, other_ring.primary
    made = [
        derived_id(1, key, "a", "b"),
        derived_id(1, key, "ab", ""),
        derived_id(1, key, "a", "c"),
        derived_id(1, other, "a", "b"),
        derived_id(2, key, "a", "b"),
    ]
    assert len(set(made)) == 5
    assert all(map(is_id, made))
    assert made[0] == derived_id(1, key, "a", "b")


@pytest.mark.parametrize(
    "text", ["", "x", "0" * 25, "0" * 27, "8" + "0" * 25, "0" * 25 + "u", "0" * 25 + "O", "٠" * 26, "0" * 26 + "\n"]
)
def test_what_is_no_id_is_told(text: str) -> None:
    assert not is_id(text)
    with pytest.raises(ValueError, match="26 characters"):
        milliseconds(text)


@pytest.mark.parametrize("now", [-1, 2.9e11])
def test_times_outside_of_48_bits_are_refused(now: float) -> None:
    with pytest.raises(ValueError, match="no time"):
        new_id(now)


def test_a_record_under_a_key_of_which_only_the_public_half_is_here_is_refused_as_all_others() -> None:
    """Whoever can write to the store can name any key; who reads must not stumble over it."""
    here, public = KeyRing.from_text(whole("signed")), KeyRing.from_text(share(whole("signed"), "dashboard"))
    ring = KeyRing([*here, replace(public.primary, state="accept")])
    sealed = seal_record(here, "result", "7", b"data")
    named = sealed[:1] + public.primary.key_id.encode() + sealed[9:]
    with pytest.raises(EnvelopeError) as refused:
        unseal_record(ring, "result", "7", named)
    assert refused.value.code == "UNKNOWN_KEY"
    assert "needs fnqk1-state-" in refused.value.detail
    with pytest.raises(KeysMissing):  # a dashboard's: nothing would open
        unseal_record(public, "result", "7", named)
