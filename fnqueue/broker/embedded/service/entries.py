"""Messages as SQS's clients send them: with typed attributes, and with what SQS refuses in them.

Kept is a dict of texts, as the engine has it: an attribute of the type String under its name, any other under
`name type`, with bytes in base64; a system attribute under a name that begins with a space.
Rows in brackets are those of the specification sheet. Knows nothing of tables.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from fnqueue import quotas
from fnqueue.broker import bodies
from fnqueue.broker.base import Entry
from fnqueue.broker.embedded import checks
from fnqueue.broker.embedded.checks import Fault
from fnqueue.broker.embedded.service.address import INVALID_VALUE, MISSING, refuse

TRACE_HEADER = "AWSTraceHeader"
_DATA_TYPE = re.compile(r"(String|Number|Binary)(\..{1,250})?", re.DOTALL)
# Each digit has one place only: a megabyte of them and a letter would else be tried in all ways, for hours.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_NUMBER_DIGITS = 38
_ENTRY_IDS = re.compile(r"[A-Za-z0-9_-]*")
_ENTRY_ID_MAX = 80


class Value(NamedTuple):
    """Of a message attribute: a text, or bytes where the type is Binary."""

    data_type: str
    text: str | None = None
    data: bytes | None = None


class Message(Protocol):
    """A message to send. `delay_seconds` None: the queue's."""

    @property
    def body(self) -> str | None: ...
    @property
    def delay_seconds(self) -> int | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def dedupe(self) -> str | None: ...
    @property
    def attributes(self) -> Mapping[str, Value]: ...
    @property
    def system(self) -> Mapping[str, Value]: ...


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A Message."""

    body: str | None
    delay_seconds: int | None = None
    group: str | None = None
    dedupe: str | None = None
    attributes: Mapping[str, Value] = {}
    system: Mapping[str, Value] = {}


def checked_entry_ids(ids: Sequence[str]) -> None:
    """Of a batch (B1). Raises BrokerRefused."""
    if not ids:
        refuse("There should be at least one entry in the request.", "EmptyBatchRequest")
    if len(ids) > quotas.BATCH_ENTRIES_MAX:
        text = f"Maximum number of entries per request are {quotas.BATCH_ENTRIES_MAX}. You have sent {len(ids)}."
        refuse(text, "TooManyEntriesInBatchRequest")
    lengths = [len(one) for one in ids]
    if not (_ENTRY_IDS.fullmatch("".join(ids)) and min(lengths) > 0 and max(lengths) <= _ENTRY_ID_MAX):
        text = (
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long."
        )
        refuse(text, "InvalidBatchEntryId")
    if len(set(ids)) < len(ids):
        twice = next(one for at, one in enumerate(ids) if one in ids[:at])
        refuse(f"Id {twice} repeated.", "BatchEntryIdsNotDistinct")


def bare_bodies(messages: Sequence[Message], bytes_max: int) -> list[str] | None:
    """The bodies, where each message is a body alone with which nothing is wrong, as most are: the others' rules need
    not be asked. None where one of them is more than that. For a standard queue.
    """
    found: list[str] = []
    for one in messages:
        body = one.body
        if (
            not body
            or one.delay_seconds is not None
            or one.group is not None
            or one.dedupe is not None
            or one.attributes
            or one.system
            or len(body) > bytes_max
            or not bodies.is_plain(body)
        ):
            return None
        found.append(body)
    return found


def size_of(message: Message) -> int:
    """Bytes as SQS counts them: system attributes are free (M13)."""
    size = _bytes(message.body or "")
    for name, value in message.attributes.items():
        size += _bytes(name) + _bytes(value.data_type) + len(value.data or b"") + _bytes(value.text or "")
    return size


def entry_of(message: Message, *, delay_seconds: int) -> Entry:
    """For the engine. `delay_seconds`: the queue's own."""
    delay = delay_seconds if message.delay_seconds is None else message.delay_seconds
    kept = _kept(message) if message.attributes or message.system else {}
    return Entry(
        id="",
        body=message.body or "",
        delay_seconds=delay,
        group=message.group or None,
        dedupe=message.dedupe or None,
        attributes=kept,
    )


# ------------------------------------------------------------------ kept, and given back


def _kept(message: Message) -> dict[str, str]:
    kept = {_key(name, value): _kept_value(value) for name, value in message.attributes.items()}
    kept.update({f" {name}": value.text or "" for name, value in message.system.items()})
    return kept


def _key(name: str, value: Value) -> str:
    return name if value.data_type == "String" else f"{name} {value.data_type}"


def _kept_value(value: Value) -> str:
    return base64.b64encode(value.data).decode() if value.data is not None else value.text or ""


def given_back(kept: Mapping[str, str]) -> tuple[dict[str, Value], dict[str, str]]:
    """Attributes, and system attributes."""
    attributes, system = {}, {}
    for key, text in kept.items():
        name, _, data_type = key.partition(" ")
        if not name:
            system[data_type] = text
        elif data_type.startswith("Binary"):
            attributes[name] = Value(data_type, None, base64.b64decode(text))
        else:
            attributes[name] = Value(data_type or "String", text)
    return attributes, system


# ------------------------------------------------------------------ faults


def shape_of(code: str) -> str:
    """An engine's code as the name of SQS's error."""
    return {checks.INVALID: INVALID_VALUE, "MissingParameter": MISSING}.get(code, code)


def needed_fault(message: Message, *, fifo: bool, content: bool) -> Fault | None:
    """What fails a whole batch on a FIFO queue (M7, M8)."""
    if not fifo:
        return None
    if message.dedupe is None and not content:
        return checks.fifo_fault(Entry(id="", body="", group="-"), False)
    if message.group is None:
        return Fault("MissingParameter", "The request must contain the parameter MessageGroupId.")
    return None


def fault(message: Message, *, fifo: bool, content: bool, bytes_max: int, single: bool) -> Fault | None:
    """Why the queue would not take this message; None when it does. `single`: it is no entry of a batch."""
    body = message.body
    if not body:
        return Fault("MissingParameter", "The request must contain the parameter MessageBody.")  # M2
    plain = bodies.is_plain(body)
    if not plain and bodies.ILLEGAL.search(body):  # M4
        text = "Invalid characters found: the body must be characters that XML allows."
        return Fault("InvalidMessageContents", text)
    if message.attributes or message.system:
        found = _attributes_fault(message.attributes, "user") or _system_fault(message.system)
        if found is not None:
            return found
    if (len(body) if plain and not message.attributes else size_of(message)) > bytes_max:  # M3, B3
        begin = "One or more parameters are invalid" if single else "One or more parameters cannot be validated"
        return Fault(checks.INVALID, f"{begin}. Reason: Message must be shorter than {bytes_max} bytes.")
    return _options_fault(message, fifo=fifo, content=content)


def _options_fault(message: Message, *, fifo: bool, content: bool) -> Fault | None:
    delay = message.delay_seconds or 0
    if not (fifo or delay) and message.group is None and message.dedupe is None:
        return None
    entry = Entry(id="", body="", delay_seconds=delay, group=message.group, dedupe=message.dedupe)
    return checks.fifo_fault(entry, content) if fifo else checks.standard_fault(entry)


def _attributes_fault(attributes: Mapping[str, Value], kind: str) -> Fault | None:
    if len(attributes) > checks.ATTRIBUTES_MAX:  # L13
        return _invalid(f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10].")
    for name, value in attributes.items():
        if not checks.ATTRIBUTE_NAME.fullmatch(name) or ".." in name:  # L14
            return _invalid(f"Message ({kind}) attribute name '{name}' is invalid.")
        if found := _value_fault(name, value, kind):
            return found
    return None


def _value_fault(name: str, value: Value, kind: str) -> Fault | None:
    """M12"""
    begin = f"Message ({kind}) attribute '{name}'"
    if not value.data_type:
        return _invalid(f"{begin} must contain a non-empty attribute type.")
    if not _DATA_TYPE.fullmatch(value.data_type) or bodies.ILLEGAL.search(value.data_type):
        return _invalid(
            f"{begin} has an invalid message attribute type, the set of supported type prefixes is Binary, Number, "
            "and String."
        )
    base = value.data_type.partition(".")[0]
    if value.text is not None and value.data is not None:
        return _invalid(f"{begin} has both a StringValue and a BinaryValue.")
    if not (value.data if base == "Binary" else value.text):
        text = f"{begin} must contain a non-empty value of type '{'Binary' if base == 'Binary' else 'String'}'."
        return _invalid(text)
    if value.text is not None and bodies.ILLEGAL.search(value.text):  # M4
        return _invalid(f"{begin} has characters that are not allowed.")
    if base == "Number" and not _is_number(value.text or ""):
        return _invalid(f"Can't cast the value of message ({kind}) attribute '{name}' to a number.")
    return None


def _is_number(text: str) -> bool:
    if not _NUMBER.fullmatch(text):
        return False
    digits = re.sub(r"[eE].*|\D", "", text).strip("0")
    value = abs(float(text))
    return len(digits) <= _NUMBER_DIGITS and not math.isinf(value) and value <= 1e126


def _system_fault(system: Mapping[str, Value]) -> Fault | None:
    """M13"""
    for name, value in system.items():
        if name != TRACE_HEADER:
            return _invalid(f"Message system attribute name '{name}' is invalid.")
        if value.data_type != "String":
            return _invalid(f"Message (system) attribute '{name}' has an invalid type: it must be String.")
        if found := _value_fault(name, value, "system"):
            return found
    return None


def _invalid(text: str) -> Fault:
    return Fault(checks.INVALID, text)


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # a lone half of a pair: refused for its characters
        return len(text)
