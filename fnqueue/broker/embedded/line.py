"""What a queue's line of messages can do, whether standard or FIFO. One lives for one transaction.

Knows nothing of receipts' texts or of waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from fnqueue.broker.base import Entry
from fnqueue.broker.embedded.checks import Delivery, Fault
from fnqueue.database import Connection

_encode = msgspec.json.Encoder().encode
_COUNT_MAX = 2**20 - 1
_decode = msgspec.json.Decoder(dict[str, str]).decode

Delivered = tuple[int, int, float, float, str | None, str | None, str | None, str | None, str]
"""One delivery as the tables have it: row, receives, sent_at, first_received_at, group, dedupe, attributes (JSON),
source, body. A plain tuple, because making another object of each costs as much as reading it."""


class Counts(NamedTuple):
    visible: int
    in_flight: int
    delayed: int
    oldest_sent_at: float | None


class Line(Protocol):
    def send(self, entries: Sequence[Entry]) -> list[int]:
        """Append; the rows' numbers. A FIFO duplicate gets the row of the first one. Entries were checked."""
        ...

    def is_ready(self) -> bool:
        """Whether a receive may find something. Reads only."""
        ...

    def due_at(self) -> float | None:
        """When the next hidden message can be visible, if nothing happens before."""
        ...

    def receive(self, count: int, visibility_seconds: float) -> list[Delivered]:
        """Up to `count`. None although one was ready: it was expired or dead, and is gone; ask again."""
        ...

    def delete(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that were refused, because a FIFO delivery's time is over."""
        ...

    def change(self, delivery: Delivery, seconds: int) -> tuple[Fault | None, bool]:
        """A fault, and whether it is visible sooner than it was."""
        ...

    def counts(self) -> Counts: ...

    def purge(self, count: int) -> bool:
        """Remove about `count` messages; whether there were as many, so that there may be more."""
        ...


def count_in(connection: Connection, table: str, queue: int, now: float, oldest: float) -> Counts:
    """Visible ones may be a million: they are counted by the index, with as little said of each as can be."""
    select = "SELECT count(*), min(sent_at)"
    where = f"FROM {table} WHERE queue = ? AND sent_at > ? AND ready_at"  # a constant of ours
    visible, oldest_visible = connection.execute(f"{select} {where} <= ?", (queue, oldest, now)).fetchone()
    hidden, oldest_hidden = connection.execute(f"{select} {where} > ?", (queue, oldest, now)).fetchone()
    (delayed,) = connection.execute(f"SELECT count(*) {where} > ? AND receives = 0", (queue, oldest, now)).fetchone()
    sent = [sent_at for sent_at in (oldest_visible, oldest_hidden) if sent_at is not None]
    return Counts(visible, hidden - delayed, delayed, min(sent, default=None))


def attributes_text(attributes: Mapping[str, str]) -> str | None:
    return _encode(dict(attributes)).decode() if attributes else None


def attributes_of(text: str | None) -> dict[str, str]:
    """None, where it is not what was written here: one such row must not keep a whole receive from its messages."""
    try:
        return _decode(text) if text else {}
    except (ValueError, TypeError):
        return {}


def count_of(receives: object) -> int:
    """As many as a fence has room for, whatever another program wrote there."""
    return receives if type(receives) is int and 0 <= receives <= _COUNT_MAX else _COUNT_MAX


def body_of(value: object) -> str:
    """Text, whatever another program wrote there: the reader of messages says what is wrong with it."""
    return value if type(value) is str else repr(value)
