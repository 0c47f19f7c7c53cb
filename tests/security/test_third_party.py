"""What we seal another implementation opens, and what it seals we open: `third_party.py`, from docs/envelope.md alone.

`vectors/*.json` hold every step of its sealings, for whoever writes a third one.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from fnqueue.errors import EnvelopeError
from fnqueue.security import mandate as mandates
from fnqueue.security.envelope import seal, verify
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keystrings import new_key
from fnqueue.security.kms.datakeys import Kms
from fnqueue.security.principal import KINDS
from fnqueue.security.records import seal_record, unseal_record
from fnqueue.security.suites import Unsealable
from tests.security import third_party
from tests.security.conftest import NOW, Calls
from tests.security.rings import whole
from tests.security.third_party import Key, Refused, open_, open_record

SUITES = tuple(third_party.SUITES.values())
VECTORS: dict[str, dict[str, Any]] = {
    name: json.loads((third_party.FOLDER / f"{name}.json").read_text()) for name in SUITES
}
ENVELOPES = [
    pytest.param(VECTORS[name], n, id=f"{name}-{n}") for name in SUITES for n in range(len(VECTORS[name]["envelopes"]))
]


class Lender:
    """In the place of KMS, for both implementations."""

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        return third_party.lend(context["fnqueue:environment"], context["fnqueue:queue"])

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        data_key, known = self.generate(context)
        if wrapped != known:
            raise Unsealable
        return data_key


def ring_of(text: str) -> KeyRing:
    """One key, with its KMS where it has one."""
    record = KeyRing.from_text(text).primary
    if record.suite_name != "kms":
        return KeyRing([record])
    assert record.sealing is not None
    return KeyRing([replace(record, sealing=Kms(str(record.sealing.key_id), Lender()))])


def test_the_second_implementation_uses_nothing_of_ours() -> None:
    tree = ast.parse(Path(third_party.__file__).read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} & {"fnqueue", "tests", "itsdangerous"} == set()


@pytest.mark.parametrize("name", SUITES)
def test_the_files_are_what_the_second_implementation_writes(name: str) -> None:
    assert third_party.build(VECTORS[name]["suite"]) == VECTORS[name]


@pytest.mark.parametrize("name", SUITES)
def test_keys_are_read_and_derived_as_in_the_vectors(name: str) -> None:
    for vector in VECTORS[name]["keys"]:
        key = KeyRing.from_text(vector["text"]).primary
        assert (key.key_id, key.suite_name) == (vector["key_id"], name)
        assert key.sealing is not None
        assert key.sealing.key_id == vector["sealing_key_id"]
        derived = {purpose: raw.hex() for purpose, raw in key.purposes.items()}
        assert derived == {purpose: raw for purpose, raw in vector["derived"].items() if purpose != "ids"}
        assert key.hedge(b"cause") == third_party.mac(bytes.fromhex(vector["derived"]["ids"]), b"cause")


@pytest.mark.parametrize(("vectors", "n"), ENVELOPES)
def test_vectors_are_opened_by_us(vectors: dict[str, Any], n: int) -> None:
    vector = vectors["envelopes"][n]
    ring, header = ring_of(vectors["keys"][vector["key"]]["text"]), vector["header"]
    verified = verify(vector["body"], keyring=ring, environment=header["e"], queue=header["q"], now=header["ct"] + 3600)
    verified.check_times()
    assert verified.unseal() == vector["sealed"]
    assert (verified.id, verified.task, verified.traceparent) == (header["id"], header["t"], header.get("tp"))


@pytest.mark.parametrize("name", ["local", "signed", "kms"])
def test_vectors_are_sealed_by_us_byte_for_byte(name: str) -> None:
    """Where all randomness can be given; in suite split HPKE draws its own."""
    vector = VECTORS[name]["envelopes"][0]
    header = vector["header"]
    body = seal(
        keyring=ring_of(VECTORS[name]["keys"][vector["key"]]["text"]),
        environment=header["e"],
        queue=header["q"],
        id=header["id"],
        task=header["t"],
        created_at=header["ct"],
        expires_at=header["ex"],
        principal_kind=KINDS[header["pk"]],
        sealed=vector["sealed"],
        entropy=lambda count: bytes.fromhex(vector["random"])[:count],
    )
    assert body == vector["body"]


@pytest.mark.parametrize("name", SUITES)
def test_records_are_sealed_and_opened_as_in_the_vectors(name: str) -> None:
    for vector in VECTORS[name]["records"]:
        ring = KeyRing.from_text(VECTORS[name]["keys"][vector["key"]]["text"])
        data, sealed = bytes.fromhex(vector["data"]), bytes.fromhex(vector["sealed"])
        random = bytes.fromhex(vector["random"])
        assert seal_record(ring, vector["purpose"], vector["id"], data, entropy=lambda n, r=random: r[:n]) == sealed
        assert unseal_record(ring, vector["purpose"], vector["id"], sealed) == data


@pytest.mark.parametrize("name", [name for name in SUITES if name != "local"])
def test_mandates_are_signed_and_proved_as_in_the_vectors(name: str) -> None:
    (vector,) = VECTORS[name]["mandates"]
    ring = KeyRing.from_text(VECTORS[name]["keys"][vector["key"]]["text"])
    said, signer = mandates.prove(vector["text"], ring, vector["environment"])
    assert (json.loads(msgspec.json.encode(said)), signer) == (vector["claims"], ring.primary)
    assert mandates.issue(ring.primary, vector["environment"], said) == vector["text"]
    third = Key(VECTORS[name]["keys"][vector["key"]]["text"])
    assert third_party.read_mandate(third, vector["environment"], vector["text"]) == vector["claims"]
    with pytest.raises(Refused):
        third_party.read_mandate(third, "staging", vector["text"])


def test_with_a_key_of_suite_local_there_are_no_mandates() -> None:
    """Whoever verifies with it could write one."""
    assert VECTORS["local"]["mandates"] == []
    key = VECTORS["local"]["keys"][0]["text"]
    text = third_party.mandate(Key(key), "production", VECTORS["signed"]["mandates"][0]["claims"])["text"]
    with pytest.raises(EnvelopeError) as refused:
        mandates.prove(text, KeyRing.from_text(key), "production")
    assert refused.value.code == "KEY_NOT_FOR_TASK"


# ------------------------------------------------------------------ both ways, whatever is in it

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS, st.lists, max_leaves=20)
KEYS = {name: whole(name) for name in SUITES if name != "kms"}
KEYS["kms"] = new_key("5", kms="arn:aws:kms:eu-west-1:123456789012:key/mrk-1234")


@pytest.mark.parametrize("name", SUITES)
@settings(max_examples=40, deadline=None)
@examples(args=st.lists(VALUES, max_size=5), environment=TEXTS.filter(bool), queue=TEXTS.filter(bool))
def test_what_we_seal_the_other_opens(name: str, args: list[Any], environment: str, queue: str) -> None:
    ring = ring_of(KEYS[name])
    sealed = {"args": args, "p": {"i": "42", "k": "u"}}
    body = Calls(ring).seal(environment=environment, queue=queue, sealed=sealed)
    header, opened = open_(Key(KEYS[name]), body, environment=environment, queue=queue)
    assert opened == (sealed if args else {"p": sealed["p"]}), "what is empty is left out"
    assert header["t"] == "shop.tasks.send_invoice"
    with pytest.raises(Refused):
        open_(Key(KEYS[name]), body, environment=environment, queue=queue + "x")
    record = seal_record(ring, "result", queue, environment.encode())
    assert open_record(Key(KEYS[name]), "result", queue, record) == environment.encode()


@pytest.mark.parametrize("name", SUITES)
@settings(max_examples=40, deadline=None)
@examples(args=st.lists(VALUES, max_size=5), random=st.binary(min_size=32, max_size=32))
def test_what_the_other_seals_we_open(name: str, args: list[Any], random: bytes) -> None:
    calls = Calls(ring_of(KEYS[name]))
    header = {"id": "01kdvdnafmctfp40h7v7krgmef", "t": "a.b", "q": "billing", "e": "production"}
    header |= {"ct": int(NOW), "ex": int(NOW) + 900, "pk": "u"}  # type: ignore[dict-item]
    sealed = {"p": {"i": "42", "k": "u"}, "args": args}
    body = third_party.seal(Key(KEYS[name]), header, sealed, random)["body"]
    assert calls.open(body) == sealed
    edited = body[:-1] + ("A" if body[-1] != "A" else "Q")
    with pytest.raises(EnvelopeError):
        calls.open(edited)
