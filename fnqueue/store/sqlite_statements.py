"""The tables of the SQLite store, and every statement that is run on them.

What expired is absent to every statement. Knows nothing of Python's side of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

STEPS: Final = (
    """
    CREATE TABLE store_record (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        bucket TEXT NOT NULL,
        sort TEXT NOT NULL,
        expires_at REAL,
        fence INTEGER,             -- generation << 20 | receive count: one number that sorts as the pair does
        final INTEGER NOT NULL,
        fields BLOB NOT NULL,
        members INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE INDEX store_record_bucket ON store_record (kind, bucket, sort, id) WHERE bucket <> '';
    CREATE INDEX store_record_expiry ON store_record (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE store_mark (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        mark TEXT NOT NULL,        -- '=' and a member; or '+', the field's name, NUL and a token
        PRIMARY KEY (kind, id, mark)
    ) WITHOUT ROWID;
    CREATE TRIGGER store_record_deleted AFTER DELETE ON store_record BEGIN
        DELETE FROM store_mark WHERE kind = old.kind AND id = old.id;
    END;
    -- A write over an expired record begins a new one: what was marked belongs to the old one.
    CREATE TRIGGER store_record_reborn AFTER UPDATE OF version ON store_record WHEN new.version <= old.version BEGIN
        DELETE FROM store_mark WHERE kind = old.kind AND id = old.id;
    END;
    """,
)


class Numbered:
    """A statement in whose text ?1, ?2 stand for the first and second of its values, as often as they are needed.

    SQLite can number by itself, but to Python ?1 is a name: from 3.12 on it warns when a sequence is given for names.
    """

    __slots__ = ("text", "values")

    def __init__(self, text: str) -> None:
        self.text = re.sub(r"\?\d+", "?", text)
        #: The row in the order of the text.
        self.values: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(
            *[int(number) - 1 for number in re.findall(r"\?(\d+)", text)]
        )


# ?1 kind  ?2 id  ?3 bucket  ?4 sort  ?5 expires_at  ?6 fence  ?7 final  ?8 fields  ?9 now  ?10 version asked for
INSERT: Final = """
    INSERT INTO store_record (kind, id, version, bucket, sort, expires_at, fence, final, fields)
    VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
OVERWRITE: Final = """
    UPDATE store_record SET
        version = CASE WHEN expires_at <= ?9 THEN 1 ELSE version + 1 END,
        members = CASE WHEN expires_at <= ?9 THEN 0 ELSE members END,
        bucket = ?3, sort = ?4, expires_at = ?5, fence = ?6, final = ?7, fields = ?8
    WHERE kind = ?1 AND id = ?2
"""
NOT_LATE: Final = " AND NOT final AND (fence IS NULL OR fence <= ?6)"
AT: Final = " AND (expires_at IS NULL OR expires_at > ?9) AND version = ?10"
OVER_ANY: Final = Numbered(OVERWRITE + " RETURNING version")
OVER_FENCED: Final = Numbered(OVERWRITE + " AND (expires_at <= ?9 OR (TRUE" + NOT_LATE + ")) RETURNING version")
OVER_EXPIRED: Final = Numbered(OVERWRITE + " AND expires_at <= ?9 RETURNING version")
OVER_AT: Final = Numbered(OVERWRITE + AT + " RETURNING version")
OVER_AT_FENCED: Final = Numbered(OVERWRITE + AT + NOT_LATE + " RETURNING version")

GET: Final = """
    SELECT kind, id, version, bucket, sort, expires_at, fence, final, fields FROM store_record
    WHERE kind = ? AND id = ? AND (expires_at IS NULL OR expires_at > ?)
"""
# A range of pairs (sort, id): from one to before the other. `bucket <> ''` lets the partial index serve.
QUERY: Final = """
    SELECT kind, id, version, bucket, sort, expires_at, fence, final, fields FROM store_record
    WHERE kind = ? AND bucket = ? AND bucket <> '' AND (sort, id) >= (?, ?) AND (sort, id) < (?, ?)
        AND (expires_at IS NULL OR expires_at > ?)
"""
QUERY_OLDEST: Final = QUERY + " ORDER BY sort, id LIMIT ?"
QUERY_NEWEST: Final = QUERY + " ORDER BY sort DESC, id DESC LIMIT ?"
AFTER_ALL_TEXT: Final = b""  # SQLite sorts every blob after every text

DELETE: Final = "DELETE FROM store_record WHERE kind = ? AND id = ? AND (expires_at IS NULL OR expires_at > ?)"
DELETE_EXPIRED: Final = "DELETE FROM store_record WHERE kind = ? AND id = ? AND expires_at <= ?"
MAKE: Final = """
    INSERT INTO store_record (kind, id, version, bucket, sort, expires_at, final, fields)
    VALUES (?, ?, 0, '', '', NULL, 0, ?) ON CONFLICT DO NOTHING
"""
MARK: Final = "INSERT INTO store_mark (kind, id, mark) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
WRITE_FIELDS: Final = """
    UPDATE store_record SET version = version + 1, fields = ?, expires_at = coalesce(?, expires_at)
    WHERE kind = ? AND id = ?
"""
COUNT_MEMBER: Final = """
    UPDATE store_record SET version = version + 1, members = members + 1, expires_at = coalesce(?, expires_at)
    WHERE kind = ? AND id = ?
"""
SWEEP: Final = """
    DELETE FROM store_record WHERE (kind, id) IN
        (SELECT kind, id FROM store_record WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""

FIELDS: Final = "SELECT fields FROM store_record WHERE kind = ? AND id = ?"
MEMBERS: Final = "SELECT members FROM store_record WHERE kind = ? AND id = ?"
ANY_EXPIRED: Final = "SELECT 1 FROM store_record WHERE expires_at <= ? LIMIT 1"
