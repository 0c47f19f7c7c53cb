"""The keys of one process, and the text they are written in.

A ring has one primary key, which seals messages and records, and others that still open ("accept") or must be
refused ("revoked"). Its text: entries with commas, spaces or lines between, `#` begins a comment:

    [primary:|accept:|revoked:]fnqk1-...[+fnqk1-...][;suite=signed|split|kms][;kms=arn:aws:kms:...]
        [;tasks=shop.*|mail.send][;queues=billing][;kinds=user|service][;mint=no]

Without any state the first entry is primary and the others are accepted.
No text, repr or error made here contains a key. Knows nothing of files or of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from fnqueue.errors import KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.security.keyrecord import Context, KeyRecord, Limits, Power, State, build, make_record
from fnqueue.security.keystrings import KEY_PREFIX, new_key, parse_key, parse_parts, suite_of

__all__ = [
    "KEY_PREFIX",
    "Context",
    "Entry",
    "KeyRecord",
    "KeyRing",
    "Limits",
    "Power",
    "State",
    "entries",
    "make_record",
    "new_key",
    "parse_key",
    "record_of",
]

STATES: Final = ("primary", "accept", "revoked")
KINDS: Final = ("user", "service", "schedule", "anonymous")
_TOKEN: Final = re.compile(r"#[^\n]*|(?P<entry>[^\s,#]+)")


class KeyRing:
    """The keys of one process, by id. Immutable."""

    __slots__ = ("_by_id", "_primary", "_sealer", "keepers", "records")

    def __init__(self, records: Iterable[KeyRecord]) -> None:
        self.records = tuple(records)
        self._by_id = {record.key_id: record for record in self.records}
        self._primary = next((record for record in self.records if record.state == "primary"), None)
        whole = self._primary is not None and self._primary.lacks("sign", "seal") is None
        self._sealer = self._primary if whole else None
        #: Those that results, tokens and names may have been made with, the primary one first.
        self.keepers = sorted(
            (record for record in self.records if record.state != "revoked" and record.can("state")),
            key=lambda record: record.state != "primary",
        )

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
        """The key of this process, which seals its records. Raises KeysMissing when there is none."""
        if self._primary is None:
            raise KeysMissing("there is no primary key to seal with; make one: fnqueue keys new")
        return self._primary

    @property
    def sealer(self) -> KeyRecord:
        """The primary key, which seals messages. Raises KeysMissing when it cannot sign, or cannot seal."""
        if self._sealer is None:
            raise KeysMissing(self.primary.lacks("sign", "seal"))
        return self._sealer

    def lacking(self, *powers: Power) -> list[str]:
        """What the keys that are not revoked lack for a process that must open (or more), one sentence each."""
        found = (record.lacks(*powers) for record in self.records if record.state != "revoked")
        return [sentence for sentence in found if sentence]

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
    """One entry of a ring's text: where it stands, and its record or what is wrong with it. `key`: its parts."""

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


def record_of(text: str) -> KeyRecord:
    """The record of one entry. Raises KeyInvalid."""
    found = entries(text)
    if len(found) != 1 or found[0].record is None:
        raise KeyInvalid(found[0].fault or "more than one key" if found else "no key")
    return found[0].record


def _entry(match: re.Match[str]) -> Entry:
    head, *options = match["entry"].split(";")
    state, stated, key = head.rpartition(":")
    try:
        if stated and state not in STATES:
            raise KeyInvalid("the word before ':' must be primary, accept or revoked")
        suite, kms, limits = _options(options)
        parts = parse_parts(key) | ({"kms": kms.encode()} if kms is not None else {})
        record = build(parts, suite_of(parts, suite), cast(State, state) if stated else "accept", limits)
    except KeyInvalid as error:
        return Entry(match.start(), match.end(), key, bool(stated), None, str(error))
    return Entry(match.start(), match.end(), key, bool(stated), record)


def _options(options: Iterable[str]) -> tuple[str | None, str | None, Limits]:
    """The suite's name, the KMS key and the limits."""
    given: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        names = tuple(part for part in value.split("|") if part)
        if name not in ("suite", "kms", "tasks", "queues", "kinds", "mint") or not names or name in given:
            raise KeyInvalid(
                "after ';' may come suite=, kms=, tasks=, queues=, kinds= and mint=, once each, names with '|' between"
            )
        if name == "kinds" and not set(names) <= set(KINDS):
            raise KeyInvalid(f"kinds= may name {', '.join(KINDS)}")
        if name == "mint" and value not in ("yes", "no"):
            raise KeyInvalid("mint= is yes or no")
        given[name] = {"suite": value, "kms": value, "mint": value == "yes"}.get(name, names)
    return given.pop("suite", None), given.pop("kms", None), Limits(**given)
