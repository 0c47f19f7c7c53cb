"""What the application itself knows: people and photographs, in one SQLite file, and the files beside it.

    <folder>/photos.db
    <folder>/pictures/<photo id>/original         as uploaded
    <folder>/pictures/<photo id>/<width>.jpg      cut by a worker
    <folder>/sheets/<sheet id>.jpg                laid out by a worker

A photograph remembers the ids of the calls that cut its thumbnails, so that its page can ask for their
status at any time. Whether a thumbnail is there is asked of the folder, not of the queue: results are kept
for a day, pictures for ever. Each method opens a connection of its own, so web and worker threads share
nothing. Knows nothing of Flask or of fnqueue.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from example_apps.flask_photos.pictures import Photograph

_TABLES = """
CREATE TABLE IF NOT EXISTS people (
    id TEXT PRIMARY KEY, password_hash TEXT NOT NULL, roles TEXT NOT NULL, active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, description TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, format TEXT NOT NULL,
    owner TEXT NOT NULL, deletion TEXT);
CREATE TABLE IF NOT EXISTS thumbnails (
    photo_id INTEGER NOT NULL REFERENCES photos ON DELETE CASCADE, width INTEGER NOT NULL, call TEXT NOT NULL,
    PRIMARY KEY (photo_id, width));
CREATE TABLE IF NOT EXISTS sheets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, photos INTEGER NOT NULL, owner TEXT NOT NULL, call TEXT);
"""


@dataclass(frozen=True)
class Person:
    id: str
    password_hash: str
    roles: tuple[str, ...]
    active: bool


@dataclass(frozen=True)
class Thumbnail:
    """`call` is the id of the call that cuts it. `ready`: the file is there."""

    width: int
    call: str
    ready: bool


@dataclass(frozen=True)
class Photo:
    """Sizes in pixels and bytes. `deletion` is the id of the call that will delete it, or None."""

    id: int
    title: str
    description: str
    width: int
    height: int
    bytes: int
    format: str
    owner: str
    deletion: str | None
    thumbnails: tuple[Thumbnail, ...]

    @property
    def alt(self) -> str:
        return self.description or f"Photograph “{self.title}”, uploaded by {self.owner}"


@dataclass(frozen=True)
class Sheet:
    id: int
    photos: int
    owner: str
    call: str | None
    ready: bool


class Gallery:
    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folder and the tables that are not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_TABLES)

    # ---- people

    def person(self, id: str) -> Person | None:
        with self._connection() as db:
            row = db.execute("SELECT id, password_hash, roles, active FROM people WHERE id = ?", (id,)).fetchone()
        return Person(row[0], row[1], tuple(filter(None, row[2].split(","))), bool(row[3])) if row else None

    def add_person(self, id: str, password_hash: str, roles: Sequence[str]) -> None:
        """Does nothing when the id is taken."""
        with self._connection() as db:
            row = (id, password_hash, ",".join(roles))
            db.execute("INSERT OR IGNORE INTO people (id, password_hash, roles) VALUES (?, ?, ?)", row)

    # ---- photographs

    def original(self, photo_id: int) -> Path:
        return self.folder / "pictures" / str(photo_id) / "original"

    def thumbnail(self, photo_id: int, width: int) -> Path:
        return self.folder / "pictures" / str(photo_id) / f"{width}.jpg"

    def add(self, title: str, what: Photograph, content: bytes, owner: str) -> int:
        """Keep an upload and return its id."""
        with self._connection() as db:
            row = (title, what.description, what.width, what.height, len(content), what.format, owner)
            names = "title, description, width, height, bytes, format, owner"
            cursor = db.execute(f"INSERT INTO photos ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            photo_id = int(cursor.lastrowid or 0)
            path = self.original(photo_id)
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        return photo_id

    def remember_calls(self, photo_id: int, calls: Mapping[int, str]) -> None:
        """`calls`: width -> id of the call that cuts it."""
        with self._connection() as db:
            db.executemany(
                "INSERT OR REPLACE INTO thumbnails (photo_id, width, call) VALUES (?, ?, ?)",
                [(photo_id, width, call) for width, call in calls.items()],
            )

    def remember_deletion(self, photo_id: int, call: str) -> None:
        with self._connection() as db:
            db.execute("UPDATE photos SET deletion = ? WHERE id = ?", (call, photo_id))

    def photo(self, photo_id: int) -> Photo | None:
        return next((photo for photo in self.photos() if photo.id == photo_id), None)

    def photos(self) -> list[Photo]:
        """All, newest first."""
        with self._connection() as db:
            rows = db.execute("SELECT * FROM photos ORDER BY id DESC").fetchall()
            calls = db.execute("SELECT photo_id, width, call FROM thumbnails ORDER BY width").fetchall()
        by_photo: dict[int, list[Thumbnail]] = {}
        for photo_id, width, call in calls:
            ready = self.thumbnail(photo_id, width).exists()
            by_photo.setdefault(photo_id, []).append(Thumbnail(width, call, ready))
        return [Photo(**row, thumbnails=tuple(by_photo.get(row["id"], ()))) for row in rows]

    def delete(self, photo_id: int) -> bool:
        """Row and files; deleting twice is no error. True if the photograph was there."""
        with self._connection() as db:
            gone = db.execute("DELETE FROM photos WHERE id = ?", (photo_id,)).rowcount
        shutil.rmtree(self.original(photo_id).parent, ignore_errors=True)
        return bool(gone)

    # ---- contact sheets

    def sheet_file(self, sheet_id: int) -> Path:
        return self.folder / "sheets" / f"{sheet_id}.jpg"

    def add_sheet(self, photos: int, owner: str) -> int:
        with self._connection() as db:
            return int(db.execute("INSERT INTO sheets (photos, owner) VALUES (?, ?)", (photos, owner)).lastrowid or 0)

    def remember_sheet_call(self, sheet_id: int, call: str) -> None:
        with self._connection() as db:
            db.execute("UPDATE sheets SET call = ? WHERE id = ?", (call, sheet_id))

    def newest_sheet(self) -> Sheet | None:
        with self._connection() as db:
            row = db.execute("SELECT id, photos, owner, call FROM sheets ORDER BY id DESC LIMIT 1").fetchone()
        return Sheet(**row, ready=self.sheet_file(row["id"]).exists()) if row else None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One transaction; committed at the end, rolled back by an exception."""
        db = sqlite3.connect(self.folder / "photos.db", timeout=10)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.row_factory = sqlite3.Row
            with db:
                yield db
        finally:
            db.close()
