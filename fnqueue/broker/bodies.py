"""Which texts a queue takes: SQS takes characters that XML allows, at least one and at most 1 MiB."""

from __future__ import annotations

import re

from fnqueue.quotas import BODY_BYTES_MAX

ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # L24


def can_be_sent(body: str) -> bool:
    """Whether any queue takes it. A sealed body is printable ASCII: two looks at C speed."""
    if body.isascii():
        return 0 < len(body) <= BODY_BYTES_MAX and (body.isprintable() or ILLEGAL.search(body) is None)
    return len(body) <= BODY_BYTES_MAX and ILLEGAL.search(body) is None and len(body.encode()) <= BODY_BYTES_MAX
