"""Key strings and rings: what is taken, and what each bad input is told."""

from __future__ import annotations

import secrets
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fnqueue.errors import KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.security.keyring import KeyRing, Limits, make_record, new_key, parse_key
from fnqueue.security.keystrings import write_part
from fnqueue.security.primitives import to_base32


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        KeyRing.from_text(text)
    return refused.value.faults


def weak_key(root: bytes) -> str:
    """A key string with a right checksum around bytes that our own code would not write."""
    return "fnqk1-root-" + to_base32(root + sha256(b"fnq1 check root" + root).digest()[:3])


def states(ring: KeyRing) -> list[str]:
    return [record.state for record in ring]


# ------------------------------------------------------------------ one key


def test_a_new_key_is_typed_and_easy_for_scanners_to_find() -> None:
    key = new_key()
    assert key.startswith("fnqk1-root-")
    assert len(key) == 11 + 56
    assert set(key[11:]) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert new_key() != key


@given(st.binary(min_size=32, max_size=32))
def test_a_key_string_gives_back_its_bytes(root: bytes) -> None:
    try:
        key = write_part("root", root)
    except KeyInvalid:
        return  # hypothesis likes weak ones
    assert parse_key(key) == root


def test_a_key_id_is_eight_characters_that_tell_nothing_of_the_key() -> None:
    key = new_key()
    record = make_record(parse_key(key))
    assert len(record.key_id) == 8
    assert set(record.key_id) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert record.key_id not in key
    assert record.key_id == make_record(parse_key(key)).key_id


def test_every_purpose_has_a_key_of_its_own() -> None:
    record = make_record(secrets.token_bytes(32))
    derived = [record.hedge(b""), *record.purposes.values()]
    assert set(record.purposes) == {"result", "schedule", "blob", "token", "group", "audit"}
    assert len(set(derived)) == 7


@settings(max_examples=200)
@given(st.integers(0, 66), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567019AZ-_ é"))
def test_a_wrong_character_anywhere_in_a_key_is_noticed(at: int, character: str) -> None:
    key = write_part("root", sha256(b"a fixed key").digest())
    if key[at] != character:
        with pytest.raises(KeyInvalid) as refused:
            parse_key(key[:at] + character + key[at + 1 :])
        assert key[11:] not in str(refused.value)


@pytest.mark.parametrize(
    ("root", "why"),
    [
        (bytes(32), "repeat or count"),
        (b"\xff" * 32, "repeat or count"),
        (bytes(range(32)), "repeat or count"),
        (bytes(range(0, 256, 8)), "repeat or count"),
        (bytes(range(255, 223, -1)), "repeat or count"),
        (b"\x01\xf2" * 16, "repeat or count"),
        (sha256(b"x").digest()[:8] * 4, "repeat or count"),
        (sha256(b"x").digest()[:16] * 2, "repeat or count"),
        (bytes(16) + sha256(b"x").digest()[:16], "repeat or count"),
        (bytes((byte & 15) * 17 for byte in sha256(b"3").digest()), "repeat or count"),  # 16 values, many steps
        (b"correct horse battery staple, ok", "text"),
        (b"kJ8vQ2xZ7wL4mN9pR3tY6bC1dF5gH0sA", "text"),
    ],
)
def test_weak_keys_are_refused_even_with_a_right_checksum(root: bytes, why: str) -> None:
    for refused in (lambda: parse_key(weak_key(root)), lambda: write_part("root", root)):
        with pytest.raises(KeyInvalid, match=why):
            refused()
    assert len(faults(weak_key(root))) == 1


def test_random_keys_are_never_taken_for_weak() -> None:
    for number in range(2000):
        write_part("root", sha256(number.to_bytes(4, "big")).digest())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "no key of fnqueue"),
        ("django-insecure-k3y!", "no key of fnqueue"),
        ("fnqk2-root-" + "a" * 56, "no key of fnqueue"),
        ("fnqk1-toor-" + "a" * 56, "no key of fnqueue"),
        ("FNQK1-ROOT-" + "A" * 56, "no key of fnqueue"),
        ("fnqk1-root", "0 characters"),
        ("fnqk1-root-", "0 characters"),
        ("fnqk1-root-" + "a" * 55, "55 characters"),
        ("fnqk1-root-" + "a" * 57, "57 characters"),
        ("fnqk1-root-" + "a" * 55 + "1", "other than a-z and 2-7"),
        ("fnqk1-root-" + "A" * 56, "other than a-z and 2-7"),
        ("fnqk1-root-" + "\u0430" * 56, "other than a-z and 2-7"),  # a Cyrillic a
        ("fnqk1-root-" + "ab" * 28, "checksum"),
    ],
)
def test_what_is_no_root_key_is_told_why(text: str, why: str) -> None:
    (fault,) = faults(text)
    assert why in fault
    assert fault.startswith("FNQUEUE_KEYS, key 1: ")
    assert text.partition("-root-")[2] == "" or text.partition("-root-")[2] not in fault


# ------------------------------------------------------------------ a ring


def test_the_first_key_is_primary_and_the_others_are_accepted() -> None:
    one, two, three = new_key(), new_key(), new_key()
    for text in (f"{one},{two},{three}", f"{one} {two}\n{three}", f"\ufeff{one}\r\n{two};kinds=user,\t{three}"[1:]):
        ring = KeyRing.from_text(text)
        assert states(ring) == ["primary", "accept", "accept"]
        assert ring.primary.key_id == make_record(parse_key(one)).key_id


def test_stated_states_are_kept_and_a_stated_primary_wins() -> None:
    one, two, three = new_key(), new_key(), new_key()
    assert states(KeyRing.from_text(f"{one} primary:{two} revoked:{three}")) == ["accept", "primary", "revoked"]
    assert states(KeyRing.from_text(f"accept:{one} {two} {three}")) == ["accept", "primary", "accept"]


def test_comments_and_several_texts_are_read() -> None:
    one, two = new_key(), new_key()
    ring = KeyRing.from_text(f"# made in May, see {new_key()}\n{one} # the old one\n", two)
    assert states(ring) == ["primary", "accept"]


def test_keys_are_found_by_their_ids() -> None:
    ring = KeyRing.from_text(new_key(), new_key())
    assert all(ring.get(record.key_id) is record for record in ring)
    assert ring.get("aaaaaaaa") is None


def test_limits_are_read() -> None:
    ring = KeyRing.from_text(f"{new_key()};tasks=shop.*|mail.send;queues=billing;kinds=user|service")
    limits = ring.primary.limits
    assert limits
    assert not KeyRing.from_text(new_key()).primary.limits
    assert limits == Limits(tasks=("shop.*", "mail.send"), queues=("billing",), kinds=("user", "service"))
    assert limits.allow(task="shop.a.b", queue="billing", kind="user")
    assert limits.allow(task="mail.send")
    assert not limits.allow(task="mail.sender")
    assert not limits.allow(task="shops.a")
    assert not limits.allow(queue="mail")
    assert not limits.allow(kind="anonymous")


@pytest.mark.parametrize("option", ["tasks", "tasks=", "tasks=|", "task=a", "tasks=a;tasks=b", "kinds=robot", "="])
def test_limits_that_cannot_be_read_are_refused(option: str) -> None:
    (fault,) = faults(f"{new_key()};{option}")
    assert "kinds" in fault


@pytest.mark.parametrize("text", ["", "  \n", "# nothing yet\n", ",,,"])
def test_a_ring_without_keys_is_refused(text: str) -> None:
    assert faults(text) == ("FNQUEUE_KEYS: there is no key; make one: fnqueue keys new",)


def test_a_ring_needs_exactly_one_primary() -> None:
    one, two = new_key(), new_key()
    assert "2 keys are primary" in faults(f"primary:{one} primary:{two}")[0]
    assert "0 keys are primary" in faults(f"accept:{one} revoked:{two}")[0]


def test_a_key_may_stand_there_once() -> None:
    key = new_key()
    assert any("is there twice" in fault for fault in faults(f"primary:{key} revoked:{key}"))
    assert any("is there twice" in fault for fault in faults(f"{key}\n{key}"))


@pytest.mark.parametrize("state", ["primry", "Primary", "retired", "", "http"])
def test_a_state_must_be_one_of_three(state: str) -> None:
    (fault,) = faults(f"{state}:{new_key()}")
    assert "primary, accept or revoked" in fault


def test_all_faults_are_told_at_once_with_the_place_of_each() -> None:
    found = faults(f"hunter2, {new_key()}, maybe:{new_key()}, {weak_key(bytes(32))}")
    assert [fault.partition(":")[0] for fault in found] == [f"FNQUEUE_KEYS, key {n}" for n in (1, 3, 4)]


def test_an_empty_ring_has_no_primary() -> None:
    with pytest.raises(KeysMissing, match="fnqueue keys new"):
        KeyRing([]).primary


@given(st.text(max_size=200))
@example("primary:" * 50)
@example("fnqk1-root-" + "a" * 10_000)
@example("a;b;c=d;;=")
def test_any_text_gives_a_ring_or_faults_and_never_another_error(text: str) -> None:
    with pytest.raises(SettingsInvalid):
        KeyRing.from_text(text)
