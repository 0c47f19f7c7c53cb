"""What is written out by hand gives the bytes of the libraries that everybody trusts."""

from __future__ import annotations

import base64
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous.encoding import base64_encode

from fnqueue.security import primitives
from fnqueue.security.primitives import Mac, from_base64, is_base64, lp, to_base64

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_a_mac_is_the_hmac_of_the_standard_library(key: bytes, data: bytes) -> None:
    assert Mac(key)(data) == primitives.mac(key, data) == hmac.new(key, data, "sha256").digest()


def test_a_mac_refuses_keys_that_the_standard_would_hash_first() -> None:
    with pytest.raises(ValueError):
        Mac(bytes(65))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_expand_is_hkdf_expand_of_32_bytes(key: bytes, info: bytes) -> None:
    expected = HKDFExpand(SHA256(), 32, info).derive(key)
    assert Mac(key).expand(info) == primitives.expand(key, info) == expected


@given(st.binary(min_size=1, max_size=200))
def test_base64_is_url_safe_without_padding_and_comes_back(data: bytes) -> None:
    text = to_base64(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=") == base64_encode(data)
    assert is_base64(text)
    assert from_base64(text) == data


@given(st.text(ALPHABET, min_size=1, max_size=9))
def test_base64_has_one_spelling_only(text: str) -> None:
    raw = text.encode()
    if is_base64(raw):
        assert to_base64(from_base64(raw)) == raw
    else:
        padded = raw + b"=" * (-len(raw) % 4)
        assert len(raw) % 4 == 1 or to_base64(base64.urlsafe_b64decode(padded)) != raw


@pytest.mark.parametrize(
    "text", [b"", b"A", b"AB", b"ABC=", b"AA==", b"A A", b"A\nAA", b"A+AA", b"A/AA", b"\xc3\xa9AA"]
)
def test_what_is_not_base64url_is_told(text: bytes) -> None:
    assert not is_base64(text)


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_joined_parts_are_never_those_of_another_list(one: list[bytes], two: list[bytes]) -> None:
    assert (lp(*one) == lp(*two)) == (one == two)
