"""Key strings, the records made of them, and the ring that holds them.

A key string is `fnqk1-root-` and 56 characters a-z2-7: 32 random bytes and 3 bytes of checksum. One root
key gives a key for every purpose; the root itself is not kept. A ring has one primary key, which seals,
and others that still open ("accept") or must be refused ("revoked"). Text of a ring: entries with commas,
spaces or lines between, `#` begins a comment:

    [primary:|accept:|revoked:]fnqk1-root-...[;tasks=shop.*|mail.send][;queues=billing][;kinds=user|service]

Without any state the first entry is primary and the others are accepted.
No text, repr or error made here contains a key. Knows nothing of files or of messages.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Literal, cast

from fnqueue.errors import KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.security.primitives import Mac, expand, from_base32, lp, mac, to_base32

State = Literal["primary", "accept", "revoked"]
STATES: Final = ("primary", "accept", "revoked")
KINDS: Final = ("user", "service", "schedule", "anonymous")
MESSAGE_PURPOSES: Final = ("sig", "seal", "hedge")
STATE_PURPOSES: Final = ("result", "schedule", "blob", "token", "group", "audit")

KEY_PREFIX: Final = "fnqk1-"
_OTHER_TYPES: Final = ("sign", "verify", "open", "seal", "state")
_DATA: Final = re.compile(r"[a-z2-7]{56}")
_TOKEN: Final = re.compile(r"#[^\n]*|(?P<entry>[^\s,#]+)")
_CONTEXTS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Context:
    """One key in one environment and queue: the envelope's ctx, and what makes its tags."""

    ctx: bytes = field(repr=False)
    tag: Mac = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may be used for. None: everything. A task name may end in `*`. True if there is any limit."""

    tasks: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return (self.tasks, self.queues, self.kinds) != (None, None, None)

    def allow(self, *, task: str | None = None, queue: str | None = None, kind: str | None = None) -> bool:
        """Whether all that is given is inside. `kind`: of the principal, in full."""
        return (
            (self.queues is None or queue is None or queue in self.queues)
            and (self.kinds is None or kind is None or kind in self.kinds)
            and (self.tasks is None or task is None or any(_matches(task, name) for name in self.tasks))
        )


UNLIMITED: Final = Limits()


def _matches(task: str, name: str) -> bool:
    return task.startswith(name[:-1]) if name.endswith("*") else task == name


@dataclass(frozen=True, slots=True, eq=False)
class KeyRecord:
    """One key, ready for use: its id (8 characters a-z2-7), its suite, its state, and its purpose keys."""

    key_id: str
    suite: str
    state: State
    limits: Limits
    sig: Mac = field(repr=False)
    seal: Mac = field(repr=False)
    hedge: Mac = field(repr=False)
    #: result, schedule, blob, token, group, audit
    purposes: Mapping[str, bytes] = field(repr=False)
    _contexts: dict[tuple[str, str], Context] = field(repr=False, default_factory=dict)
    _macs: dict[str, Mac] = field(repr=False, default_factory=dict)

    def context(self, environment: str, queue: str) -> Context:
        """The context for a logical queue in an environment. Kept, because deriving it costs as much as a tag."""
        found = self._contexts.get((environment, queue))
        if found is None:
            if len(self._contexts) >= _CONTEXTS_MAX:
                self._contexts.clear()
            ctx = lp(b"fnq1", environment.encode(), queue.encode())
            found = self._contexts[environment, queue] = Context(ctx, Mac(self.sig(b"fnq1 hmac" + ctx)))
        return found

    def mac_for(self, purpose: str) -> Mac:
        """HMAC-SHA256 under one purpose's key, made ready once."""
        found = self._macs.get(purpose)
        if found is None:
            found = self._macs[purpose] = Mac(self.purposes[purpose])
        return found


class KeyRing:
    """The keys of one process, by id. Immutable."""

    __slots__ = ("_by_id", "_primary", "records")

    def __init__(self, records: Iterable[KeyRecord]) -> None:
        self.records = tuple(records)
        self._by_id = {record.key_id: record for record in self.records}
        self._primary = next((record for record in self.records if record.state == "primary"), None)

    @classmethod
    def from_text(cls, *texts: str, source: str = "FNQUEUE_KEYS") -> KeyRing:
        """The ring written in `texts`. Raises SettingsInvalid with every fault; none quotes a key."""
        found = list(entries("\n".join(texts)))
        faults = [f"{source}, key {n}: {e.fault}" for n, e in enumerate(found, 1) if e.fault]
        ring = cls(entry.record for entry in found if entry.record is not None)
        if not faults:
            faults = [f"{source}: {fault}" for fault in ring.check()]
        if faults:
            raise SettingsInvalid(faults)
        return ring

    @property
    def primary(self) -> KeyRecord:
        """The key that seals. Raises KeysMissing when there is none."""
        if self._primary is None:
            raise KeysMissing("there is no primary key to seal with; make one: fnqueue keys new")
        return self._primary

    def get(self, key_id: str) -> KeyRecord | None:
        return self._by_id.get(key_id)

    def check(self) -> list[str]:
        """What is wrong with the ring as a whole, one sentence each."""
        if not self.records:
            return ["there is no key; make one: fnqueue keys new"]
        faults = []
        primaries = [record.key_id for record in self.records if record.state == "primary"]
        if len(primaries) != 1:
            named = f" ({', '.join(primaries)})" if primaries else ""
            what = "" if primaries else ": write primary: before the one that seals"
            faults.append(f"{len(primaries)} keys are primary{named}; exactly one must be{what}")
        ids = [record.key_id for record in self.records]
        faults += [f"key {key_id} is there twice" for key_id in dict.fromkeys(ids) if ids.count(key_id) > 1]
        return faults

    def __iter__(self) -> Iterator[KeyRecord]:
        return iter(self.records)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(f'{record.state} {record.key_id}' for record in self.records)}>"


# ------------------------------------------------------------------ text of a ring


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a ring's text: where it stands, and its record or what is wrong with it."""

    start: int
    end: int
    key: str = field(repr=False)
    stated: bool
    record: KeyRecord | None
    fault: str | None = None


def entries(text: str) -> list[Entry]:
    """The entries of a text, with states filled in where they are left out."""
    found = [_entry(match) for match in _TOKEN.finditer(text) if match["entry"]]
    if any(entry.stated and entry.record and entry.record.state == "primary" for entry in found):
        return found
    first = next((n for n, entry in enumerate(found) if entry.record and not entry.stated), None)
    if first is not None:
        record = cast(KeyRecord, found[first].record)
        found[first] = replace(found[first], record=replace(record, state="primary"))
    return found


def _entry(match: re.Match[str]) -> Entry:
    head, *options = match["entry"].split(";")
    state, stated, key = head.rpartition(":")
    try:
        if stated and state not in STATES:
            raise KeyInvalid("the word before ':' must be primary, accept or revoked")
        limits = _limits(options)
        record = make_record(parse_key(key), state=cast(State, state) if stated else "accept", limits=limits)
    except KeyInvalid as error:
        return Entry(match.start(), match.end(), key, bool(stated), None, str(error))
    return Entry(match.start(), match.end(), key, bool(stated), record)


def _limits(options: Iterable[str]) -> Limits:
    given: dict[str, tuple[str, ...]] = {}
    for option in options:
        name, _, value = option.partition("=")
        names = tuple(part for part in value.split("|") if part)
        if name not in ("tasks", "queues", "kinds") or not names or name in given:
            raise KeyInvalid("after ';' may come tasks=, queues= and kinds=, once each, names with '|' between")
        if name == "kinds" and not set(names) <= set(KINDS):
            raise KeyInvalid(f"kinds= may name {', '.join(KINDS)}")
        given[name] = names
    return Limits(**given)


# ------------------------------------------------------------------ one key


def new_key() -> str:
    """A new key string of 32 random bytes."""
    return write_key(secrets.token_bytes(32))


def write_key(root: bytes) -> str:
    """The key string of 32 bytes. Raises KeyInvalid for weak ones."""
    _refuse_weak(root)
    return f"{KEY_PREFIX}root-{to_base32(root + _checksum(root))}"


def parse_key(text: str) -> bytes:
    """The 32 bytes of a key string. Raises KeyInvalid, which never quotes it."""
    kind, _, data = text.removeprefix(KEY_PREFIX).partition("-")
    if not text.startswith(KEY_PREFIX) or kind not in ("root", *_OTHER_TYPES):
        raise KeyInvalid("it does not begin with fnqk1-root-, so it is no key of fnqueue; make one: fnqueue keys new")
    if kind != "root":
        raise KeyInvalid(f"it is a '{kind}' key; suite 1 takes 'root' keys only; make one: fnqueue keys new")
    if len(data) != 56:
        raise KeyInvalid(f"it has {len(data)} characters after fnqk1-root-, and must have 56")
    if not _DATA.fullmatch(data):
        raise KeyInvalid("it has characters other than a-z and 2-7 after fnqk1-root-")
    raw = from_base32(data)
    if _checksum(raw[:32]) != raw[32:]:
        raise KeyInvalid("its checksum does not fit: a character was changed or two were swapped")
    _refuse_weak(raw[:32])
    return raw[:32]


def make_record(root: bytes, *, state: State = "primary", limits: Limits | None = None) -> KeyRecord:
    """The record of a root key, every purpose key derived. In suite 1 the root gives the state key too."""
    prk = mac(b"fnqueue v1 root", root)
    state_prk = mac(b"fnqueue v1 state", expand(prk, b"state"))
    sig, seal, hedge = (Mac(expand(prk, purpose.encode())) for purpose in MESSAGE_PURPOSES)
    purposes = {purpose: expand(state_prk, purpose.encode()) for purpose in STATE_PURPOSES}
    key_id = to_base32(sha256(b"fnq1 kid" + prk).digest()[:5])
    return KeyRecord(key_id, "1", state, limits or UNLIMITED, sig, seal, hedge, MappingProxyType(purposes))


def _checksum(root: bytes) -> bytes:
    return sha256(b"fnq1 check root" + root).digest()[:3]


def _refuse_weak(root: bytes) -> None:
    """32 random bytes have 30 different values, and 30 different steps between them; less than 20 is not chance."""
    steps = {(after - before) % 256 for before, after in pairwise(root)}
    if len(root) == 32 and all(32 <= byte < 127 for byte in root):
        raise KeyInvalid("it is weak: its bytes are text. Make one: fnqueue keys new")
    if len(root) != 32 or len(set(root)) < 20 or len(steps) < 20:
        raise KeyInvalid("it is weak: its bytes repeat or count. Make one: fnqueue keys new")
