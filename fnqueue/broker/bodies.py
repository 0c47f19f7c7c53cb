"""Which texts a queue takes: SQS takes characters that XML allows, at least one and at most 1 MiB."""

from __future__ import annotations

import re

from fnqueue.quotas import BODY_BYTES_MAX

_CONTROLS = bytes(range(0x20)) + b"\x7f"
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # L24


def can_be_sent(body: str) -> bool:
    """Whether any queue takes it. A sealed body is printable ASCII."""
    if body.isascii():
        return 0 < len(body) <= BODY_BYTES_MAX and (is_plain(body) or ILLEGAL.search(body) is None)
    return len(body) <= BODY_BYTES_MAX and ILLEGAL.search(body) is None and len(body.encode()) <= BODY_BYTES_MAX


def is_plain(text: str) -> bool:
    """Whether it is printable ASCII. Two looks at C speed, of which `isprintable` would take twice as long."""
    return text.isascii() and len(text.encode().translate(None, _CONTROLS)) == len(text)
