"""Schedules as the store keeps them: sealed, by environment and name, each with the moment at which to look at it.

Only that moment is in the clear, as a place in an index; what is written there decides nothing but when it is looked
at. Due ones are a range in a few shards. To claim one is to move it behind the end of a lease, under its version:
where the claimer dies it is due again.
Knows a store and how to seal; knows nothing of what a schedule is.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from fnqueue.clock import Clock
from fnqueue.errors import EnvelopeError, VersionConflict
from fnqueue.store.base import Record, Store

KIND: Final = "schedule"
_SHARDS: Final = 4
_RESTING: Final = "resting"  # paused, or over: in no range of due ones
_PAGE: Final = 1000
#: In the year 2286. A moment of more digits would, as text, be before one of today.
_LAST_MILLISECOND: Final = 9_999_999_999_999


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`data` was opened; `due` in unix seconds, None while it rests. `sealed` as it stands in the store."""

    name: str
    data: bytes
    due: float | None
    sealed: bytes
    record: Record


class KeptSchedules:
    """Safe between threads, processes and machines."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        environment: str,
        seal: Callable[[str, bytes], bytes],
        unseal: Callable[[str, bytes], bytes],
    ) -> None:
        """`environment`: several may share a store, each with schedules of its own under the same names."""
        self._store, self._clock, self._seal, self._unseal = store, clock, seal, unseal
        self._before = f"{environment} "  # what ids and buckets begin with
        self._due = [f"{self._before}due {shard}" for shard in range(_SHARDS)]
        self._resting = f"{self._before}{_RESTING}"

    def get(self, name: str) -> Kept | None:
        """None too for one that no key of ours sealed."""
        record = self._store.get(KIND, self._before + name)
        return self._opened(record) if record is not None else None

    def is_there(self, name: str) -> bool:
        """Whether there is a record, whoever sealed it."""
        return self._store.get(KIND, self._before + name) is not None

    def all(self) -> list[Kept]:
        """By name."""
        found = (self._opened(record) for bucket in (self._resting, *self._due) for record in self._of(bucket))
        return sorted((each for each in found if each is not None), key=lambda each: each.name)

    def put(self, name: str, data: bytes, *, due: float | None, over: Kept | None = None) -> bool:
        """`over`: what it is to replace; None: there must be none. False: somebody else was faster."""
        record = Record(
            kind=KIND,
            id=self._before + name,
            fields={"sealed": self._seal(name, data)},
            bucket=self._resting if due is None else self._due[zlib.crc32(name.encode()) % _SHARDS],
            sort=_sort(due or 0),
        )
        try:
            self._store.put(record, if_version=over.record.version if over is not None else 0)
        except VersionConflict:
            return False
        return True

    def replace_unreadable(self, name: str, data: bytes, *, due: float | None) -> bool:
        """Over a record that no key of ours sealed."""
        record = self._store.get(KIND, self._before + name)
        if record is None or self._opened(record) is not None:
            return False
        return self.put(name, data, due=due, over=Kept(name=name, data=b"", due=None, sealed=b"", record=record))

    def delete(self, kept: Kept) -> bool:
        """False: it was changed meanwhile."""
        try:
            return self._store.delete(KIND, kept.record.id, if_version=kept.record.version)
        except VersionConflict:
            return False

    # ---------------------------------------------------------------- due

    def due(self, now: float) -> Iterator[Record]:
        """All that must be looked at, the most overdue first, read by pages. What `open` takes."""
        shards = (self._of(bucket, sort_to=_sort(now + 0.001)) for bucket in self._due)
        return heapq.merge(*shards, key=lambda record: record.sort)

    def next_due(self) -> float | None:
        firsts = [record.sort for bucket in self._due for record in self._store.query(KIND, bucket, limit=1).records]
        return min(map(_unsorted, firsts)) if firsts else None

    def open(self, record: Record) -> Kept | None:
        return self._opened(record)

    def claim(self, kept: Kept, *, lease_seconds: float) -> Kept | None:
        """None: another was faster."""
        record = kept.record
        lease = Record(
            kind=KIND,
            id=record.id,
            fields=record.fields,
            bucket=record.bucket,
            sort=_sort(self._clock.now() + lease_seconds),
        )
        try:
            return msgspec.structs.replace(kept, record=self._store.put(lease, if_version=record.version))
        except VersionConflict:
            return None

    # ---------------------------------------------------------------- helpers

    def _of(self, bucket: str, *, sort_to: str | None = None) -> Iterator[Record]:
        cursor: str | None = None
        while True:
            page = self._store.query(KIND, bucket, sort_to=sort_to, limit=_PAGE, cursor=cursor)
            yield from page.records
            cursor = page.cursor
            if cursor is None:
                return

    def _opened(self, record: Record) -> Kept | None:
        sealed = record.fields.get("sealed")
        if not isinstance(sealed, bytes) or not record.id.startswith(self._before):
            return None
        name = record.id.removeprefix(self._before)
        try:
            data = self._unseal(name, sealed)
        except EnvelopeError:
            return None
        due = None if record.bucket == self._resting else _unsorted(record.sort)
        return Kept(name=name, data=data, due=due, sealed=sealed, record=record)


def _unsorted(sort: str) -> float:
    return int(sort) / 1000 if sort.isdecimal() else 0.0


def _sort(unix_seconds: float) -> str:
    return f"{min(max(0, round(unix_seconds * 1000)), _LAST_MILLISECOND):013d}"
