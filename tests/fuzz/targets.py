"""What is fuzzed: each target takes bytes, and lets nothing out but errors of the tree. `SEEDS` are where it begins.

A target that the fuzzer is to get past a seal has the key: the bytes are what stands inside the seal, as a stolen
producer's key could make them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any
from uuid import UUID

from fnqueue.codec.binding import Binder
from fnqueue.errors import EnvelopeError, FnQueueError
from fnqueue.schedule.expression import parse
from fnqueue.schedule.schedule import Schedule
from fnqueue.schedule.ticket import Ticket, open_ticket, seal_ticket
from fnqueue.scheduling.entry import Entry, read_entry
from fnqueue.security import frame, header, records, tokens
from fnqueue.security import mandate as mandates
from fnqueue.security.envelope import peek, seal, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing, entries
from fnqueue.security.keystrings import write_part
from fnqueue.security.primitives import from_base64, lp, to_base64
from fnqueue.security.principal import Principal

NOW = 1_767_225_600.0
ENVIRONMENT, QUEUE = "production", "billing"
KEY = write_part("root", bytes((n * 73 + n * n * 31 + 5) % 256 for n in range(32)))
RING = KeyRing.from_text(KEY)
ID = new_id(NOW)


def _part(kind: str, seed: int) -> str:
    return write_part(kind, sha256(b"%d" % seed).digest())


def _head(ring: KeyRing) -> tuple[KeyRing, bytes]:
    """Up to the header of a message."""
    text = seal(
        keyring=ring, environment=ENVIRONMENT, queue=QUEUE, id=ID, task="a.b", created_at=NOW, expires_at=NOW + 9,
        principal_kind="user", sealed={"p": {"i": "7", "k": "u"}},
    )  # fmt: skip
    return ring, text.rsplit(".", 2)[0].encode()


#: Of suites signed and split: a ring, and the head of a message of it.
SIGNED = [
    _head(KeyRing.from_text(f"{_part('sign', 1)}+{_part('shared', 2)};suite=signed")),
    _head(KeyRing.from_text(f"{_part('sign', 3)}+{_part('open', 4)};suite=split")),
]
BODY_MAX = 1_048_576


class Size(Enum):
    SMALL = "small"


def everything(
    number: int,
    text: str = "",
    at: datetime | None = None,
    day: date = date(2026, 1, 1),
    span: timedelta = timedelta(0),
    price: Decimal = Decimal(0),
    raw: bytes = b"",
    uid: UUID | None = None,
    many: tuple[int, ...] = (),
    some: frozenset[str] = frozenset(),
    size: Size = Size.SMALL,
    *rest: Any,
    **named: Any,
) -> None: ...


def anything() -> dict[str, tuple[datetime, Decimal]] | None: ...


BINDER = Binder(everything, "everything")


# ------------------------------------------------------------------ the targets


def body(data: bytes) -> None:
    """Any text as a message, and as a schedule ticket."""
    text = data.decode("utf-8", "surrogateescape")
    for read in (_open, lambda text: open_ticket(text, RING, environment=ENVIRONMENT, queue=QUEUE), peek):
        try:
            read(text)
        except EnvelopeError:
            pass


def clear(data: bytes) -> None:
    """A header that a key holder wrote: read, and written as it is read."""
    try:
        read = header.read(data)
        header.read(header.write(read))
    except (EnvelopeError, ValueError):  # `write` says ValueError, which sealing tells the caller
        pass


def sealed(data: bytes) -> None:
    """What stands inside the seal: the frame, the arguments for their function, the principal."""
    content = b"\x00" + len(data).to_bytes(4, "big") + data
    try:
        read = frame.read(content + bytes(-len(content) % 64), "u")
    except frame.Unfit:
        return
    Principal.from_wire(read["p"])
    records.call_digest("task", read)
    try:
        BINDER.decode(read.get("args", []), read.get("kwargs", {}))
    except FnQueueError:
        pass


def framed(data: bytes) -> None:
    """The frame as a whole, its length and padding too."""
    try:
        frame.read(data, "u")
    except frame.Unfit:
        pass


def token(data: bytes) -> None:
    try:
        tokens.read(RING, data.decode("utf-8", "surrogateescape"), subject="user:7", now=NOW)
    except FnQueueError:
        pass


def keys(data: bytes) -> None:
    """The text of a key ring; whatever is wrong, no part of a key is in what is said of it."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        KeyRing.from_text(text)
    except FnQueueError as error:
        said = str(error)
        assert not any(entry.key in said for entry in entries(text) if len(entry.key) > 32)


def ticket(data: bytes) -> None:
    """What stands inside the seal of a schedule ticket, and the time beside it."""
    inside, _, time = data.rpartition(b"\xff")
    record = records.seal_record(RING, "schedule", "\x00fqs1", inside)
    text = f"fqs1.{to_base64(record).decode()}.{time.decode('latin-1')}"
    try:
        open_ticket(text, RING, environment=ENVIRONMENT, queue=QUEUE)
    except EnvelopeError:
        pass


def record(data: bytes) -> None:
    """A sealed record as a store gives it."""
    try:
        records.unseal_record(RING, "result", ID, data)
    except EnvelopeError:
        pass


def cipher(data: bytes) -> None:
    """What a holder of the signing part alone puts in the place of a ciphertext, in each suite that has one."""
    for ring, head in SIGNED:
        text = b"%s.%s" % (head, to_base64(data or b"\0"))
        tag = ring.sealer.context(ENVIRONMENT, QUEUE).tag.make(text)
        try:
            body = (text + b"." + tag).decode()
            verify(body, keyring=ring, environment=ENVIRONMENT, queue=QUEUE, now=NOW).unseal()
        except EnvelopeError:
            pass


def mandate(data: bytes) -> None:
    """Any text as a mandate, and any claims in one that is signed."""
    ring = SIGNED[0][0]
    signer, tag = ring.primary, ring.primary.tag_for(lp(b"fnq1 mandate", ENVIRONMENT.encode()))
    text = b"%s.%s" % (signer.key_id.encode(), to_base64(data or b"\0"))
    signed = (text + b"." + tag.make(text)).decode()
    for written in (data.decode("utf-8", "surrogateescape"), signed):
        try:
            said, _ = mandates.prove(written, ring, ENVIRONMENT)
        except EnvelopeError:
            continue
        said.forbids(task="a.b", principal=said.p, root=said.r, expires_at=int(NOW))


def stored(data: bytes) -> None:
    """What stands inside the seal of a schedule's and of a result's record."""
    read_entry(data)
    for returns in (BINDER, Binder(anything, "anything")):
        try:
            returns.result_from_json(data)
        except FnQueueError:
            pass


def expression(data: bytes) -> None:
    """An expression of a schedule: it is refused, or has a next time or none, and can be told in English."""
    try:
        found = parse(data.decode("utf-8", "surrogateescape"))
    except FnQueueError:
        return
    found.describe()
    next(iter(found.after(datetime(2026, 1, 1, tzinfo=UTC))), None)


def _open(text: str) -> None:
    verified = verify(text, keyring=RING, environment=ENVIRONMENT, queue=QUEUE, now=NOW)
    verified.check_times()
    verified.check_limits()
    verified.unseal()


def planted(data: bytes) -> None:
    """A mistake, so that a fuzzer that finds nothing is known to be able to."""
    if data[:3] == b"fq1":
        raise IndexError("planted")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        body,
        clear,
        sealed,
        framed,
        token,
        keys,
        ticket,
        record,
        cipher,
        mandate,
        stored,
        expression,
        planted,
    )
}


# ------------------------------------------------------------------ where they begin


def _seeds() -> dict[str, list[bytes]]:
    schedule = Schedule(name="nightly", task="shop.tasks.send_invoice", expression="cron(0 3 * * ? *)", args=(1,))
    made = Ticket(
        environment=ENVIRONMENT, queue=QUEUE, schedule=schedule, made_at=datetime(2026, 1, 1, tzinfo=UTC),
        revision=1, key=RING.primary.key_id,
    )  # fmt: skip
    whole = seal_ticket(made, RING)
    inside = records.unseal_record(RING, "schedule", "\x00fqs1", from_base64(whole.split(".")[1].encode()))
    message = seal(
        keyring=RING, environment=ENVIRONMENT, queue=QUEUE, id=ID, task="shop.tasks.send_invoice", created_at=NOW,
        expires_at=NOW + 3600, principal_kind="user",
        sealed={"args": [1, "a"], "kwargs": {"x": None}, "p": {"i": "7", "k": "u"}},
    )  # fmt: skip
    clear_text = header.parse(message, BODY_MAX).header
    arguments = (
        b'{"p":{"i":"7","k":"u","r":["a"],"a":1e9,"v":["t"]},"args":[1,"a",{"$dt":"2026-01-01T00:00:00+00:00"},'
        b'{"$d":"2026-01-01"},{"$td":1.5},{"$dec":"1.5"},{"$b":"YQ"},{"$u":"00000000-0000-0000-0000-000000000000"}],'
        b'"kwargs":{"many":{"$t":[1]},"some":{"$s":["a"]}},"ry":[1,1,2,900,1],"tk":["a","b","3"],"bg":{"a":"b"}}'
    )
    content = b"\x00" + len(arguments).to_bytes(4, "big") + arguments
    return {
        "body": [message.encode(), whole.replace("<aws.scheduler.scheduled-time>", "2026-01-01T03:00:00Z").encode()],
        "clear": [clear_text],
        "sealed": [arguments],
        "framed": [content + bytes(-len(content) % 64)],
        "token": [tokens.make(RING, id=ID, task="t", subject="user:7", expires_at=NOW + 60).encode()],
        "keys": [f"primary:{KEY};tasks=shop.*|mail;kinds=user # old\naccept:{KEY};queues=a".encode()],
        "ticket": [inside + b"\xff2026-01-01T03:00:00Z"],
        "record": [records.seal_record(RING, "result", ID, b"{}")],
        "cipher": [bytes(range(140)), bytes(100)],
        "mandate": [b'{"p":{"i":"7","k":"u","r":["a"],"a":1e9},"t":["shop.mail","stock.*"],"r":"0","x":1767225600}'],
        "stored": [Entry.made(schedule, datetime(2026, 1, 1, tzinfo=UTC)).to_json(), b'{"a":{"$t":[{"$dt":"x"},1]}}'],
        "expression": [
            b"cron(0/5 8-17 ? JAN,3 MON#2 2026-2030)",
            b"cron(15 10 LW * ? *)",
            b"rate(5 minutes)",
            b"at(2026-01-01T03:00:00)",
            b"cron(0 0 15W 2/3 ? 2199)",
            b"cron(0 9 ? 2 6#5 *)",
        ],
        "planted": [b"f"],
    }


SEEDS = _seeds()
