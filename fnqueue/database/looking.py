"""Looks at a file without making, writing or locking anything: would the first use of it work?

SQLite makes two files beside one that it reads with a write-ahead log. Where none lies there nobody has the file
open, so it is read as one that cannot change (`immutable`), which makes none.
Knows nothing of tables.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from fnqueue.database import faults, migrations
from fnqueue.database.connections import Connections

SQLITE_MINIMUM = (3, 35, 0)  # RETURNING
#: File systems that machines share: SQLite's locks or its shared memory do not work there, or not for all of them.
_SHARED = frozenset({"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "fuse.s3fs"})
_MOUNTS = "/proc/self/mounts"


def look(path: str, known: Connections) -> bool:
    """Whether the file is there. Raises what first use would: DatabaseForeign, DatabaseReadOnly and their kin."""
    folder = os.path.dirname(path)
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise faults.cannot_open(path, known.setting)
    is_there = os.path.exists(path)
    if not os.access(folder, os.W_OK | os.X_OK) or (is_there and not os.access(path, os.R_OK | os.W_OK)):
        raise faults.read_only(path)
    if is_there:
        _look_inside(path, known)
    return is_there


def _look_inside(path: str, known: Connections) -> None:
    has_log = all(os.path.exists(path + end) for end in ("-wal", "-shm"))
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?{'mode=ro' if has_log else 'immutable=1'}", uri=True)
        try:
            migrations.are_due(connection, known.components, path, known.setting)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise faults.of_sqlite(error, path, known.setting) from error


def too_old_sqlite() -> str | None:
    """SQLite's version, if it lacks what we use."""
    return sqlite3.sqlite_version if sqlite3.sqlite_version_info < SQLITE_MINIMUM else None


def shared_filesystem(path: str, mounts: str = _MOUNTS) -> str | None:
    """The kind of file system, as "nfs4", if the file lies on one that machines share. None elsewhere than on Linux."""
    try:
        lines = [line.split() for line in Path(mounts).read_text().splitlines()]
    except OSError:
        return None
    below = [(fields[1], fields[2]) for fields in lines if len(fields) > 2 and _is_below(path, fields[1])]
    kind = max(below, key=lambda each: len(each[0]))[1] if below else ""
    return kind if kind in _SHARED else None


def _is_below(path: str, place: str) -> bool:
    return os.path.realpath(path).startswith(place.rstrip("/") + "/")
