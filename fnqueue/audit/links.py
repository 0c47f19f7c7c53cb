"""The last line of each chain, kept in the store: where a file ended, so that a shorter one is seen to be cut.

With a MAC over the chain's name. Whoever can write to files and store, and has no key, can put an older state of both
back, or remove both: that is seen only by who has a copy elsewhere.
Knows a store and callables that make and check MACs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec

from fnqueue.clock import Clock
from fnqueue.store.base import Record, Store, Value

KIND: Final = "audit"
#: A chain whose link is gone is older than this; so long its files count as missing when they are.
KEPT_SECONDS: Final = 2 * 31_536_000.0

#: Of a key and a MAC. "revoked": it is true, and of a key that others may have. "unknown" says nothing of it.
Standing = Literal["good", "false", "revoked", "unknown"]
KeyId = Callable[[], str]
#: `(key id, chain, text) -> MAC`, and whether one holds.
MakeMac = Callable[[str, str, bytes], str]
Holds = Callable[[str, str, bytes, str], Standing]


class Link(msgspec.Struct, frozen=True):
    """`n`, `digest`: of the last line that is known to have been written; not to be believed where `standing` is
    "unknown": `key` is none that this process can ask."""

    n: int
    digest: str
    standing: Standing
    key: str = ""


class Links:
    def __init__(self, store: Store, clock: Clock, environment: str, key_id: KeyId, mac: MakeMac, holds: Holds) -> None:
        """`environment`: several may share a store, and another's files are in a folder of its own."""
        self._store, self._clock = store, clock
        self._before = f"{environment} "  # what ids and the bucket begin with
        self._bucket = f"{self._before}chains"
        self._key_id, self._mac, self._holds = key_id, mac, holds

    def put(self, chain: str, n: int, digest: str) -> None:
        key, expires_at = self._key_id(), self._clock.now() + KEPT_SECONDS
        fields: dict[str, Value] = {
            "n": n,
            "digest": digest,
            "key": key,
            "mac": self._mac(key, chain, _text(n, digest)),
        }
        place = self._before + chain
        self._store.put(
            Record(kind=KIND, id=place, fields=fields, bucket=self._bucket, sort=chain, expires_at=expires_at)
        )

    def all(self) -> dict[str, Link | None]:
        """By chain; None for one that no key of ours made for it."""
        ours = (record for record in self._records() if record.id.startswith(self._before))
        named = ((record.id.removeprefix(self._before), record) for record in ours)
        return {chain: self._read(chain, record) for chain, record in named}

    def _records(self) -> Iterator[Record]:
        cursor: str | None = None
        while True:
            page = self._store.query(KIND, self._bucket, limit=1000, cursor=cursor)
            yield from page.records
            cursor = page.cursor
            if cursor is None:
                return

    def _read(self, chain: str, record: Record) -> Link | None:
        fields: Any = record.fields
        n, digest, key, mac = (fields.get(name) for name in ("n", "digest", "key", "mac"))
        if not isinstance(n, int) or not all(isinstance(each, str) for each in (digest, key, mac)):
            return None
        standing = self._holds(key, chain, _text(n, digest), mac)
        return Link(n, digest, standing, key) if standing != "false" else None


def _text(n: int, digest: str) -> bytes:
    return f"link {n} {digest}".encode()
