"""What SQLite and the file system report, said as errors of fnqueue: what happened, to which file, what to do.

An error that is a mistake in a work's SQL (a constraint, a misspelled column) is no fault of the file
and passes unchanged. Knows nothing of tables.
"""

from __future__ import annotations

import errno
import os
import sqlite3

from fnqueue.errors import DatabaseBusy, DatabaseError, DatabaseForeign, DatabaseFull, DatabaseReadOnly

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
# SQLite says FULL only for ENOSPC: a quota and a file-size limit arrive as failed writes, a full disk under the -shm
# file as a failed SHMSIZE.
_WRITE_FAILED = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}


#: The setting that names the file, where nothing else is said.
URL = "FNQUEUE_URL"


def of_sqlite(error: sqlite3.Error, path: str | None, setting: str = URL) -> Exception:
    """The error that the caller of a Database gets for SQLite's: a new one for each call, or `error` itself.

    `setting`: which one names the file.
    """
    path = path or "the database in memory"
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the sqlite3 module itself: a mistake in a work
        return error
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or code in _WRITE_FAILED:
        return full(path)
    if primary == sqlite3.SQLITE_READONLY:
        return read_only(path)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return busy(path)
    if primary == sqlite3.SQLITE_NOTADB:
        return DatabaseForeign(
            f"{path} is not an SQLite database. Nothing was changed in it: move it away, "
            f"or set {setting} to another file."
        )
    if primary == sqlite3.SQLITE_CANTOPEN:
        return cannot_open(path, setting)
    if primary == sqlite3.SQLITE_CORRUPT:
        return DatabaseError(
            f"{path} is damaged ({error}). Restore a copy, or save what is left: sqlite3 FILE .recover"
        )
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PROTOCOL):
        return DatabaseError(f"{path} cannot be read or written ({error}): look at the disk and the system's log.")
    return error


def of_system(error: OSError, path: str, setting: str = URL) -> Exception:
    """For an error of a file that we opened ourselves."""
    if error.errno in _NO_ROOM:
        return full(path)
    if error.errno in _NOT_ALLOWED:
        return read_only(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return cannot_open(path, setting)
    return error


def full(path: str) -> DatabaseFull:
    return DatabaseFull(
        f"no room for {path}: the disk, a quota or a file-size limit is full. "
        "Nothing was written; make room and try again."
    )


def read_only(path: str) -> DatabaseReadOnly:
    return DatabaseReadOnly(
        f"{path} may not be written by this user: the file and its folder {os.path.dirname(path)} must both be "
        "writable, because SQLite keeps its log beside the file."
    )


def busy(path: str) -> DatabaseBusy:
    return DatabaseBusy(
        f"{path} was locked by another process for too long. Nothing was written; try again, and look for a "
        "process that is stopped, or a shell that holds a transaction open."
    )


def cannot_open(path: str, setting: str = URL) -> DatabaseError:
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        file = f"{path}/fnqueue.db"
        example = f"sqlite:///{file}" if setting == URL else file
        return DatabaseError(f"{path} is a folder: set {setting} to a file in it, as {example}")
    if not os.path.isdir(folder):
        return DatabaseError(f"the folder {folder} does not exist: make it, or set {setting} to a file in another.")
    return read_only(path)
