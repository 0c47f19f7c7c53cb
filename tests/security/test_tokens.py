"""Status tokens: whatever is wrong with one, the answer is the same."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from fnqueue.clock import ManualClock
from fnqueue.errors import TokenInvalid
from fnqueue.security import tokens
from fnqueue.security.ids import new_id
from fnqueue.security.keyfile import share
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.security.primitives import lp
from tests.security.rings import whole

NOW = 1_767_225_600.0
ID = new_id(NOW)


def make(ring: KeyRing, **changes: Any) -> str:
    given: dict[str, Any] = {
        "id": ID,
        "task": "shop.tasks.größe",
        "subject": "user:7",
        "call_expires_at": NOW + 3600,
        "expires_at": NOW + 900,
    }
    return tokens.make(ring, **(given | changes))


def refused(ring: KeyRing, token: str, *, subject: str = "user:7", now: float = NOW) -> str:
    with pytest.raises(TokenInvalid) as error:
        tokens.read(ring, token, subject=subject, now=now)
    assert error.value.__cause__ is None
    return str(error.value)


def test_a_token_tells_what_it_was_made_for(ring: KeyRing) -> None:
    claims = tokens.read(ring, make(ring), subject="user:7", now=NOW)
    assert claims == tokens.StatusClaims(ID, "shop.tasks.größe", int(NOW) + 3600, int(NOW) + 900)
    assert tokens.read(ring, make(ring, task=""), subject="user:7", now=NOW).task == ""


def test_a_token_is_safe_in_a_url_and_does_not_name_its_subject(ring: KeyRing) -> None:
    token = make(ring, subject="user:ada@example.org")
    assert all(character.isascii() and (character.isalnum() or character in "-_.") for character in token)
    assert "ada" not in token


def test_a_token_is_signed_as_itsdangerous_signs(ring: KeyRing) -> None:
    token = make(ring)
    salt = b"fnq1 status" + lp(b"user:7")
    key = ring.primary.purposes["token"]
    assert Signer(key, salt=salt, key_derivation="hmac", digest_method=sha256).validate(token)


def test_a_token_ends_at_its_time(ring: KeyRing) -> None:
    clock = ManualClock(NOW)
    token = make(ring)
    clock.advance(seconds=899.9)
    assert tokens.read(ring, token, subject="user:7", now=clock.now())
    clock.advance(seconds=0.1)
    refused(ring, token, now=clock.now())


def test_unknown_foreign_altered_and_expired_all_look_alike(ring: KeyRing, other_ring: KeyRing) -> None:
    token = make(ring)
    answers = {
        refused(ring, token, subject="user:8"),
        refused(ring, token, subject="service:7"),
        refused(ring, token, subject=""),
        refused(ring, token, now=NOW + 900),
        refused(other_ring, token),
        refused(ring, make(other_ring)),
        refused(ring, token.replace(ID, new_id(NOW + 1))),
        refused(ring, token.replace(f".{int(NOW) + 900}.", f".{int(NOW) + 901}.")),
        refused(ring, ""),
        refused(ring, "." * 100_000),
        refused(ring, token + "\n"),
        refused(ring, token.replace("1", "\u0661")),
        refused(ring, "a" * 10_000_000),
    }
    assert answers == {"not found"}


def test_no_character_of_a_token_can_be_another(ring: KeyRing) -> None:
    token = make(ring)
    for at, was in enumerate(token):
        for character in set("AZaz059-_=.~é\n ") - {was}:
            refused(ring, token[:at] + character + token[at + 1 :])
        refused(ring, token[:at])
        refused(ring, token[:at] + token[at + 1 :])


def test_a_second_spelling_of_the_tag_is_refused_although_itsdangerous_takes_it(ring: KeyRing) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = make(ring)
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    salt = b"fnq1 status" + lp(b"user:7")
    key = ring.primary.purposes["token"]
    assert Signer(key, salt=salt, key_derivation="hmac", digest_method=sha256).validate(twin)
    refused(ring, twin)


@given(st.text(max_size=200))
def test_any_text_is_refused(token: str) -> None:
    refused(KeyRing([]), token)


def test_tokens_survive_a_rotation_and_not_a_revocation() -> None:
    old, new = new_key(), new_key()
    token = make(KeyRing.from_text(old))
    assert tokens.read(KeyRing.from_text(new, old), token, subject="user:7", now=NOW)
    refused(KeyRing.from_text(f"{new} revoked:{old}"), token)


@pytest.mark.parametrize("changes", [{"id": "x"}, {"task": "x" * 600}, {"expires_at": 1e15}, {"expires_at": -5}])
def test_a_token_that_could_not_be_read_is_not_made(ring: KeyRing, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status token"):
        make(ring, **changes)


def test_a_token_under_a_key_of_which_only_the_public_half_is_here_looks_like_all_others() -> None:
    """Ids of keys stand in every message, so anybody can name one."""
    here = KeyRing.from_text(whole("signed"))
    public = KeyRing.from_text(share(whole("signed"), "dashboard")).primary
    ring = KeyRing([*here, replace(public, state="accept")])
    token = make(ring).replace(here.primary.key_id, public.key_id)
    assert refused(ring, token) == "not found"
