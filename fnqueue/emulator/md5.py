"""The MD5s that SQS answers with, so that clients can tell whether what they sent arrived (H1 to H4 of the sheet)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fnqueue.broker.embedded.service.entries import Value


def of_body(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def of_attributes(attributes: Mapping[str, Value]) -> str:
    """Over names in their order, types, and values with a byte for their kind."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, value in sorted(attributes.items()):
        binary = value.data is not None
        for part in (name.encode(), value.data_type.encode()):
            digest.update(len(part).to_bytes(4, "big") + part)
        content = (value.data if binary else (value.text or "").encode()) or b""
        digest.update((b"\x02" if binary else b"\x01") + len(content).to_bytes(4, "big") + content)
    return digest.hexdigest()
