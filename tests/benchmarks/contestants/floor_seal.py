"""A call as bytes, sealed with AES-GCM under one fixed key: the least that may be called so."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY = AESGCM(b"k" * 32)
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


def sealed(task: str, arguments: tuple[Any, ...]) -> bytes:
    nonce = os.urandom(12)
    call = {
        "id": os.urandom(16).hex(),
        "task": task,
        "args": arguments,
        "kwargs": {},
        "queue": "bench",
        "at": time.time(),
        "expires": None,
        "attempt": 1,
    }
    return nonce + _KEY.encrypt(nonce, _encode(call), b"bench")


def open_sealed(data: bytes) -> dict[str, Any]:
    return _decode(_KEY.decrypt(data[:12], data[12:], b"bench"))  # type: ignore[no-any-return]
