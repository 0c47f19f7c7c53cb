"""ClientTokens: the same request twice has one answer, and another request under the same token is refused [S14]."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from fnqueue.database import Connection
from fnqueue.schedule.service.names import CONFLICT, Place, refuse

#: A client tries again within minutes.
_KEPT_SECONDS: Final = 3600.0
_encode: Final = msgspec.json.Encoder().encode


def once(
    connection: Connection, place: Place, operation: str, asked: msgspec.Struct, now: float, work: Callable[[], str]
) -> str:
    """What `work` answers, or answered. `asked.client_token` None: it is done. Only what was done is remembered."""
    token: str | None = asked.client_token  # type: ignore[attr-defined]
    if token is None:
        return work()
    digest = hashlib.sha256(operation.encode() + _encode(msgspec.structs.replace(asked, client_token=None))).digest()
    found = connection.execute(
        "SELECT digest, answer FROM scheduler_token WHERE place = ? AND token = ? AND expires_at > ?",
        (place.full, token, now),
    ).fetchone()
    if found is None:
        answer = work()
        connection.execute("DELETE FROM scheduler_token WHERE expires_at <= ?", (now,))
        values = (place.full, token, digest, answer, now + _KEPT_SECONDS)
        connection.execute("INSERT OR REPLACE INTO scheduler_token VALUES (?, ?, ?, ?, ?)", values)
        return answer
    if bytes(found[0]) != digest:
        refuse(f"The client token {token} was used before, for another request.", CONFLICT)
    return str(found[1])
