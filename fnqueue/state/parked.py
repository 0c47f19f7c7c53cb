"""Messages that wait longer than the queue can hide them: records with a due time, sent by whichever ticker comes.

A message parks under its id and generation, so parking it twice (a crash came before the original was deleted) is
parking it once; when it was sent meanwhile its record is final, and the second parking is refused, which is as good
as done. Due ones are a range of `sort` in a few shards. To claim one is to move it behind the end of a lease, under
its version: where a ticker dies it is due again. A crash between send and `sent` makes a copy with the same id,
which the task's record or the replay record absorbs.

A body goes into one field up to PART_BYTES and beyond that into records of its own (`parked_part`), because a store's
record has room for one large field.
Knows a store; knows no queue and no envelope.
"""

from __future__ import annotations

import heapq
import zlib
from typing import Annotated, Any, Final

import msgspec

from fnqueue import quotas
from fnqueue.clock import Clock
from fnqueue.errors import VersionConflict
from fnqueue.store.base import Record, Store

KIND: Final = "parked"
PART_KIND: Final = "parked_part"
PART_BYTES: Final = 250_000  # below quotas.FIELD_BYTES_MAX, with room for the record's other fields
#: A message is sent even when its envelope is too old, so that a worker writes EXPIRED: kept so long past `until`.
LATE_SECONDS: Final = 604_800
#: What was sent stays as a final record while the original may still come back because its deletion failed.
SENT_SECONDS: Final = quotas.VISIBILITY_SECONDS_MAX
_PARTS_MAX: Final = quotas.BODY_BYTES_MAX // PART_BYTES + 1
_SHARDS: Final = 4  # one partition of an index carries 1,000 writes a second on DynamoDB


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    queue: str
    body: str
    group: str | None
    dedupe: str | None
    generation: Annotated[int, msgspec.Meta(ge=0, lt=2**20)]
    due: float


class Claimed(_Said, frozen=True, kw_only=True):
    """A message that is ours to send until the lease ends. `due`: unix seconds. `record` is the store's."""

    record: Record


class Parked:
    """Safe between threads, processes and machines."""

    def __init__(self, store: Store, clock: Clock, environment: str = "") -> None:
        self._store, self._clock = store, clock
        # Environments may share a store and have queues elsewhere: who ticks must not send another's to its own.
        self._due = [f"due {environment} {shard}" for shard in range(_SHARDS)]

    # ---------------------------------------------------------------- parking

    def records(
        self,
        id: str,
        *,
        queue: str,
        body: str,
        due: float,
        until: float,
        generation: int = 0,
        group: str | None = None,
        dedupe: str | None = None,
    ) -> list[Record]:
        """To be written with `put_many(fenced=True)`, all of them, before the original message is deleted.

        `queue` is physical, `generation` that of the send to come, `until` the envelope's `ex`; times are unix seconds.
        None in the store's answer: it was sent already. Raises ValueError for a body that no queue takes.
        """
        if not body.isascii() or len(body) > quotas.BODY_BYTES_MAX:
            raise ValueError(f"a body of {len(body):,} characters cannot be parked: ASCII, at most 1 MiB")
        fields: dict[str, Any] = {
            "id": id,
            "queue": queue,
            "due": due,
            "generation": generation,
            "group": group,
            "dedupe": dedupe,
        }
        key = f"{id}.{generation}"
        kept_until = max(due, until) + LATE_SECONDS
        fence = (generation, 0)
        parts = _parts(body)
        fields.update({"parts": len(parts)} if parts else {"body": body})
        records = [
            Record(kind=PART_KIND, id=f"{key}.{index}", fields={"body": part}, expires_at=kept_until, fence=fence)
            for index, part in enumerate(parts)
        ]
        bucket = self._due[zlib.crc32(key.encode()) % _SHARDS]
        head = Record(
            kind=KIND, id=key, fields=fields, bucket=bucket, sort=_sort(due), expires_at=kept_until, fence=fence
        )
        return [*records, head]

    def park(self, id: str, **message: Any) -> None:
        """Write what `records` gives: for a call that is deferred with a long delay."""
        self._store.put_many(self.records(id, **message), fenced=True)

    def holds(self, id: str, generation: int) -> bool:
        """Whether this generation of a message was parked: it waits here, or was sent."""
        return self._store.get(KIND, f"{id}.{generation}") is not None

    def kept_until(self, id: str) -> float | None:
        """Until when a call that was deferred with a long delay is kept here; None: it was not, or has been sent."""
        found = self._store.get(KIND, f"{id}.0")
        return None if found is None else found.expires_at

    # ---------------------------------------------------------------- sending what is due

    def due(self, now: float, limit: int = 100) -> list[Record]:
        """Up to `limit` (1 to 1000) that are due and unclaimed, the most overdue first. What `claim` takes."""
        before = _sort(now + 0.001)
        shards = (self._of_shard(shard, sort_to=before, limit=limit) for shard in range(_SHARDS))
        return list(heapq.merge(*shards, key=lambda record: record.sort))[:limit]

    def next_due(self) -> float | None:
        """When the next one falls due, or a claim lapses: unix seconds. None: nothing is parked."""
        firsts = [record.sort for shard in range(_SHARDS) for record in self._of_shard(shard, sort_to=None, limit=1)]
        return min(map(_unsorted, firsts)) if firsts else None

    def claim(self, record: Record, *, lease_seconds: float = 60) -> Claimed | None:
        """None: another ticker was faster, parts of a large body are not there (they come with the next parking), or
        it is no record of a message."""
        lease = Record(
            kind=KIND,
            id=record.id,
            fields=record.fields,
            bucket=record.bucket,
            sort=_sort(self._clock.now() + lease_seconds),
            expires_at=record.expires_at,
            fence=record.fence,
        )
        try:
            leased = self._store.put(lease, if_version=record.version)
        except VersionConflict:
            return None
        try:
            body = self._body(leased)
            return None if body is None else _claimed(leased, body)
        except (TypeError, ValueError, KeyError):
            return None  # not of our making, and it must not keep the others

    def sent(self, *claims: Claimed) -> None:
        """The queue has them. Right for a claim that has lapsed, too: the message is sent, whoever sent it."""
        now = self._clock.now()
        self._store.put_many([_sent(claim, now) for claim in claims], fenced=True)
        for claim in claims:
            for part in _part_ids(claim.record):
                self._store.delete(PART_KIND, part)

    # ---------------------------------------------------------------- helpers

    def _of_shard(self, shard: int, *, sort_to: str | None, limit: int) -> list[Record]:
        return self._store.query(KIND, self._due[shard], sort_to=sort_to, limit=limit).records

    def _body(self, record: Record) -> str | None:
        if "body" in record.fields:
            return str(record.fields["body"])
        ids = _part_ids(record)
        parts = self._store.get_many(PART_KIND, ids)
        return "".join(str(parts[part].fields["body"]) for part in ids) if ids and len(parts) == len(ids) else None


def _parts(body: str) -> list[str]:
    """Empty for a body that fits into the head."""
    if len(body) <= PART_BYTES:
        return []
    return [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]


def _part_ids(record: Record) -> list[str]:
    count: Any = record.fields.get("parts", 0)
    known = isinstance(count, int) and 0 <= count <= _PARTS_MAX
    return [f"{record.id}.{index}" for index in range(count if known else 0)]


def _sent(claim: Claimed, now: float) -> Record:
    # Without a bucket: due nowhere any more, but there to refuse a second parking.
    fields = {"sent_at": now}
    until = now + SENT_SECONDS
    fence = (claim.generation, 0)
    return Record(kind=KIND, id=claim.record.id, fields=fields, expires_at=until, fence=fence, final=True)


def _claimed(record: Record, body: str) -> Claimed:
    fields: dict[str, Any] = {name: value for name, value in record.fields.items() if name not in ("body", "parts")}
    said = msgspec.convert({**fields, "body": body}, _Said)
    return Claimed(**msgspec.structs.asdict(said), record=record)


def _sort(unix_seconds: float) -> str:
    return f"{int(unix_seconds * 1000):013d}"


def _unsorted(sort: str) -> float:
    return int(sort) / 1000 if sort.isdecimal() else 0.0
