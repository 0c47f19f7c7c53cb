"""The store seam: records with few verbs. An engine implements `Store` and nothing else.

What DynamoDB cannot keep is not promised: no joins, no transactions over records, eventual `query`.
Every rule above these verbs (results, replay, limits, joins) is written once, in `state/`.
The contract is the conformance suite in `tests/conformance/store.py`.

Two kinds of condition guard a write. `if_version` is compare-and-set for records with one writer at a
time. A *fence* orders the deliveries of one message: (generation, receive count). A fenced put needs
a fence >= the stored one and a stored record that is not `final`; so a worker that lost its lease
cannot overwrite its twin's work, in one write and without reading first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

Value = str | int | float | bytes | None
Fence = tuple[int, int]  # (generation 0..2^20-1, receive count 0..2^20-1); compared as a pair


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is set by the store: 1 at first, +1 at each write. `expires_at`: unix seconds, None for ever.

    A Struct, because several are made for every task, and a frozen dataclass costs five times as much.

    A field's text or bytes are at most 256 KiB (quotas.FIELD_BYTES_MAX).
    `bucket` and `sort` are how `query` finds it: one bucket, a range of `sort` as text. Bucket "": in no query.
    """

    kind: str
    id: str
    fields: Mapping[str, Value] = msgspec.field(default_factory=dict)
    version: int = 0
    bucket: str = ""
    sort: str = ""
    expires_at: float | None = None
    fence: Fence | None = None
    final: bool = False


class Page(msgspec.Struct, frozen=True):
    """`cursor` goes into the next `query`; None: there is no more."""

    records: list[Record]
    cursor: str | None


class Store(Protocol):
    """Safe between threads. An expired record is not there, whether swept or not."""

    def get(self, kind: str, id: str) -> Record | None: ...

    def get_many(self, kind: str, ids: Sequence[str]) -> dict[str, Record]:
        """Those that are there, by id. Consistent reads, any number of ids."""
        ...

    def put(self, record: Record, *, if_version: int | None = None, fenced: bool = False) -> Record:
        """Write the whole record and return it with its new version.

        `if_version=0`: only if there is none; `n`: only if it is at n; None: whatever is there.
        Raises VersionConflict. `fenced=True`: see the module; raises Fenced, and ValueError if it has none.
        Raises FieldTooLarge before anything is written.
        """
        ...

    def put_many(self, records: Sequence[Record], *, fenced: bool = False) -> list[Record | None]:
        """Write any number; not atomic. In order: the written record, or None where the fence refused it."""
        ...

    def delete(self, kind: str, id: str, *, if_version: int | None = None) -> bool:
        """True if it was there. Raises VersionConflict when it is there at another version."""
        ...

    def increment(self, kind: str, id: str, name: str, by: int, *, token: str, expires_at: float | None = None) -> int:
        """Add to an integer field, making the record if need be, and return the sum.

        The same token adds once: called again it returns the sum as it is now. `expires_at` becomes the record's
        if it is given; None leaves what it has. Tokens, and the members below, go when their record expires.
        """
        ...

    def add_member(self, kind: str, id: str, member: str, *, expires_at: float | None = None) -> tuple[bool, int]:
        """Insert into a set. Returns (was new, size read after). Idempotent. The base of joins."""
        ...

    def query(
        self,
        kind: str,
        bucket: str,
        *,
        sort_from: str | None = None,
        sort_to: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page:
        """Records of one bucket with sort_from <= sort < sort_to, by (sort, id). `limit` 1 to 1000."""
        ...

    def sweep(self, limit: int = 1000) -> int:
        """Remove up to `limit` expired records; how many went. A no-op where the engine does it by itself."""
        ...

    def close(self) -> None: ...
