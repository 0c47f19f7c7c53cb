"""Whatever is done to a sealed body on its way, it does not open; whatever is sealed comes back."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fnqueue.errors import EnvelopeError
from fnqueue.security.keyring import KeyRing, make_record

HOSTILE = {"MALFORMED", "SUITE", "UNKNOWN_KEY", "BAD_TAG", "CONTEXT"}
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
anything = st.one_of(
    st.sampled_from(string.printable), st.characters(), st.sampled_from("\u0661\uff11\u00e9\udc80\x00\u2028")
)


def test_no_character_of_a_body_can_be_another(calls: Any, sealed_body: str) -> None:
    """Every place, against every character of the alphabet and some from outside it."""
    outside = "=.~ {}\"'\\/+\n\x00\u00e9\u0661"
    for at, was in enumerate(sealed_body):
        # All of them where a field is short; a sample in the long ciphertext.
        others = set(
            (string.ascii_letters + string.digits + "-_" + outside) if at < 250 or at % 7 == 0 else "AZaz09-_="
        )
        for character in others - {was}:
            assert calls.code(sealed_body[:at] + character + sealed_body[at + 1 :]) in HOSTILE


@shared
@given(data=st.data())
def test_an_edit_anywhere_never_opens(calls: Any, sealed_body: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sealed_body) - 1))
    end = data.draw(st.integers(at, min(len(sealed_body), at + 5)))
    put = data.draw(st.text(anything, max_size=4))
    edited = sealed_body[:at] + put + sealed_body[end:]
    if edited != sealed_body:
        assert calls.code(edited) in HOSTILE


@shared
@given(cut=st.integers(0, 2000), end=st.booleans())
def test_a_truncated_body_never_opens(calls: Any, sealed_body: str, cut: int, end: bool) -> None:
    kept = sealed_body[: cut % len(sealed_body)] if end else sealed_body[1 + cut % len(sealed_body) :]
    assert calls.code(kept) in HOSTILE


@shared
@given(data=st.data())
def test_parts_of_two_true_bodies_never_make_a_third(calls: Any, data: st.DataObject) -> None:
    one, two = calls.seal(), calls.seal(task="shop.tasks.delete_account")
    fields = [[*body.split(".", 3)[:3], *body.split(".", 3)[3].rsplit(".", 2)] for body in (one, two)]
    chosen = [fields[data.draw(st.integers(0, 1))][n] for n in range(6)]
    mixed = ".".join(chosen)
    if mixed not in (one, two):
        assert calls.code(mixed) in HOSTILE


@shared
@given(body=st.text(anything, max_size=400))
def test_any_text_is_refused_and_none_breaks_the_reader(calls: Any, body: str) -> None:
    assert calls.code(body) == "MALFORMED"


@shared
@given(header=st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=300))
def test_any_header_is_refused_and_none_breaks_the_reader(calls: Any, ring: KeyRing, header: str) -> None:
    body = f"fq1.1.{ring.primary.key_id}.{{{header}}}." + "A" * 120 + "." + "A" * 43
    assert calls.code(body) in HOSTILE


name = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20)


@shared
@given(queue=name, environment=name, other=name)
def test_only_the_very_queue_and_environment_open(calls: Any, queue: str, environment: str, other: str) -> None:
    body = calls.seal(queue=queue, environment=environment)
    assert calls.open(body, queue=queue, environment=environment)
    for there in ({"queue": other, "environment": environment}, {"queue": queue, "environment": other}):
        if there != {"queue": queue, "environment": environment}:
            assert calls.code(body, **there) == "CONTEXT"
    # Not even when the two names together read the same.
    moved = {"queue": queue[:-1] or "x", "environment": environment + queue[-1:]}
    assert calls.code(body, **moved) == "CONTEXT"


@shared
@given(root=st.binary(min_size=32, max_size=32))
def test_no_other_key_opens_even_under_the_same_id(calls: Any, ring: KeyRing, sealed_body: str, root: bytes) -> None:
    record = make_record(root)
    body = sealed_body.replace(ring.primary.key_id, record.key_id, 1)
    assert calls.code(body, keyring=KeyRing([record])) == "BAD_TAG"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**256) + 1, 2**256 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=5)
    ),
    max_leaves=15,
)


@settings(shared, max_examples=100)
@given(args=st.lists(json_values, max_size=3), kwargs=st.dictionaries(name, json_values, max_size=3))
def test_whatever_is_sealed_comes_back(calls: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    sealed = {"args": args, "kwargs": kwargs, "p": {"i": "42", "k": "u"}}
    opened = calls.open(calls.seal(sealed=sealed))
    back = (opened.get("args", []), opened.get("kwargs", {}))  # what is empty is left out
    assert back == (args, kwargs)
    assert repr(back) == repr((args, kwargs))  # 1 is not True, and 0.0 is not -0.0


def test_a_replayed_body_is_the_same_call_and_opens_again(calls: Any, sealed_body: str) -> None:
    """Once only is the replay record's work, by the id: the envelope says honestly that it is the same."""
    assert calls.open(sealed_body) == calls.open(sealed_body)


def test_a_refusal_tells_the_outside_nothing(calls: Any, sealed_body: str) -> None:
    with pytest.raises(EnvelopeError, match="^rejected$"):
        calls.open(sealed_body[:-1] + ("Q" if sealed_body.endswith("A") else "A"))
