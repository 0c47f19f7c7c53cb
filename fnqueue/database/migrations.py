"""Whose file it is, and which tables it has.

Each component ("broker", "store") brings a list of steps, each an SQL script; the file remembers how many of
them it has had. Steps are only ever appended. A file with more steps than we know is of a newer fnqueue.
Knows nothing of what the tables mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from fnqueue.errors import DatabaseForeign, DatabaseNewer

APPLICATION_ID = 0x666E7175  # "fnqu", in the file's header: how we know our own files
_TABLE = "CREATE TABLE IF NOT EXISTS fnqueue_schema (component TEXT PRIMARY KEY, steps INTEGER NOT NULL) WITHOUT ROWID"

Components = Mapping[str, Sequence[str]]


def are_due(connection: sqlite3.Connection, components: Components, path: str | None, setting: str) -> bool:
    """Whether steps are to be run. Reads only. Raises DatabaseForeign and DatabaseNewer."""
    if not _is_ours(connection, path, setting):
        return True
    done = _steps_done(connection)
    for component, steps in components.items():
        if done.get(component, 0) > len(steps):
            raise DatabaseNewer(
                f"{path} was written by a newer fnqueue ({component} is at step {done[component]}, this one knows "
                f"{len(steps)}). Upgrade fnqueue here, or use another file."
            )
    return any(done.get(component, 0) < len(steps) for component, steps in components.items())


def run(connection: sqlite3.Connection, components: Components, path: str | None, setting: str) -> None:
    """Run the steps that are due, in the transaction that the caller has begun."""
    if not are_due(connection, components, path, setting):
        return
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(_TABLE)
    done = _steps_done(connection)
    for component, steps in components.items():
        for step in steps[done.get(component, 0) :]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO fnqueue_schema VALUES (?, ?)", (component, len(steps)))


def _is_ours(connection: sqlite3.Connection, path: str | None, setting: str) -> bool:
    """True: ours. False: empty. Raises DatabaseForeign for another program's file."""
    # In this order: another process may make the tables between the two questions, and then has named the file, too.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        return True
    if application or tables:
        raise DatabaseForeign(
            f"{path} is a database of another program. Nothing was changed in it: set {setting} to a file of its own."
        )
    return False


def _steps_done(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT component, steps FROM fnqueue_schema").fetchall())


def _statements(script: str) -> list[str]:
    """The statements of a script. executescript() would commit the transaction that the steps run in."""
    statements, piece = [], ""
    for part in script.split(";"):
        piece += part + ";"
        if piece.strip() == ";":
            piece = ""
        elif sqlite3.complete_statement(piece):
            statements.append(piece.strip())
            piece = ""
    return statements
