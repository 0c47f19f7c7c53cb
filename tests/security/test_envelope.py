"""The envelope, step by step: what opens, and which code each refusal has."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from itsdangerous import Signer

from fnqueue.clock import ManualClock
from fnqueue.errors import ArgumentError, EnvelopeError, KeyInvalid
from fnqueue.security.envelope import Verified, peek, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRecord, KeyRing, Limits, make_record, new_key, parse_key
from fnqueue.security.primitives import from_base64, lp, to_base64
from fnqueue.security.principal import KINDS, Principal


def parts(body: str) -> tuple[str, str, str]:
    """(all before the ciphertext, ciphertext, tag)"""
    prefix, ciphertext, tag = body.rsplit(".", 2)
    return prefix, ciphertext, tag


def retagged(ring: KeyRing, text: str, *, environment: str = "production", queue: str = "billing") -> str:
    """`text` with the tag that a holder of the key could give it."""
    key = ring.primary
    return f"{text}.{key.context(environment, queue).tag.make(text.encode()).decode()}"


def with_header(ring: KeyRing, body: str, header: str) -> str:
    prefix, ciphertext, _ = parts(body)
    return retagged(ring, f"{prefix[: prefix.index('{')]}{header}.{ciphertext}")


def with_frame(ring: KeyRing, body: str, frame: bytes) -> str:
    """The body with another frame inside, sealed and tagged as our own code does it."""
    prefix, _, _ = parts(body)
    key = ring.primary
    aad = key.context("production", "billing").ctx + prefix.encode()
    assert key.sealing is not None
    ciphertext = key.sealing.to_seal("production", "billing").seal(aad, frame, bytes(32))
    return retagged(ring, f"{prefix}.{to_base64(ciphertext).decode()}")


def frame_of(content: bytes) -> bytes:
    framed = b"\x00" + len(content).to_bytes(4, "big") + content
    return framed + bytes(-len(framed) % 64)


# ------------------------------------------------------------------ what opens


def test_a_sealed_call_opens_to_what_was_sealed(calls: Any) -> None:
    sealed = {
        "args": [1, "zwei", None, {"$date": "2026-01-01"}, 2**255, -1.5],
        "kwargs": {"ü": [True, False]},
        "p": Principal("42", tenant="acme", roles=frozenset({"staff"})).to_wire(),
        "bg": {"request": "r1"},
        "w": ["workflow", "node"],
        "dd": "invoice:42",
        "ry": [3, 1.5, 2, 900, 1],
    }
    assert calls.open(calls.seal(sealed=sealed)) == sealed


def test_what_the_header_says_can_be_read_before_and_after_the_proof(calls: Any, ring: KeyRing) -> None:
    id = new_id(calls.now)
    body = calls.seal(id=id, not_before=calls.now + 5.5, traceparent="00-ab-cd-01", root=id)
    verified = verify(body, keyring=ring, environment="production", queue="billing", now=calls.now)
    assert peek(body).id == verified.id == verified.root == id
    assert (verified.task, verified.queue, verified.environment) == ("shop.tasks.send_invoice", "billing", "production")
    assert (verified.principal_kind, verified.traceparent) == ("user", "00-ab-cd-01")
    assert verified.created_at <= calls.now < verified.created_at + 1
    assert verified.not_before == int(calls.now) + 6  # never early
    assert verified.expires_at >= calls.now + 3600


def test_the_body_is_ascii_and_nothing_sealed_can_be_seen_in_it(calls: Any) -> None:
    body = calls.seal(task="größe.maß", environment="prüf\x7fung", queue="a{}.b")
    assert body.isascii()
    assert body.isprintable()
    assert calls.secret not in body
    assert '"42"' not in body
    opened = calls.open(body, environment="prüf\x7fung", queue="a{}.b")
    assert opened["args"] == [7, calls.secret]


def test_a_call_of_500_bytes_becomes_a_body_of_less_than_1000(calls: Any) -> None:
    payload = {"args": ["x" * 455], "p": {"i": "42", "k": "u"}}
    assert len(json.dumps(payload)) >= 490
    assert len(calls.seal(sealed=payload)) < 1000


def test_two_sealings_of_one_call_differ_even_when_randomness_repeats(calls: Any) -> None:
    id = new_id(calls.now)
    assert calls.seal(id=id) != calls.seal(id=id)
    stuck = {"id": id, "entropy": bytes}  # bytes(32): always zeros
    assert calls.seal(**stuck) == calls.seal(**stuck)
    nonces = {
        from_base64(parts(calls.seal(**stuck, task=task))[1].encode())[:24] for task in ("shop.a", "shop.b", "shop.c")
    }
    assert len(nonces) == 3


def test_the_tag_is_the_one_of_itsdangerous(calls: Any, ring: KeyRing) -> None:
    key_text = new_key()
    record = make_record(parse_key(key_text))
    body = calls.seal(keyring=KeyRing([record]))
    ctx = lp(b"fnq1", b"production", b"billing")
    prk = _reference_mac(b"fnqueue v1 root", parse_key(key_text))
    signer = Signer(
        _reference_mac(prk, b"sig\x01"), salt=b"fnq1 hmac" + ctx, key_derivation="hmac", digest_method=sha256
    )
    text, _, tag = body.rpartition(".")
    assert signer.sign(text).decode() == body
    assert signer.unsign(body).decode() == text
    assert signer.get_signature(text).decode() == tag


def _reference_mac(key: bytes, data: bytes) -> bytes:
    import hmac

    return hmac.new(key, data, sha256).digest()


def test_the_padding_hides_the_length_of_short_arguments(calls: Any) -> None:
    lengths = {len(calls.seal(sealed={"args": ["x" * n], "p": {"i": "4", "k": "u"}})) for n in range(20)}
    assert len(lengths) <= 2


def test_header_names_may_stand_in_any_order(calls: Any, ring: KeyRing) -> None:
    body = calls.seal()
    header = json.loads(body[body.index("{") : body.index("}") + 1])
    turned = json.dumps(dict(reversed(header.items())), separators=(",", ":"))
    verified = verify(
        with_header(ring, body, turned), keyring=ring, environment="production", queue="billing", now=calls.now
    )
    assert verified.id == header["id"]
    with pytest.raises(EnvelopeError) as refused:
        verified.unseal()  # the header is part of what is sealed
    assert refused.value.code == "UNSEAL"


# ------------------------------------------------------------------ 1, 2: size and grammar


@pytest.mark.parametrize(
    "change",
    [
        lambda body: "",
        lambda body: "fq1",
        lambda body: "." * 5,
        lambda body: " " + body,
        lambda body: body + " ",
        lambda body: body + "\n",
        lambda body: body + "=",
        lambda body: body.replace("fq1", "fq2", 1),
        lambda body: body.replace("fq1.1", "fq1.\u0661", 1),  # a digit, but not one of ASCII
        lambda body: body.replace("fq1.1", "fq1.\uff11", 1),
        lambda body: body.replace("fq1.1", "fq1.11", 1),
        lambda body: body.replace("fq1.1", "fq1.", 1),
        lambda body: body.replace("{", "{\n", 1),
        lambda body: body.replace("{", "{\u00e9", 1),
        lambda body: body.replace("billing", "b\udc80lling", 1),
        lambda body: body[:-43],
        lambda body: body[:-1],
        lambda body: body.replace("}.", "}..", 1),
        lambda body: body[: body.index("}") + 2] + "." + body[-43:],
        lambda body: body.replace("{", "{" + " " * 2048, 1),
        lambda body: body[:7] + body[8:],  # a key id of seven characters
        lambda body: body.upper(),
    ],
)
def test_text_that_is_not_of_the_grammar_is_malformed(calls: Any, sealed_body: str, change: Any) -> None:
    assert calls.code(change(sealed_body)) == "MALFORMED"


@pytest.mark.parametrize("junk", ["%", "~", "=", "+", "/", " ", "\n", "é", "."])
def test_junk_in_base64_that_lenient_decoders_skip_is_malformed(calls: Any, sealed_body: str, junk: str) -> None:
    text, ciphertext, tag = parts(sealed_body)
    assert calls.code(f"{text}.{ciphertext[:40]}{junk}{ciphertext[40:]}.{tag}") == "MALFORMED"
    assert calls.code(f"{text}.{ciphertext}.{tag[:20]}{junk}{tag[20:]}") == "MALFORMED"
    assert calls.code(f"{text}.{ciphertext}.{tag[:20]}{junk}{tag[21:]}") in ("MALFORMED", "BAD_TAG")


def test_a_second_spelling_of_the_same_base64_is_malformed(calls: Any, sealed_body: str) -> None:
    # 43 characters hold 258 bits of which 2 are no part of the tag: 4 spellings give the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(sealed_body[-1])
    twins = [sealed_body[:-1] + alphabet[last ^ bits] for bits in (1, 2, 3)]
    assert [from_base64(twin[-43:].encode()) for twin in twins] == [from_base64(sealed_body[-43:].encode())] * 3
    assert [calls.code(twin) for twin in twins] == ["MALFORMED"] * 3


def test_a_body_above_the_size_is_malformed_and_one_at_it_is_not(calls: Any, sealed_body: str) -> None:
    assert calls.open(sealed_body, max_body_bytes=len(sealed_body))
    assert calls.code(sealed_body, max_body_bytes=len(sealed_body) - 1) == "MALFORMED"


def rubbish(kid: str) -> list[str]:
    mega = 1_048_576
    head = f"fq1.1.{kid}."
    return [
        "A" * mega,
        "." * mega,
        "fq1." * (mega // 4),
        head + "{" * (mega - 20),
        head + "{" + "}." * ((mega - 30) // 2),
        head + "{}." + "A" * (mega - 100),
        head + "{}." + "A" * (mega - 100) + "." + "A" * 42,
        head + "{" + "}.A" * 600 + "A" * (mega - 3000) + "!",
        head + "{" + '"' * 2000 + "}." + "A" * (mega - 3000) + "." + "A" * 43,
        head + '{"id":' + "[" * 2000 + "}." + "A" * 400 + "." + "A" * 43,
        "\u00e9" * (mega // 2),
    ]


def test_a_megabyte_of_rubbish_is_refused_in_milliseconds(calls: Any, sealed_body: str) -> None:
    for text in rubbish(sealed_body.split(".")[2]):
        best = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            assert calls.code(text) in ("MALFORMED", "BAD_TAG")
            best = min(best, time.perf_counter() - started)
        assert best < 0.25, f"{text[:40]!r} took {best:.3f} s"  # backtracking would take minutes


# ------------------------------------------------------------------ 3: the key


def test_a_key_that_is_not_in_the_ring_is_unknown(calls: Any, sealed_body: str, other_ring: KeyRing) -> None:
    assert calls.code(sealed_body, keyring=other_ring) == "UNKNOWN_KEY"


def test_a_revoked_key_opens_nothing(calls: Any) -> None:
    old, new = new_key(), new_key()
    body = calls.seal(keyring=KeyRing.from_text(old))
    assert calls.open(body, keyring=KeyRing.from_text(f"primary:{new} accept:{old}"))
    assert calls.code(body, keyring=KeyRing.from_text(f"primary:{new} revoked:{old}")) == "REVOKED_KEY"


@pytest.mark.parametrize("suite", ["0", "2", "3", "4", "5", "6", "9"])
def test_only_the_suite_of_the_key_itself_is_taken(calls: Any, ring: KeyRing, sealed_body: str, suite: str) -> None:
    assert calls.code("fq1." + suite + sealed_body[5:]) == "SUITE"


def test_a_key_of_another_suite_opens_nothing_of_suite_1(calls: Any, ring: KeyRing, sealed_body: str) -> None:
    """The same id and the same bytes, so that only the suite of the record differs."""
    assert calls.code(sealed_body, keyring=KeyRing([replace(ring.primary, suite="3")])) == "SUITE"


def test_signing_again_with_another_key_of_the_ring_does_not_help(calls: Any) -> None:
    one, two = new_key(), new_key()
    ring = KeyRing.from_text(one, two)
    body = calls.seal(keyring=ring)
    second = KeyRing.from_text(f"primary:{two} accept:{one}")
    forged = body.replace(ring.primary.key_id, second.primary.key_id, 1).rpartition(".")[0]
    assert calls.code(forged + body[-44:], keyring=ring) == "BAD_TAG"
    assert calls.code(retagged(second, forged), keyring=ring) == "UNSEAL"  # with that key stolen, still sealed


def limited(**limits: Any) -> KeyRing:
    record: KeyRecord = make_record(parse_key(new_key()), limits=Limits(**limits))
    return KeyRing([record])


@pytest.mark.parametrize(
    "limits",
    [
        {"queues": ("mail",)},
        {"tasks": ("shop.tasks.other",)},
        {"tasks": ("mail.*",)},
        {"kinds": ("service", "schedule")},
    ],
)
def test_a_key_opens_and_seals_only_inside_its_limits(calls: Any, limits: dict[str, Any]) -> None:
    free, bound = limited(), limited(**limits)
    with pytest.raises(KeyInvalid):
        calls.seal(keyring=bound)
    # The same key without limits, as a thief would use it.
    thief = KeyRing([make_record(parse_key(key := new_key()))])
    receiver = KeyRing([make_record(parse_key(key), limits=Limits(**limits))])
    assert calls.code(calls.seal(keyring=thief), keyring=receiver) == "KEY_NOT_FOR_TASK"
    assert calls.open(calls.seal(keyring=free), keyring=free)


def test_a_key_within_its_limits_works(calls: Any) -> None:
    ring = limited(queues=("billing",), tasks=("shop.tasks.*",), kinds=("user",))
    assert calls.open(calls.seal(keyring=ring), keyring=ring)


# ------------------------------------------------------------------ 4, 5, 6: tag, header, context


def test_a_call_relabelled_as_another_task_is_refused(calls: Any, sealed_body: str) -> None:
    assert calls.code(sealed_body.replace("send_invoice", "delete_account", 1)) == "BAD_TAG"


def test_the_header_of_one_call_does_not_fit_the_arguments_of_another(calls: Any) -> None:
    (prefix, _, tag), (_, ciphertext, other_tag) = parts(calls.seal()), parts(calls.seal(task="shop.tasks.other"))
    assert calls.code(f"{prefix}.{ciphertext}.{tag}") == "BAD_TAG"
    assert calls.code(f"{prefix}.{ciphertext}.{other_tag}") == "BAD_TAG"


def test_a_call_moved_to_another_queue_or_environment_says_which(calls: Any, ring: KeyRing, sealed_body: str) -> None:
    for here in ({"queue": "mail"}, {"environment": "staging"}, {"queue": "mail", "environment": "staging"}):
        with pytest.raises(EnvelopeError) as refused:
            calls.open(sealed_body, **here)
        assert refused.value.code == "CONTEXT"
        for name in ("billing", "production", *here.values()):
            assert repr(name) in refused.value.detail
        assert "there its tag is true" in refused.value.detail


def test_a_forged_call_for_elsewhere_is_told_from_a_misconfigured_worker(calls: Any, sealed_body: str) -> None:
    with pytest.raises(EnvelopeError) as refused:
        calls.open(sealed_body.replace('"e":"production"', '"e":"staging"', 1))
    assert refused.value.code == "CONTEXT"
    assert "false too" in refused.value.detail


def test_a_dead_letter_queue_has_a_context_of_its_own(calls: Any, sealed_body: str) -> None:
    assert calls.code(sealed_body, queue="billing__dead") == "CONTEXT"


def test_a_true_tag_over_a_header_that_names_another_queue_is_malformed(calls: Any, ring: KeyRing) -> None:
    body = calls.seal(queue="mail")
    lying = retagged(ring, body.rpartition(".")[0])
    assert calls.code(lying) == "MALFORMED"


GOOD = (
    '{"id":"01kdvdnafmctfp40h7v7krgmef","t":"shop.a","q":"billing","e":"production",'
    '"ct":1767225600,"ex":1767229200,"pk":"u"}'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"t":"shop.a"', '"t":"shop.a","t":"shop.b"'),
        ('"t":"shop.a"', '"t":"shop.a","\\u0074":"shop.b"'),
        ('"t":"shop.a"', '"t":"shop.a","zz":1'),
        ('"t":"shop.a",', ""),
        ('"t":"shop.a"', '"t":""'),
        ('"t":"shop.a"', '"t":7'),
        ('"t":"shop.a"', '"t":["shop.a"]'),
        ('"t":"shop.a"', '"t": "shop.a"'),
        ("{", "{ "),
        ('"ct":1767225600', '"ct":"1767225600"'),
        ('"ct":1767225600', '"ct":1767225600.0'),
        ('"ct":1767225600', '"ct":1e9'),
        ('"ct":1767225600', '"ct":-1'),
        ('"ct":1767225600', '"ct":true'),
        ('"ct":1767225600', '"ct":null'),
        ('"ct":1767225600', f'"ct":{2**64}'),
        ('"ct":1767225600', '"ct":NaN'),
        ('"ex":1767229200,', ""),
        ('"pk":"u"', '"pk":"z"'),
        ('"pk":"u"', '"pk":"user"'),
        ('"pk":"u"}', '"pk":"u",}'),
        ('"pk":"u"}', '"pk":"u"}}'),
        ('"pk":"u"}', '"pk":"u"}{}'),
        ("01kdvdnafmctfp40h7v7krgmef", "01kdvdnafmctfp40h7v7krgme"),
        ("01kdvdnafmctfp40h7v7krgmef", "01kdvdnafmctfp40h7v7krgmel"),
        ("01kdvdnafmctfp40h7v7krgmef", "../../../../../etc/passwd1"),
        ("01kdvdnafmctfp40h7v7krgmef", "01KDVDNAFMCTFP40H7V7KRGMEF"),
    ],
)
def test_a_header_that_a_key_holder_wrote_wrongly_is_malformed(
    calls: Any, ring: KeyRing, sealed_body: str, old: str, new: str
) -> None:
    assert old in GOOD
    assert calls.code(with_header(ring, sealed_body, GOOD)) == "UNSEAL"  # so the header itself is right
    assert calls.code(with_header(ring, sealed_body, GOOD.replace(old, new, 1))) == "MALFORMED"


def test_a_header_of_2048_characters_is_taken_and_one_more_is_not(calls: Any) -> None:
    room = 2048 - len(peek_text(calls.seal(traceparent="")))
    at_the_limit = calls.seal(traceparent="x" * room)
    assert len(peek_text(at_the_limit)) == 2048
    assert calls.open(at_the_limit)
    with pytest.raises(ValueError, match="2,048"):
        calls.seal(traceparent="x" * (room + 1))


def peek_text(body: str) -> str:
    return body[body.index("{") : body.index("}.") + 1]


# ------------------------------------------------------------------ 7: time


def test_a_call_runs_until_it_expires_and_not_a_moment_longer(calls: Any, ring: KeyRing) -> None:
    clock = ManualClock(1_767_225_600)
    body = calls.seal(created_at=clock.now(), expires_at=clock.now() + 900)
    clock.advance(seconds=899.999)
    assert calls.open(body, now=clock.now())
    clock.advance(seconds=0.001)
    assert calls.code(body, now=clock.now()) == "EXPIRED"
    clock.advance(days=400)
    assert calls.code(body, now=clock.now()) == "EXPIRED"


def test_a_clock_that_is_five_minutes_off_is_forgiven_and_more_is_not(calls: Any) -> None:
    body = calls.seal(created_at=calls.now, expires_at=calls.now + 3600)
    made = int(calls.now)
    assert calls.open(body, now=made - 300)
    assert calls.code(body, now=made - 300.001) == "FROM_FUTURE"


def test_a_call_does_not_run_before_its_time_but_for_a_minute_of_skew(calls: Any) -> None:
    due = int(calls.now) + 1800
    body = calls.seal(not_before=due)
    assert calls.code(body, now=due - 60.001) == "NOT_YET"
    assert calls.open(body, now=due - 60)


@pytest.mark.parametrize(
    "changes", [{"expires_at": 1}, {"not_before": 1_767_225_600 + 7200}, {"id": "x"}, {"id": "../" * 9}]
)
def test_a_header_that_contradicts_itself_is_not_sealed(calls: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="header"):
        calls.seal(**changes)


# ------------------------------------------------------------------ 8: served here?


def test_a_task_that_is_not_served_here_is_told_before_it_is_read(calls: Any, sealed_body: str) -> None:
    assert calls.code(sealed_body, serves=lambda task: task == "shop.tasks.other") == "TASK_NOT_SERVED"


def test_a_refusal_by_time_comes_before_one_by_task(calls: Any, sealed_body: str) -> None:
    assert calls.code(sealed_body, now=calls.now + 9999, serves=lambda task: False) == "EXPIRED"


# ------------------------------------------------------------------ 10, 11: unseal and frame


def test_a_ciphertext_that_does_not_open_under_a_true_tag_is_unseal(
    calls: Any, ring: KeyRing, sealed_body: str
) -> None:
    prefix, ciphertext, _ = parts(sealed_body)
    for changed in ("AAAA" + ciphertext[4:], ciphertext[:-8], "AAAA", ciphertext[:32]):
        assert calls.code(retagged(ring, f"{prefix}.{changed}")) == "UNSEAL"


P = b'"p":{"i":"42","k":"u"}'


def test_a_frame_made_by_hand_opens(calls: Any, ring: KeyRing, sealed_body: str) -> None:
    assert calls.open(with_frame(ring, sealed_body, frame_of(b'{"args":[1],' + P + b"}")))["args"] == [1]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(63),
        bytes(64),
        frame_of(b"{" + P + b"}")[:-1],
        frame_of(b"{" + P + b"}") + bytes(64),  # more padding than is needed
        frame_of(b"{" + P + b"}")[:-1] + b"\x01",  # padding that is not zeros
        b"\x01" + frame_of(b"{" + P + b"}")[1:],
        b"\x02" + frame_of(b"{" + P + b"}")[1:],
        b"\x00\xff\xff\xff\xff" + bytes(59),
        b"\x00\x00\x00\x00\x3c" + bytes(59),
        frame_of(b""),
        frame_of(b"null"),
        frame_of(b"[]"),
        frame_of(b"{}"),
        frame_of(b"{" + P),
        frame_of(b"{" + P + b"}}"),
        frame_of(b"{" + P + b',"zz":1}'),
        frame_of(b'{"p":null}'),
        frame_of(b'{"p":{"i":"","k":"u"}}'),
        frame_of(b'{"p":{"i":7,"k":"u"}}'),
        frame_of(b'{"p":{"i":"7","k":"u","admin":true}}'),
        frame_of(b'{"p":{"i":"7","k":"u","r":"staff"}}'),
        frame_of(b'{"p":{"i":"7","k":"u","r":[""]}}'),
        frame_of(b'{"p":{"i":"7","k":"u","a":1e300}}'),
        frame_of(b'{"p":{"i":"7","k":"s"}}'),  # the header says a user
        frame_of(b"{" + P + b',"args":{}}'),
        frame_of(b"{" + P + b',"args":null}'),
        frame_of(b"{" + P + b',"kwargs":[]}'),
        frame_of(b"{" + P + b',"w":["one"]}'),
        frame_of(b"{" + P + b',"bg":{"a":1}}'),
        frame_of(b"{" + P + b',"args":[NaN]}'),
        frame_of(b"{" + P + b',"args":[Infinity]}'),
        frame_of(b"{" + P + b',"args":[1e999]}'),
        frame_of(b"{" + P + b',"args":["\xff"]}'),
        frame_of(b"{" + P + b',"args":["\\ud800"]}'),
        frame_of(b"{" + P + b',"args":[' + b"9" * 5000 + b"]}"),
        frame_of(b"{" + P + b',"args":[' + str(2**256).encode() + b"]}"),
        frame_of(b"{" + P + b',"args":[' + str(-(2**256)).encode() + b"]}"),
        frame_of(b"{" + P + b',"args":[' + b"[" * 33 + b"]" * 33 + b"]}"),
        frame_of(b"{" + P + b',"args":[' + b"[" * 5000 + b"]" * 5000 + b"]}"),
        frame_of(b"{" + P + b',"kwargs":{"a":' + b'{"a":' * 33 + b"1" + b"}" * 33 + b"}}"),
        frame_of(b"{" + P + b',"args":[[' + b"1," * 10_000 + b"1]]}"),
        frame_of(b"{" + P + b',"args":[' + b"1," * 10_000 + b"1]}"),
        frame_of(b"{" + P + b',"args":[[{}' + b",{}" * 10_000 + b"]]}"),
    ],
)
def test_what_a_key_holder_framed_wrongly_is_frame(calls: Any, ring: KeyRing, sealed_body: str, frame: bytes) -> None:
    assert calls.code(with_frame(ring, sealed_body, frame)) == "FRAME"


@pytest.mark.parametrize(
    "args",
    [
        [2**256 - 1, -(2**256) + 1],
        [eval("[" * 32 + "'deep'" + "]" * 32)],
        [list(range(10_000))],
        ["7" * 200_000],
        ["[" * 5000 + "," * 20_000],
        [None] * 100,
        [1.7976931348623157e308, 5e-324],
    ],
    ids=["256 bits", "32 levels", "10,000 values", "digits in text", "marks in text", "nothing", "extreme floats"],
)
def test_arguments_at_the_limits_travel(calls: Any, args: list[Any]) -> None:
    assert calls.open(calls.seal(sealed={"args": args, "p": {"i": "42", "k": "u"}}))["args"] == args


def nested(levels: int, *, tagged: bool) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [{"$tuple": value} if tagged else value]
    return value


def test_a_tag_of_the_codec_is_no_level_and_no_value_of_its_own(calls: Any) -> None:
    wide = [{"$decimal": "1"} for _ in range(10_000)]
    for args in ([nested(32, tagged=True)], [wide]):
        assert calls.open(calls.seal(sealed={"args": args, "p": {"i": "42", "k": "u"}}))["args"] == args


@pytest.mark.parametrize(
    "sealed",
    [
        {"args": [float("nan")]},
        {"args": [[float("inf")]]},
        {"args": [2**256]},
        {"args": [nested(33, tagged=False)]},
        {"args": [nested(2000, tagged=False)]},
        {"args": [[0] * 10_001]},
        {"args": [0] * 10_001},
        {"args": [{1: 2}, object()]},
        {"kwargs": {"a": {"b": float("-inf")}}},
        {"arguments": []},
        {"p": {"i": "42", "k": "s"}},
    ],
)
def test_what_no_worker_would_open_is_not_sealed(calls: Any, sealed: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"shop\.tasks\.send_invoice") as refused:
        calls.seal(sealed={"p": {"i": "42", "k": "u"}} | sealed)
    assert refused.value.task == "shop.tasks.send_invoice"


@pytest.mark.parametrize("kind", list(KINDS.values()))
def test_every_kind_of_principal_travels(calls: Any, kind: Any) -> None:
    principal = Principal("42", kind=kind)
    body = calls.seal(principal_kind=kind, sealed={"p": principal.to_wire()})
    assert Principal.from_wire(calls.open(body)["p"]) == principal


def test_a_reader_may_verify_without_reading(calls: Any, ring: KeyRing, sealed_body: str) -> None:
    verified = verify(sealed_body, keyring=ring, environment="production", queue="billing", now=calls.now + 10**9)
    assert isinstance(verified, Verified)  # even expired: tools look at what is too old to run
    assert verified.task == "shop.tasks.send_invoice"
