"""Test vectors for other languages, and a second implementation that wrote them.

`vectors.json` has every step from the root key to the body, with fixed randomness. What stands below is written
from the format's description with the standard library and `cryptography` alone, and shares no line with
fnqueue. Write the file anew with: python tests/security/test_vectors.py > tests/security/vectors.json
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

FILE = Path(__file__).with_name("vectors.json")
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


# ------------------------------------------------------------------ the second implementation


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key: bytes, info: bytes) -> bytes:
    return HKDFExpand(SHA256(), 32, info).derive(key)


def lp(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def b32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def keys_of(root: bytes) -> dict[str, Any]:
    prk = mac(b"fnqueue v1 root", root)
    state = mac(b"fnqueue v1 state", expand(prk, b"state"))
    derived = {name: expand(prk, name.encode()) for name in ("sig", "seal", "hedge")}
    derived |= {
        name: expand(state, name.encode()) for name in ("result", "schedule", "blob", "token", "group", "audit")
    }
    return {
        "root": root.hex(),
        "key": "fnqk1-root-" + b32(root + hashlib.sha256(b"fnq1 check root" + root).digest()[:3]),
        "prk": prk.hex(),
        "key_id": b32(hashlib.sha256(b"fnq1 kid" + prk).digest()[:5]),
        "derived": {name: key.hex() for name, key in derived.items()},
    }


def envelope(keys: dict[str, Any], header: dict[str, Any], sealed: dict[str, Any], random: bytes) -> dict[str, Any]:
    derived = {name: bytes.fromhex(key) for name, key in keys["derived"].items()}
    payload = json.dumps(sealed, separators=(",", ":"), ensure_ascii=False).encode()
    frame = b"\x00" + len(payload).to_bytes(4, "big") + payload
    frame += bytes(-len(frame) % 64)
    ctx = lp(b"fnq1", header["e"].encode(), header["q"].encode())
    prefix = f"fq1.1.{keys['key_id']}.{json.dumps(header, separators=(',', ':'))}"
    aad = ctx + prefix.encode()
    nonce = mac(derived["hedge"], random + lp(aad) + frame)[:24]
    message_key = expand(derived["seal"], b"fnq1 msg" + b"1" + nonce)
    ciphertext = nonce + AESGCM(message_key).encrypt(bytes(12), frame, aad)
    text = f"{prefix}.{b64(ciphertext)}"
    tag_key = mac(derived["sig"], b"fnq1 hmac" + ctx)
    return {
        "header": header,
        "sealed": sealed,
        "random": random.hex(),
        "ctx": ctx.hex(),
        "frame": frame.hex(),
        "nonce": nonce.hex(),
        "message_key": message_key.hex(),
        "tag_key": tag_key.hex(),
        "body": f"{text}.{b64(mac(tag_key, text.encode()))}",
    }


def record(keys: dict[str, Any], purpose: str, id: str, data: bytes, random: bytes) -> dict[str, Any]:
    key = bytes.fromhex(keys["derived"][purpose])
    aad = lp(b"fnq1 record", purpose.encode(), id.encode(), keys["key_id"].encode())
    nonce = mac(key, b"fnq1 hedge" + random + lp(aad) + data)[:24]
    ciphertext = AESGCM(expand(key, b"fnq1 record" + nonce)).encrypt(bytes(12), data, aad)
    sealed = b"\x01" + keys["key_id"].encode() + nonce + ciphertext
    return {"purpose": purpose, "id": id, "data": data.hex(), "random": random.hex(), "sealed": sealed.hex()}


def derived_id(keys: dict[str, Any], ms: int, cause: str, step: str) -> dict[str, Any]:
    tail = mac(bytes.fromhex(keys["derived"]["hedge"]), lp(b"fnq1 id", cause.encode(), step.encode()))[:10]
    number, text = ms << 80 | int.from_bytes(tail, "big"), ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        text = CROCKFORD[digit] + text
    return {"cause_milliseconds": ms, "cause": cause, "step": step, "id": text}


def group(keys: dict[str, Any], queue: str, name: str) -> dict[str, str]:
    named = b32(mac(bytes.fromhex(keys["derived"]["group"]), lp(queue.encode(), name.encode())))[:26]
    return {"queue": queue, "group": name, "group_id": named}


def token(keys: dict[str, Any], id: str, task: str, subject: str, call_expires: int, expires: int) -> dict[str, Any]:
    text = f"{keys['key_id']}.{id}.{b64(task.encode())}.{call_expires}.{expires}"
    tag_key = mac(bytes.fromhex(keys["derived"]["token"]), b"fnq1 status" + lp(subject.encode()))
    return {
        "id": id,
        "task": task,
        "subject": subject,
        "call_expires_at": call_expires,
        "expires_at": expires,
        "token": f"{text}.{b64(mac(tag_key, text.encode()))}",
    }


def build() -> dict[str, Any]:
    roots = [hashlib.sha256(f"fnqueue test vector {n}".encode()).digest() for n in (1, 2)]
    keys = [keys_of(root) for root in roots]
    id = "01kdvdnafmctfp40h7v7krgmef"
    header = {"id": id, "t": "shop.tasks.send_invoice", "q": "billing", "e": "production"}
    times = {"ct": 1767225600, "ex": 1767571200, "pk": "u"}
    principal = {"i": "42", "k": "u", "t": "acme", "r": ["staff"], "a": 1767225000.5}
    sealed = {"p": principal, "args": [7, {"$date": "2026-01-01"}], "kwargs": {"größe": 2.5}}
    traced = times | {"nb": 1767229200, "tp": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rt": id}
    return {
        "keys": keys,
        "envelopes": [
            {"key": 0} | envelope(keys[0], header | times, sealed, bytes(range(32))),
            {"key": 1} | envelope(keys[1], header | traced, sealed | {"bg": {"r": "1"}}, bytes(32)),
            {"key": 0} | envelope(keys[0], header | times | {"e": "größe"}, {"p": principal}, bytes(range(32))),
        ],
        "records": [
            {"key": 0} | record(keys[0], "result", id, b'{"ok":true}', bytes(range(32))),
            {"key": 1} | record(keys[1], "schedule", "nightly", b"", bytes(32)),
        ],
        "ids": [{"key": 0} | derived_id(keys[0], 1767225600123, "schedule nightly", "2026-01-01T00:00:00Z")],
        "groups": [{"key": 0} | group(keys[0], "billing", "customer 42"), {"key": 0} | group(keys[0], "", "größe")],
        "tokens": [{"key": 0} | token(keys[0], id, "shop.tasks.send_invoice", "user:42", 1767571200, 1767226500)],
    }


if __name__ == "__main__":
    print(json.dumps(build(), indent=1))
    raise SystemExit


# ------------------------------------------------------------------ both against the file

from fnqueue.security import ids, records, tokens  # noqa: E402 - the part above is used without fnqueue
from fnqueue.security.envelope import seal, verify  # noqa: E402
from fnqueue.security.keyring import KeyRing, make_record, parse_key  # noqa: E402
from fnqueue.security.keystrings import write_part  # noqa: E402
from fnqueue.security.principal import KINDS  # noqa: E402

VECTORS: dict[str, Any] = json.loads(FILE.read_text())


def ring_of(vector: dict[str, Any]) -> KeyRing:
    return KeyRing.from_text(VECTORS["keys"][vector["key"]]["key"])


def test_the_file_is_what_the_second_implementation_writes() -> None:
    assert build() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["keys"])
def test_keys_are_derived_as_in_the_vectors(vector: dict[str, Any]) -> None:
    root = bytes.fromhex(vector["root"])
    assert write_part("root", root) == vector["key"]
    assert parse_key(vector["key"]) == root
    key = make_record(root)
    assert key.key_id == vector["key_id"]
    derived = {name: bytes.fromhex(value) for name, value in vector["derived"].items()}
    assert {name: derived[name] for name in key.purposes} == dict(key.purposes)
    assert key.hedge(b"data") == mac(derived["hedge"], b"data")  # sig and seal: the envelopes below


@pytest.mark.parametrize("vector", VECTORS["envelopes"])
def test_envelopes_are_sealed_and_opened_as_in_the_vectors(vector: dict[str, Any]) -> None:
    header, ring = vector["header"], ring_of(vector)
    body = seal(
        keyring=ring,
        environment=header["e"],
        queue=header["q"],
        id=header["id"],
        task=header["t"],
        created_at=header["ct"],
        expires_at=header["ex"],
        principal_kind=KINDS[header["pk"]],
        not_before=header.get("nb"),
        traceparent=header.get("tp"),
        root=header.get("rt"),
        sealed=vector["sealed"],
        entropy=lambda count: bytes.fromhex(vector["random"])[:count],
    )
    # The order of names in header and JSON is the sealer's own, so foreign ones are opened and not made again.
    if list(header) == ["id", "t", "q", "e", "ct", "ex", "pk"]:
        assert body == vector["body"]
    for text in (body, vector["body"]):
        verified = verify(text, keyring=ring, environment=header["e"], queue=header["q"], now=header["ct"] + 3600)
        verified.check_times()
        assert verified.unseal() == vector["sealed"]


@pytest.mark.parametrize("vector", VECTORS["records"])
def test_records_are_sealed_as_in_the_vectors(vector: dict[str, Any]) -> None:
    ring, data, sealed = ring_of(vector), bytes.fromhex(vector["data"]), bytes.fromhex(vector["sealed"])
    entropy = lambda count: bytes.fromhex(vector["random"])[:count]
    assert records.seal_record(ring, vector["purpose"], vector["id"], data, entropy=entropy) == sealed
    assert records.unseal_record(ring, vector["purpose"], vector["id"], sealed) == data


def test_ids_groups_and_tokens_are_made_as_in_the_vectors() -> None:
    for vector in VECTORS["ids"]:
        key = ring_of(vector).primary
        assert ids.derived_id(vector["cause_milliseconds"], key, vector["cause"], vector["step"]) == vector["id"]
    for vector in VECTORS["groups"]:
        assert records.group_id(ring_of(vector).primary, vector["queue"], vector["group"]) == vector["group_id"]
    for vector in VECTORS["tokens"]:
        names = ("id", "task", "subject", "call_expires_at", "expires_at")
        made = tokens.make(ring_of(vector), **{name: vector[name] for name in names})
        assert made == vector["token"]
        claims = tokens.read(ring_of(vector), made, subject=vector["subject"], now=vector["expires_at"] - 1)
        assert claims.id == vector["id"]
