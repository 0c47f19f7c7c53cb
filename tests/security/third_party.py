"""A second implementation of the envelope, as a third party would write it from docs/envelope.md.

It shares no line with fnqueue and imports nothing of it: the standard library, and `cryptography` for X25519,
Ed25519 and AES-GCM. HPKE is written out after RFC 9180, so that its ephemeral key may be given. It wrote the files in
`vectors/`; write them anew with: python tests/security/third_party.py
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FOLDER = Path(__file__).with_name("vectors")
SUITES = {"1": "local", "3": "signed", "4": "split", "5": "kms"}
STATE = ("result", "schedule", "blob", "token", "group", "audit")


class Refused(Exception):
    pass


# ------------------------------------------------------------------ bytes


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key: bytes, info: bytes) -> bytes:
    return mac(key, info + b"\x01")


def lp(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def b32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64(data) != text:
        raise Refused("base64 that can be written in another way")
    return data


# ------------------------------------------------------------------ keys


def part(kind: str, raw: bytes) -> str:
    return f"fnqk1-{kind}-" + b32(raw + hashlib.sha256(b"fnq1 check " + kind.encode() + raw).digest()[:3])


def read_part(text: str) -> tuple[str, bytes]:
    _, kind, data = text.split("-")
    raw = base64.b32decode(data.upper())
    if part(kind, raw[:32]) != text:
        raise Refused("checksum")
    return kind, raw[:32]


def kid(data: bytes) -> str:
    return b32(hashlib.sha256(b"fnq1 kid" + data).digest()[:5])


def prk(kind: str, raw: bytes) -> bytes:
    return mac(b"fnqueue v1 " + kind.encode(), raw)


class Key:
    """A key as its text says: parts joined by +, and ;suite=."""

    def __init__(self, text: str) -> None:
        parts, *options = text.split(";")
        self.text, self.parts = text, dict(read_part(each) for each in parts.split("+"))
        said = dict(option.split("=", 1) for option in options)
        name, self.arn = said.get("suite", "local"), said.get("kms", "")
        self.suite = next(digit for digit, known in SUITES.items() if known == name)
        getattr(self, f"_{name}")()

    def _local(self) -> None:
        root = prk("root", self.parts["root"])
        self.id, self.ek = kid(root), None
        self.sig, self.seal_key, self.nonce_key = (expand(root, name) for name in (b"sig", b"seal", b"hedge"))
        self.ids_key, self.state = self.nonce_key, prk("state", expand(root, b"state"))

    def _public(self) -> None:
        if "sign" in self.parts:
            self.private = Ed25519PrivateKey.from_private_bytes(self.parts["sign"])
            raw = self.private.public_key().public_bytes_raw()
        else:
            raw = self.parts["verify"]
        self.public, self.id = Ed25519PublicKey.from_public_bytes(raw), kid(raw)
        if "state" in self.parts:
            self.state = prk("state", self.parts["state"])
            self.ids_key = expand(self.state, b"hedge")

    def _signed(self) -> None:
        self._public()
        if "shared" in self.parts:
            shared = prk("shared", self.parts["shared"])
            self.ek, self.seal_key, self.nonce_key = kid(shared), expand(shared, b"seal"), expand(shared, b"hedge")

    def _split(self) -> None:
        self._public()
        if "open" in self.parts:
            self.seal_public = X25519PrivateKey.from_private_bytes(self.parts["open"]).public_key().public_bytes_raw()
        else:
            self.seal_public = self.parts.get("seal", b"")
        self.ek = kid(self.seal_public)

    def _kms(self) -> None:
        self._public()
        self.ek = kid(b"kms " + self.arn.partition("?")[0].encode())

    def use(self, data_key: bytes) -> None:
        """Suite 5: seal or open the next message under this."""
        data = prk("kms", data_key)
        self.seal_key, self.nonce_key = expand(data, b"seal"), expand(data, b"hedge")

    def purpose(self, name: str) -> bytes:
        return expand(self.state, name.encode())

    def tag(self, ctx: bytes, text: bytes) -> bytes:
        if self.suite == "1":
            return mac(mac(self.sig, b"fnq1 hmac" + ctx), text)
        return self.private.sign(lp(b"fnq1 ed25519") + ctx + text)

    def verify(self, ctx: bytes, text: bytes, tag: bytes) -> None:
        if self.suite == "1":
            if not hmac.compare_digest(self.tag(ctx, text), tag):
                raise Refused("tag")
            return
        try:
            self.public.verify(tag, lp(b"fnq1 ed25519") + ctx + text)
        except InvalidSignature:
            raise Refused("tag") from None


# ------------------------------------------------------------------ HPKE, base mode (RFC 9180, 4.1, 5.1, 7.1)

KEM = b"KEM" + (0x0020).to_bytes(2, "big")
HPKE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return mac(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return mac(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01")[:length]


def hpke_cipher(dh: bytes, enc: bytes, public: bytes, info: bytes) -> tuple[AESGCM, bytes]:
    secret = labeled_expand(KEM, labeled_extract(KEM, b"", b"eae_prk", dh), b"shared_secret", enc + public, 32)
    context = b"\x00" + labeled_extract(HPKE, b"", b"psk_id_hash", b"") + labeled_extract(HPKE, b"", b"info_hash", info)
    prk_ = labeled_extract(HPKE, secret, b"secret", b"")
    return AESGCM(labeled_expand(HPKE, prk_, b"key", context, 32)), labeled_expand(
        HPKE, prk_, b"base_nonce", context, 12
    )


def hpke_seal(public: bytes, info: bytes, frame: bytes, ephemeral: bytes) -> bytes:
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = private.public_key().public_bytes_raw()
    cipher, nonce = hpke_cipher(private.exchange(X25519PublicKey.from_public_bytes(public)), enc, public, info)
    return enc + cipher.encrypt(nonce, frame, b"")


def hpke_open(private: bytes, info: bytes, ciphertext: bytes) -> bytes:
    key, enc = X25519PrivateKey.from_private_bytes(private), ciphertext[:32]
    dh = key.exchange(X25519PublicKey.from_public_bytes(enc))
    cipher, nonce = hpke_cipher(dh, enc, key.public_key().public_bytes_raw(), info)
    return cipher.decrypt(nonce, ciphertext[32:], b"")


# ------------------------------------------------------------------ KMS


def lend(environment: str, queue: str) -> tuple[bytes, bytes]:
    """In the place of GenerateDataKey with this encryption context: a data key, and the same wrapped."""
    context = lp(environment.encode(), queue.encode())
    wrapped = hashlib.shake_256(b"fnqueue test vector wrapped" + context).digest(184)
    return hashlib.sha256(b"fnqueue test vector data key" + context).digest(), wrapped


# ------------------------------------------------------------------ envelopes


def framed(sealed: dict[str, Any]) -> bytes:
    payload = json.dumps(sealed, separators=(",", ":"), ensure_ascii=False).encode()
    frame = b"\x00" + len(payload).to_bytes(4, "big") + payload
    return frame + bytes(-len(frame) % 64)


def seal(key: Key, header: dict[str, Any], sealed: dict[str, Any], random: bytes) -> dict[str, Any]:
    """Every step, by name. `random`: 32 bytes, in suite 4 the ephemeral private key."""
    frame = framed(sealed)
    ctx = lp(b"fnq1", header["e"].encode(), header["q"].encode())
    header, lent = header | ({"ek": key.ek} if key.ek else {}), {}
    if key.suite == "5":
        data_key, wrapped = lend(header["e"], header["q"])
        key.use(data_key)
        header, lent = header | {"dk": b64(wrapped)}, {"data_key": data_key.hex()}
    prefix = f"fq1.{key.suite}.{key.id}.{json.dumps(header, separators=(',', ':'))}"
    aad = ctx + prefix.encode()
    steps = {"header": header, "sealed": sealed, "random": random.hex(), "frame": frame.hex(), "aad": aad.hex(), **lent}
    if key.suite == "4":
        ciphertext = hpke_seal(key.seal_public, aad, frame, random)
        steps |= {"enc": ciphertext[:32].hex()}
    else:
        nonce = mac(key.nonce_key, random + lp(aad) + frame)[:24]
        message_key = expand(key.seal_key, b"fnq1 msg" + key.suite.encode() + nonce)
        ciphertext = nonce + AESGCM(message_key).encrypt(bytes(12), frame, aad)
        steps |= {"nonce": nonce.hex(), "message_key": message_key.hex()}
    text = f"{prefix}.{b64(ciphertext)}"
    return steps | {"body": f"{text}.{b64(key.tag(ctx, text.encode()))}"}


def open_(key: Key, body: str, *, environment: str, queue: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, sealed part). Raises Refused."""
    match = re.fullmatch(
        r"(fq1\.([0-9])\.([a-z2-7]{8})\.(\{[ -~]{0,2046}\}))\.([\w-]+)\.([\w-]{43}|[\w-]{86})", body, re.A
    )
    if match is None or match[2] != key.suite or match[3] != key.id:
        raise Refused("grammar, suite or key")
    ctx = lp(b"fnq1", environment.encode(), queue.encode())
    key.verify(ctx, f"{match[1]}.{match[5]}".encode(), unb64(match[6]))
    header = json.loads(match[4])
    if (header["e"], header["q"], header.get("ek")) != (environment, queue, key.ek):
        raise Refused("header")
    aad, ciphertext = ctx + match[1].encode(), unb64(match[5])
    if key.suite == "5":
        data_key, wrapped = lend(environment, queue)
        if unb64(header["dk"]) != wrapped:
            raise Refused("data key")
        key.use(data_key)
    try:
        if key.suite == "4":
            frame = hpke_open(key.parts["open"], aad, ciphertext)
        else:
            message_key = expand(key.seal_key, b"fnq1 msg" + key.suite.encode() + ciphertext[:24])
            frame = AESGCM(message_key).decrypt(bytes(12), ciphertext[24:], aad)
    except InvalidTag:
        raise Refused("ciphertext") from None
    length = int.from_bytes(frame[1:5], "big")
    if frame[0] != 0 or len(frame) % 64 or frame[5 + length :].strip(b"\x00") or len(frame) - 5 - length >= 64:
        raise Refused("frame")
    return header, json.loads(frame[5 : 5 + length])


def record(key: Key, purpose: str, id: str, data: bytes, random: bytes) -> dict[str, Any]:
    k = key.purpose(purpose)
    aad = lp(b"fnq1 record", purpose.encode(), id.encode(), key.id.encode())
    nonce = mac(k, b"fnq1 hedge" + random + lp(aad) + data)[:24]
    ciphertext = AESGCM(expand(k, b"fnq1 record" + nonce)).encrypt(bytes(12), data, aad)
    sealed = b"\x01" + key.id.encode() + nonce + ciphertext
    return {"purpose": purpose, "id": id, "data": data.hex(), "random": random.hex(), "sealed": sealed.hex()}


def open_record(key: Key, purpose: str, id: str, sealed: bytes) -> bytes:
    k, nonce = key.purpose(purpose), sealed[9:33]
    aad = lp(b"fnq1 record", purpose.encode(), id.encode(), sealed[1:9])
    return AESGCM(expand(k, b"fnq1 record" + nonce)).decrypt(bytes(12), sealed[33:], aad)


# ------------------------------------------------------------------ mandates


def mandate(key: Key, environment: str, claims: dict[str, Any]) -> dict[str, Any]:
    text = f"{key.id}.{b64(json.dumps(claims, separators=(',', ':'), ensure_ascii=False).encode())}"
    tag = key.tag(lp(b"fnq1 mandate", environment.encode()), text.encode())
    return {"environment": environment, "claims": claims, "text": f"{text}.{b64(tag)}"}


def read_mandate(key: Key, environment: str, text: str) -> dict[str, Any]:
    """The claims of one that `key` signed."""
    key_id, claims, tag = text.split(".")
    if key_id != key.id:
        raise Refused("another key")
    key.verify(lp(b"fnq1 mandate", environment.encode()), f"{key_id}.{claims}".encode(), unb64(tag))
    read: dict[str, Any] = json.loads(unb64(claims))
    return read


# ------------------------------------------------------------------ the files


def key_text(suite: str, number: int) -> str:
    kinds = {"1": ["root"], "3": ["sign", "shared", "state"], "4": ["sign", "open", "state"], "5": ["sign", "state"]}[
        suite
    ]
    raws = [hashlib.sha256(f"fnqueue test vector {suite} {kind} {number}".encode()).digest() for kind in kinds]
    text = "+".join(part(kind, raw) for kind, raw in zip(kinds, raws, strict=True))
    kms = f";kms=arn:aws:kms:eu-west-1:123456789012:key/{number:08}-12ab-34cd-56ef-1234567890ab" if suite == "5" else ""
    return text if suite == "1" else f"{text};suite={SUITES[suite]}{kms}"


def described(key: Key) -> dict[str, Any]:
    derived = {name: key.purpose(name).hex() for name in STATE} | {"ids": key.ids_key.hex()}
    parts = {kind: raw.hex() for kind, raw in key.parts.items()}
    return {"text": key.text, "parts": parts, "key_id": key.id, "sealing_key_id": key.ek, "derived": derived}


def build(suite: str) -> dict[str, Any]:
    keys = [Key(key_text(suite, number)) for number in (1, 2)]
    id = "01kdvdnafmctfp40h7v7krgmef"
    header = {"id": id, "t": "shop.tasks.send_invoice", "q": "billing", "e": "production"}
    times = {"ct": 1767225600, "ex": 1767571200, "pk": "u"}
    traced = times | {"nb": 1767229200, "tp": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rt": id}
    principal = {"i": "42", "k": "u", "t": "acme", "r": ["staff"], "a": 1767225000.5}
    sealed = {"p": principal, "args": [7, {"$date": "2026-01-01"}], "kwargs": {"größe": 2.5}}
    one, two = bytes(range(32)), bytes(range(100, 132))
    claims = {"p": principal, "t": ["shop.mail", "stock.*"], "r": id, "x": 1767612600}
    mandates = [{"key": 0} | mandate(keys[0], "production", claims)] if suite != "1" else []
    return {
        "suite": suite,
        "name": SUITES[suite],
        "keys": [described(key) for key in keys],
        "envelopes": [
            {"key": 0} | seal(keys[0], header | times, sealed, one),
            {"key": 1} | seal(keys[1], header | traced, sealed | {"bg": {"r": "1"}}, two),
            {"key": 0} | seal(keys[0], header | times | {"e": "größe"}, {"p": principal}, two),
        ],
        "records": [
            {"key": 0} | record(keys[0], "result", id, b'{"ok":true}', one),
            {"key": 1} | record(keys[1], "schedule", "nightly", b"", two),
        ],
        "mandates": mandates,
    }


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    for digit, name in SUITES.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(build(digit), indent=1) + "\n")
