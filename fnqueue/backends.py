"""A url becomes an engine: the one place that knows which engines there are.

An `Engine` is a broker, perhaps a store, and whether both live in one file (then a settlement is one
transaction). Nothing is opened here: engines open at first use. Nor is an engine imported before a url names it:
a web process that only defers to SQS needs no SQLite, and importing fnqueue should cost little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from fnqueue.broker.base import Broker
from fnqueue.clock import Clock
from fnqueue.errors import OptionInvalid, SettingsInvalid
from fnqueue.forks import UNFORKED
from fnqueue.security.blobs.base import Place
from fnqueue.security.blobs.url import S3Url, parse_blobs_url
from fnqueue.settings import Settings
from fnqueue.store.base import Store

if TYPE_CHECKING:
    from fnqueue.database import Connection, Database

T = TypeVar("T")
NO_STORE = "none"


def _nothing() -> None: ...


def _write_the_same(connection: Connection) -> None:
    # A transaction alone does not ask: on a file that may not be written BEGIN IMMEDIATE only reads.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """`together(work)` runs work's writes in one transaction where broker and store share a file."""

    broker: Broker
    store: Store | None
    together: Callable[[Callable[[], Any]], Any]
    embedded: bool
    local: bool  # nothing of it is shared with the world: SQLite, or an SQS server on loopback
    path: str | None  # the SQLite file of the queue, absolute; None in memory and on SQS
    queue_shown: str
    store_shown: str
    databases: tuple[Database, ...] = field(default=(), repr=False)
    make_clients: Callable[[], object] = field(default=_nothing, repr=False)

    def open(self) -> None:
        """Open the files and make the clients, without a word to a server.

        Raises what first use would: DatabaseForeign, DatabaseReadOnly, DatabaseNewer, ExtraMissing and their kin.
        """
        self.make_clients()
        for database in self.databases:
            database.write(_write_the_same)

    def close(self) -> None:
        self.broker.close()
        if self.store is not None:
            self.store.close()
        for database in self.databases:
            database.close()


def connect(settings: Settings, clock: Clock) -> Engine:
    """The engine of `settings.url` and `settings.store_url`. Raises SettingsInvalid for a url that is none."""
    faults = url_faults(settings)
    if faults:
        raise SettingsInvalid(faults)
    with UNFORKED.here():
        return _embedded(settings, clock) if _scheme(settings.url) == "sqlite" else _sqs(settings, clock)


def url_faults(settings: Settings) -> list[str]:
    faults = []
    if _scheme(settings.url) not in ("sqlite", "sqs"):
        faults.append(
            f"FNQUEUE_URL={_shown(settings.url)!r}: must begin with sqlite:// (a file) or sqs:// "
            f"(sqs://eu-west-1/prefix-){_meant(settings.url)}"
        )
    elif _scheme(settings.url) == "sqs":
        from fnqueue.broker.sqs import parse_sqs_url

        try:
            parse_sqs_url(settings.url)
        except ValueError as error:
            faults.append(f"FNQUEUE_URL: {error}")
    else:
        faults += _sqlite_faults("FNQUEUE_URL", settings.url)
    store = settings.store_url
    if store is not None and store != NO_STORE:
        if _scheme(store) != "sqlite":
            faults.append(f"FNQUEUE_STORE_URL={_shown(store)!r}: must begin with sqlite:///, or be {NO_STORE!r}")
        else:
            faults += _sqlite_faults("FNQUEUE_STORE_URL", store)
    return faults + _blobs_faults(settings.blobs_url)


def blobs_place(settings: Settings) -> Place | None:
    """Of FNQUEUE_BLOBS_URL; unset: a folder beside the queue's own file, its memory, and none for sqs."""
    target = parse_blobs_url(settings.blobs_url) if settings.blobs_url is not None else _beside(settings)
    if target is None:
        return None
    with UNFORKED.here():
        if isinstance(target, S3Url):
            from fnqueue.security.blobs.s3 import S3Place

            return S3Place(target)
        if target == "":
            from fnqueue.security.blobs.memory import MemoryPlace

            return MemoryPlace()
        from fnqueue.security.blobs.files import FilePlace

        return FilePlace(target, durable=settings.durability == "full")


def _beside(settings: Settings) -> str | None:
    """The folder; "": in memory; None: none, because others could not see it."""
    if _scheme(settings.url) != "sqlite":
        return None
    path = sqlite_path(settings.url)
    return "" if path is None else os.path.splitext(os.path.abspath(path))[0] + ".blobs"


def _blobs_faults(url: str | None) -> list[str]:
    try:
        if url is not None:
            parse_blobs_url(url)
    except OptionInvalid as error:
        return [f"FNQUEUE_BLOBS_URL {error}"]
    return []


def shares_file(settings: Settings) -> bool:
    return settings.store_url is None or settings.store_url == settings.url


def sqlite_path(url: str) -> str | None:
    """The file of a sqlite url; None: in memory, or no such url."""
    if _scheme(url) != "sqlite":
        return None
    path = urlsplit(url).path
    return path[1:] if path not in ("", "/", "/:memory:") else None


def _shown(url: str) -> str:
    """Without user, password and options, as urls of other engines hold them, and without a key of ours."""
    if "@" in url and re.search("[?#]", url):
        return f"{_word(url)}://..."  # which of them ends the password is not known
    if url.startswith("fnqk1-"):
        return "fnqk1-..."
    before, at, after = url.rpartition("@")
    return f"{_word(before)}://...@{after}" if at else re.sub("([?#]).*", r"\1...", url)


def _word(url: str) -> str:
    return url.partition(":")[0]


def _meant(url: str) -> str:
    """What a url that is none was most likely meant to say."""
    queue = re.match(r"https?://sqs\.([a-z0-9-]+)\.amazonaws\.com", url)
    if queue:
        return f"; of a queue's own url only the region is wanted: sqs://{queue[1]}/"
    scheme, colon, rest = url.partition(":")
    if _shown(url) != url:  # there is something in it that must not be quoted
        return f"; there is no engine for {scheme}" if "://" in url and not scheme.startswith("sq") else ""
    if not colon:
        return f"; for this file write sqlite:///{url}"
    if scheme in ("sqlite", "sqlite3"):
        return f"; for this file write sqlite:///{rest.removeprefix('///')}"
    if scheme != "sqs":
        return f"; there is no engine for {scheme}"
    return f"; write sqs://{rest.lstrip('/')}"


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _sqlite_faults(name: str, url: str) -> list[str]:
    parts = urlsplit(url)
    faults = []
    if url.startswith("sqlite:///") and parts.path == "/":
        faults.append(f"{name}={url!r} names no file: write sqlite:///fnqueue.db (in memory, for tests: sqlite://)")
    if parts.netloc:
        meant = "fnqueue.db" if "@" in url else f"{parts.netloc}{parts.path}"
        faults.append(f"{name}={_shown(url)!r}: a file has three slashes, as sqlite:///{meant}")
    for key, _ in parse_qsl(parts.query):
        faults.append(
            f"{name}={_shown(url)!r}: {key!r} is no option of a sqlite url (durability is FNQUEUE_DURABILITY)"
        )
    return faults


def _embedded(settings: Settings, clock: Clock) -> Engine:
    from fnqueue.broker.embedded import EmbeddedBroker
    from fnqueue.store.sqlite import SqliteStore

    path = sqlite_path(settings.url)
    database = _database(settings, path, clock)
    broker = EmbeddedBroker(database, clock=clock, alone=not shares_file(settings))
    shown = path or "memory"
    if shares_file(settings):
        store: Store | None = SqliteStore(database, clock=clock)
        return Engine(
            broker=broker,
            store=store,
            together=lambda work: database.write(lambda connection: work()),
            embedded=True,
            local=True,
            path=path,
            queue_shown=shown,
            store_shown="the same file" if path else "memory",
            databases=(database,),
        )
    store, store_shown, databases = _store(settings, clock)
    return Engine(
        broker=broker,
        store=store,
        together=lambda work: work(),
        embedded=True,
        local=True,
        path=path,
        queue_shown=shown,
        store_shown=store_shown,
        databases=(database, *databases),
    )


def _sqs(settings: Settings, clock: Clock) -> Engine:
    from fnqueue.broker.sqs import SqsBroker, parse_sqs_url

    broker = SqsBroker(settings.url, clock=clock)
    store, store_shown, databases = _store(settings, clock)
    url = parse_sqs_url(settings.url)
    return Engine(
        broker=broker,
        store=store,
        together=lambda work: work(),
        embedded=False,
        local=url.loopback,
        path=None,
        queue_shown=url.shown,
        store_shown=store_shown,
        databases=databases,
        make_clients=broker.make_clients,
    )


def _store(settings: Settings, clock: Clock) -> tuple[Store | None, str, tuple[Database, ...]]:
    if settings.store_url is None or settings.store_url == NO_STORE:
        return None, "none", ()
    from fnqueue.store.sqlite import SqliteStore

    path = sqlite_path(settings.store_url)
    database = _database(settings, path, clock, setting="FNQUEUE_STORE_URL")
    return SqliteStore(database, clock=clock), path or "memory", (database,)


def _database(settings: Settings, path: str | None, clock: Clock, setting: str = "FNQUEUE_URL") -> Database:
    from fnqueue.database import Database

    durability: Any = settings.durability
    return Database(path, durability=durability, clock=clock, setting=setting)
