"""Keys of several parts: which go together, which are refused, and what a process may do with those it has."""

from __future__ import annotations

import pickle
import secrets
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given as examples
from hypothesis import strategies as st

from fnqueue.errors import KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.security.keyfile import ROLES, like, share
from fnqueue.security.keyring import KeyRing, entries, record_of
from fnqueue.security.keystrings import TYPES, new_key, parse_parts, write_part
from fnqueue.security.primitives import to_base32
from tests.security.rings import SIGNED, given, whole

PRIME = 2**255 - 19
KMS_ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def fault(text: str) -> str:
    with pytest.raises(SettingsInvalid) as refused:
        KeyRing.from_text(text)
    (only,) = refused.value.faults
    return only


def unchecked(kind: str, raw: bytes) -> str:
    """A key string with a right checksum around bytes that our own code would not write."""
    return f"fnqk1-{kind}-" + to_base32(raw + sha256(f"fnq1 check {kind}".encode() + raw).digest()[:3])


def fresh(kind: str) -> str:
    if kind == "verify":
        return write_part(kind, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    if kind == "seal":
        return write_part(kind, X25519PrivateKey.generate().public_key().public_bytes_raw())
    return write_part(kind, secrets.token_bytes(32))


# ------------------------------------------------------------------ typed strings


@pytest.mark.parametrize("kind", TYPES)
def test_a_part_gives_back_its_type_and_its_bytes(kind: str) -> None:
    text = fresh(kind)
    assert text.startswith(f"fnqk1-{kind}-")
    ((found, raw),) = parse_parts(text).items()
    assert (found, write_part(kind, raw)) == (kind, text)


@pytest.mark.parametrize(("public", "private"), [("verify", "sign"), ("seal", "open"), ("seal", "shared")])
def test_a_public_key_cannot_be_loaded_in_a_private_role(public: str, private: str) -> None:
    """Nor any part under the name of another: its type is in its checksum."""
    renamed = fresh(public).replace(public, private, 1)
    with pytest.raises(KeyInvalid, match="checksum does not fit"):
        parse_parts(renamed)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("other", TYPES)
def test_no_part_is_taken_under_the_name_of_another(kind: str, other: str) -> None:
    if kind != other:
        with pytest.raises(KeyInvalid, match="checksum"):
            parse_parts(fresh(kind).replace(kind, other, 1))


def small_order_points() -> dict[str, list[bytes]]:
    """The points of order 1, 2, 4 and 8, and their other spellings. (RFC 7748 section 6; Ed25519's by y.)"""
    eight = 0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0
    more = 0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F
    us = [0, 1, eight, more, PRIME - 1, PRIME, PRIME + 1]
    y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
    ys = [0, 1, PRIME - 1, y8, PRIME - y8, PRIME, PRIME + 1]
    signs = [0, 1 << 255]
    return {
        "seal": [u.to_bytes(32, "little") for u in us],
        "verify": [(y | sign).to_bytes(32, "little") for y in ys for sign in signs],
    }


@pytest.mark.parametrize("kind", ["verify", "seal"])
def test_public_keys_under_which_everybody_could_pass_are_refused(kind: str) -> None:
    for raw in small_order_points()[kind]:
        for refused in (lambda raw=raw: parse_parts(unchecked(kind, raw)), lambda raw=raw: write_part(kind, raw)):
            with pytest.raises(KeyInvalid, match="weak"):
                refused()


@pytest.mark.parametrize("kind", ["verify", "seal"])
def test_true_public_keys_are_never_taken_for_weak(kind: str) -> None:
    for _ in range(200):
        fresh(kind)


@pytest.mark.parametrize("kind", TYPES)
def test_weak_bytes_are_refused_in_every_part(kind: str) -> None:
    for raw in (bytes(32), bytes(range(32)), b"correct horse battery staple, ok"):
        with pytest.raises(KeyInvalid, match="weak"):
            parse_parts(unchecked(kind, raw))


# ------------------------------------------------------------------ parts that go together


def key(*kinds: str, suite: str = "split") -> str:
    return "+".join(fresh(kind) for kind in kinds) + f";suite={suite}"


@pytest.mark.parametrize(
    ("kinds", "options", "why"),
    [
        ("sign", "", "of which suite it is: ;suite=signed or suite=split"),
        ("sign", ";suite=none", "of which suite"),
        ("sign", ";suite=Split", "of which suite"),
        ("sign", ";suite=local", "no 'sign' part"),
        ("root", ";suite=split", "no 'root' part"),
        ("sign shared", ";suite=split", "no 'shared' part"),
        ("sign shared", ";suite=kms", "no 'shared' part"),
        ("sign", f";suite=split;kms={KMS_ARN}", "no 'kms' part"),
        ("root", f";kms={KMS_ARN}", "no 'kms' part"),
        ("sign", f";suite=kms;kms={KMS_ARN};kms={KMS_ARN}", "once each"),
        ("sign seal", ";suite=signed", "no 'seal' part"),
        ("sign root", ";suite=signed", "no 'root' part"),
        ("root state", "", "no 'state' part"),
        ("sign verify", ";suite=split", "one: the other half is in it"),
        ("sign seal open", ";suite=split", "one: the other half is in it"),
        ("sign sign", ";suite=split", "two 'sign' parts"),
        ("state", ";suite=split", "begins with a part sign or verify"),
        ("seal state", ";suite=split", "begins with a part sign or verify"),
        ("open", ";suite=split", "begins with a part sign or verify"),
        ("sign", ";suite=split;suite=split", "once each"),
        ("sign", ";suite=split;mint=perhaps", "mint= is yes or no"),
        ("sign", "+;suite=split", "does not begin with fnqk1-"),
        ("sign", "x;suite=split", "must have 56"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_with_the_reason(kinds: str, options: str, why: str) -> None:
    parts = [fresh(kind) for kind in kinds.split()]
    found = fault("+".join(parts) + options)
    assert why in found
    assert not any(part.split("-")[2] in found for part in parts)


def test_a_whole_key_of_each_suite_can_do_everything() -> None:
    for suite, digit in (("local", "1"), ("signed", "3"), ("split", "4"), ("kms", "5")):
        ring = KeyRing.from_text(whole(suite))
        assert ring.primary.suite == digit
        assert ring.primary.suite_name == suite
        assert ring.lacking("sign", "seal", "open", "state") == []
        assert ring.sealer is ring.primary


def test_a_new_key_says_its_suite_and_stands_in_one_word() -> None:
    assert whole("split").endswith(";suite=split")
    assert " " not in whole("signed")
    assert new_key().startswith("fnqk1-root-")


@pytest.mark.parametrize("suite", SIGNED)
@pytest.mark.parametrize(("role", "can"), [("web", "sign seal state"), ("worker", "open state"), ("dashboard", "")])
def test_a_role_is_given_what_it_needs_and_nothing_more(suite: str, role: str, can: str) -> None:
    whole_key = whole(suite)
    record = KeyRing.from_text(share(whole_key, role)).primary
    wanted = set(can.split()) | ({"seal", "open"} if suite in ("signed", "kms") and role != "dashboard" else set())
    assert {power for power in ("sign", "seal", "open", "state") if record.can(power)} - {"seal"} == wanted - {"seal"}
    assert record.can("seal") == (role == "web" or (role == "worker"))  # whoever opens knows the public half
    assert record.key_id == KeyRing.from_text(whole_key).primary.key_id, "all of them know it by one id"
    assert set(record.parts) <= set(ROLES[role])


@pytest.mark.parametrize("suite", SIGNED)
def test_states_limits_and_comments_are_shared_too(suite: str) -> None:
    text = f"# of May\n{whole(suite)};queues=mail # until June\nrevoked:{whole(suite)};kinds=user\n"
    shared = share(text, "worker")
    assert [record.state for record in KeyRing.from_text(shared)] == ["primary", "revoked"]
    assert [record.parts for record in KeyRing.from_text(shared)][1] == ("verify",), "a revoked key opens nothing"
    assert "# of May" in shared
    assert ";queues=mail # until June" in shared
    assert KeyRing.from_text(shared).records[1].limits.kinds == ("user",)


def test_a_root_key_cannot_be_shared_out() -> None:
    with pytest.raises(KeyInvalid, match="one secret, which every process must have whole.*--suite split"):
        share(whole("local"), "worker")


def test_what_a_process_lacks_is_said_with_the_part_to_add() -> None:
    ring = KeyRing.from_text(given(whole("split"), "web"), "accept:" + key("verify"))
    web, other = ring.records
    assert ring.lacking("sign", "seal", "state") == [other.lacks("sign", "seal", "state")]
    first, second = ring.lacking("open", "state")
    assert f"key {web.key_id} has only the parts sign, seal, state" in first
    assert "needs fnqk1-open-... of it" in first
    assert "needs fnqk1-open-... and fnqk1-state-... of it" in second
    assert "fnqueue keys split-public" in second
    with pytest.raises(KeysMissing, match="needs fnqk1-state-"):
        other.mac_for("result")
    with pytest.raises(KeysMissing, match="needs fnqk1-state-"):
        other.hedge(b"cause")


@pytest.mark.parametrize("suite", SIGNED)
def test_state_keys_come_from_the_state_part_alone(suite: str) -> None:
    """So that web nodes and workers share results and tokens, whoever signs."""
    one, two = whole(suite), whole(suite)
    state = one.split(";")[0].split("+")[-1]
    other = two.replace(two.split(";")[0].split("+")[-1], state)
    first, second = record_of(one), record_of(other)
    assert first.key_id != second.key_id
    assert dict(first.purposes) == dict(second.purposes)
    assert first.hedge(b"cause") == second.hedge(b"cause")
    assert len({*first.purposes.values(), first.hedge(b"")}) == 7


def test_the_same_parts_give_other_keys_in_another_use() -> None:
    """One secret under three types: nothing derived from one use helps in another."""
    raw = secrets.token_bytes(32)
    root = record_of(write_part("root", raw))
    signed = record_of("+".join(write_part(kind, raw) for kind in ("sign", "shared", "state")) + ";suite=signed")
    assert not set(root.purposes.values()) & set(signed.purposes.values())
    assert len({root.key_id, signed.key_id, signed.sealing.key_id}) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("suite", SIGNED)
def test_no_repr_shows_a_part_and_no_key_is_pickled(suite: str) -> None:
    text = whole(suite)
    ring = KeyRing.from_text(text)
    secrets_of = [part.split("-")[2][:12] for part in text.split(";")[0].split("+")]
    context = ring.primary.context("production", "billing")
    for thing in (ring, ring.primary, ring.primary.sealing, context, context.tag, entries(text)):
        assert not any(secret in repr(thing) for secret in secrets_of)
    for thing in (ring.primary, ring, ring.primary.sealing):
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(thing)


@examples(
    st.lists(st.sampled_from([*(fresh(kind) for kind in TYPES), "", "x", "fnqk1-"]), max_size=5), st.text(max_size=20)
)
def test_any_parts_give_a_ring_or_faults_and_never_another_error(parts: list[str], suite: str) -> None:
    for named in (suite, "signed", "split", "local"):
        try:
            KeyRing.from_text("+".join(parts) + f";suite={named}")
        except SettingsInvalid:
            pass


@pytest.mark.parametrize("limits", [";queues=mail", ";tasks=mail.*;kinds=user|service", ";mint=no"])
def test_a_key_made_like_another_may_do_no_more_than_it(limits: str) -> None:
    """Else a worker, whose own key it becomes, would defer what the web node must not."""
    text = new_key("4") + limits
    model = KeyRing.from_text(text).primary
    made = KeyRing.from_text(like(text, model.key_id)).records[1]
    assert made.limits == model.limits
    asked = KeyRing.from_text(like(text, model.key_id, ";mint=no")).records[1]
    assert asked.limits == replace(model.limits, mint=False)
