"""Records in the SQLite file that the queue lives in, too.

A write is an INSERT that does nothing where there is a record, then only there an UPDATE under the condition;
nothing is read first. (One upsert with RETURNING says the same and costs twice as much: SQLite keeps what it
returns in a temporary table.) `put_many` is one transaction, and inside another write of the same database it
joins that one: so broker and store settle together.

Fields are one MessagePack value, which keeps bytes, whole numbers and floats apart and exact. An expired
record is absent to every statement; `sweep` only makes room. Tokens and members are rows of their own
(marks) that go with their record, by trigger.
Knows nothing of what records mean. The database is shared, so `close` leaves it open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fnqueue import quotas
from fnqueue.clock import Clock
from fnqueue.database import Connection, Database
from fnqueue.errors import Fenced, FieldTooLarge, StoreError, VersionConflict
from fnqueue.store import sqlite_statements as sql
from fnqueue.store.base import Fence, Page, Record, Value

_FENCE_PART_MAX: Final = (1 << 20) - 1
_Row = tuple[str, str, str, str, float | None, int | None, bool, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode
_PLAIN = frozenset({str, int, float, bytes, bool, type(None)})
_NO_FIELDS: Final = _encode({})


class SqliteStore:
    """`Store` on one SQLite file. Registers its tables; reads and writes nothing until it is asked."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database, self._clock = database, clock
        database.migrate("store", sql.STEPS)

    # ---------------------------------------------------------------- records

    def get(self, kind: str, id: str) -> Record | None:
        row = self._database.read(lambda connection: self._get(connection, kind, id))
        return None if row is None else _record(row)

    def get_many(self, kind: str, ids: Sequence[str]) -> dict[str, Record]:
        rows = self._database.read(lambda connection: [self._get(connection, kind, key) for key in ids])
        return {row[1]: _record(row) for row in rows if row is not None}

    def put(self, record: Record, *, if_version: int | None = None, fenced: bool = False) -> Record:
        row = _row(record, fenced=fenced)

        def work(connection: Connection) -> int | StoreError:
            now = self._clock.now()
            if if_version:
                overwrite = sql.OVER_AT_FENCED if fenced else sql.OVER_AT
                written = connection.execute(overwrite.text, overwrite.values((*row, now, if_version))).fetchone()
                version = written and written[0]
            else:
                overwrite = sql.OVER_EXPIRED if if_version == 0 else sql.OVER_FENCED if fenced else sql.OVER_ANY
                version = _write(connection, row, now, overwrite)
            # Returned, not raised: an error that leaves `work` makes the whole group commit run again.
            return version or self._refusal(connection, record, if_version)

        version = self._database.write(work)
        if isinstance(version, StoreError):
            raise version
        return replace(record, version=version)

    def put_many(self, records: Sequence[Record], *, fenced: bool = False) -> list[Record | None]:
        rows = [_row(record, fenced=fenced) for record in records]
        overwrite = sql.OVER_FENCED if fenced else sql.OVER_ANY

        versions = self._database.write(lambda connection: self._write_all(connection, rows, overwrite)) if rows else []
        written = zip(records, versions, strict=True)
        return [None if version is None else replace(record, version=version) for record, version in written]

    def delete(self, kind: str, id: str, *, if_version: int | None = None) -> bool:
        def work(connection: Connection) -> bool | StoreError:
            row = self._get(connection, kind, id)
            if row is None:
                return False
            if if_version is not None and row[2] != if_version:
                return VersionConflict(f"{kind} {id!r} is at version {row[2]}, not {if_version}: nothing was deleted")
            connection.execute(sql.DELETE, (kind, id, self._clock.now()))
            return True

        deleted = self._database.write(work)
        if isinstance(deleted, StoreError):
            raise deleted
        return deleted

    # ---------------------------------------------------------------- counters and sets

    def increment(self, kind: str, id: str, name: str, by: int, *, token: str, expires_at: float | None = None) -> int:
        def work(connection: Connection) -> int:
            new = self._mark(connection, kind, id, f"+{name}\0{token}")
            fields = _fields(connection.execute(sql.FIELDS, (kind, id)).fetchone()[0])
            total = fields.get(name, 0)
            if not isinstance(total, int):
                raise StoreError(f"field {name!r} of {kind} {id!r} is no whole number: it cannot be added to")
            if not new:
                return total
            fields[name] = total + by
            connection.execute(sql.WRITE_FIELDS, (_encode(fields), expires_at, kind, id))
            return total + by

        return self._database.write(work)

    def add_member(self, kind: str, id: str, member: str, *, expires_at: float | None = None) -> tuple[bool, int]:
        def work(connection: Connection) -> tuple[bool, int]:
            new = self._mark(connection, kind, id, f"={member}")
            if new:
                connection.execute(sql.COUNT_MEMBER, (expires_at, kind, id))
            return new, int(connection.execute(sql.MEMBERS, (kind, id)).fetchone()[0])

        return self._database.write(work)

    # ---------------------------------------------------------------- tables and upkeep

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
        if not 1 <= limit <= 1000:
            raise ValueError(f"query(limit={limit!r}): must be 1 to 1000")
        start: tuple[str, str] = (sort_from or "", "")
        end: tuple[str | bytes, str | bytes] = (sql.AFTER_ALL_TEXT if sort_to is None else sort_to, "")
        if cursor is not None and newest_first:
            end = min(_position(cursor), end) if sort_to is not None else _position(cursor)
        elif cursor is not None:
            sort, last = _position(cursor)
            start = max((sort, last + "\0"), start)  # nothing sorts between an id and the id with a NUL behind it
        asked = (kind, bucket, *start, *end, self._clock.now(), limit + 1)
        statement = sql.QUERY_NEWEST if newest_first else sql.QUERY_OLDEST
        rows = self._database.read(lambda connection: connection.execute(statement, asked).fetchall())
        records = [_record(row) for row in rows[:limit]]
        return Page(records, _cursor(records[-1]) if len(rows) > limit else None)

    def sweep(self, limit: int = 1000) -> int:
        now = self._clock.now()
        # Looked for first: a DELETE that finds nothing would still take the file's write lock.
        if self._database.read(lambda connection: connection.execute(sql.ANY_EXPIRED, (now,)).fetchone()) is None:
            return 0
        return self._database.write(lambda connection: connection.execute(sql.SWEEP, (now, limit)).rowcount)

    def close(self) -> None:
        """Nothing: the database belongs to whoever made it."""

    # ---------------------------------------------------------------- inside a transaction

    def _get(self, connection: Connection, kind: str, id: str) -> Any:
        return connection.execute(sql.GET, (kind, id, self._clock.now())).fetchone()

    def _write_all(self, connection: Connection, rows: list[_Row], overwrite: sql.Numbered) -> list[int | None]:
        """Most records are new, and go in without a look at each. If one is not, all are written one by one."""
        if len(rows) > 1:
            connection.execute("SAVEPOINT all_new")
            if connection.executemany(sql.INSERT, rows).rowcount == len(rows):
                connection.execute("RELEASE all_new")
                return [1] * len(rows)
            connection.execute("ROLLBACK TO all_new")
            connection.execute("RELEASE all_new")
        now = self._clock.now()
        return [_write(connection, row, now, overwrite) for row in rows]

    def _refusal(self, connection: Connection, record: Record, if_version: int | None) -> StoreError:
        row = self._get(connection, record.kind, record.id)
        what = f"{record.kind} {record.id!r}"
        if row is None:
            return VersionConflict(f"{what} is not there; version {if_version} was expected")
        if if_version is not None and row[2] != if_version:
            return VersionConflict(f"{what} is at version {row[2]}; {if_version} was expected")
        if row[7]:
            return Fenced(f"{what} is final: this write came too late")
        return Fenced(f"{what} was written by delivery {_fence(row[6])}: that of {record.fence} came too late")

    def _mark(self, connection: Connection, kind: str, id: str, mark: str) -> bool:
        """Make the record if need be and mark it. False if it bears the mark already."""
        connection.execute(sql.DELETE_EXPIRED, (kind, id, self._clock.now()))
        connection.execute(sql.MAKE, (kind, id, _NO_FIELDS))
        return connection.execute(sql.MARK, (kind, id, mark)).rowcount == 1


def _write(connection: Connection, row: _Row, now: float, overwrite: sql.Numbered) -> int | None:
    """The record's new version, or None where the condition of `overwrite` does not hold."""
    if connection.execute(sql.INSERT, row).rowcount == 1:
        return 1
    written = connection.execute(overwrite.text, overwrite.values((*row, now))).fetchone()
    return int(written[0]) if written else None


def _row(record: Record, *, fenced: bool) -> _Row:
    """The statement's first eight parameters. Raises FieldTooLarge, and ValueError for a fence that cannot be one."""
    fields = _encode(dict(record.fields))
    if len(fields) > quotas.FIELD_BYTES_MAX:
        _check_sizes(record)
    fence = record.fence
    if fence is not None:
        generation, count = fence
        if not (0 <= generation <= _FENCE_PART_MAX and 0 <= count <= _FENCE_PART_MAX):
            raise ValueError(f"fence {fence!r}: both parts must be 0 to {_FENCE_PART_MAX:,}")
        number: int | None = generation << 20 | count
    elif fenced:
        raise ValueError(f"{record.kind} {record.id!r} has no fence: a fenced write needs one")
    else:
        number = None
    return (
        record.kind,
        record.id,
        record.bucket,
        record.sort,
        record.expires_at,
        number,
        record.final,
        fields,
    )


def _check_sizes(record: Record) -> None:
    for name, value in record.fields.items():
        size = len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 0
        if size > quotas.FIELD_BYTES_MAX:
            raise FieldTooLarge(
                f"field {name!r} of {record.kind} {record.id!r} has {size:,} bytes; "
                f"a store keeps at most {quotas.FIELD_BYTES_MAX:,} in one"
            )


def _record(row: Any) -> Record:
    """Whoever can write to the file can write rubbish: one such row must not break a query over thousands."""
    kind, key, version, bucket, sort, expires_at, fence, final, fields = row
    return Record(
        kind=kind,
        id=key,
        fields=_fields(fields),
        version=version if type(version) is int else 0,
        bucket=bucket,
        sort=sort,
        expires_at=expires_at,
        fence=_fence(fence),
        final=bool(final),
    )


def _fields(packed: Any) -> dict[str, Value]:
    """None of them, where they are not what was written here: a record that says nothing is no record to the rules."""
    try:
        fields = _decode(packed)
    except (ValueError, TypeError, RecursionError):
        return {}
    return fields if _PLAIN.issuperset(map(type, fields.values())) else {}


def _fence(number: Any) -> Fence | None:
    if type(number) is not int or not 0 <= number >> 20 <= _FENCE_PART_MAX:
        return None
    return number >> 20, number & _FENCE_PART_MAX


def _cursor(record: Record) -> str:
    return msgspec.json.encode((record.sort, record.id)).decode()


def _position(cursor: str) -> tuple[str, str]:
    try:
        return msgspec.json.decode(cursor, type=tuple[str, str])
    except (ValueError, RecursionError):
        raise ValueError(f"cursor {cursor[:80]!r} is none that a query gave") from None
