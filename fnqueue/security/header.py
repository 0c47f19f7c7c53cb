"""The text of an envelope: its grammar, and the clear header in it.

One anchored expression takes a body apart; what it does not fit is MALFORMED, and so is base64 that could be
written in another way. The header is compact ASCII JSON without repeated or unknown names.
Knows no keys: nothing here proves anything.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Final, NamedTuple

import msgspec

from fnqueue.errors import EnvelopeError
from fnqueue.quotas import HEADER_CHARS_MAX
from fnqueue.security.ids import is_id
from fnqueue.security.primitives import is_canonical
from fnqueue.security.principal import Letter

_Seconds = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_NAMES: Final = {
    "task": "t",
    "queue": "q",
    "environment": "e",
    "created_at": "ct",
    "not_before": "nb",
    "expires_at": "ex",
    "principal_kind": "pk",
    "traceparent": "tp",
    "root": "rt",
    "sealing_key": "ek",
    "data_key": "dk",
}


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename=_NAMES):
    """The clear part. Times in unix seconds. `queue`: the logical name without priority and `.fifo`.

    `principal_kind`: a letter, see principal.py. `root`: the id of the workflow's first call. `sealing_key`,
    `data_key`: of suites that are still to come.
    """

    id: Annotated[str, msgspec.Meta(min_length=26, max_length=26)]
    task: _Text
    queue: _Text
    environment: _Text
    created_at: _Seconds
    expires_at: _Seconds
    principal_kind: Letter
    not_before: _Seconds | None = None
    traceparent: str | None = None
    root: str | None = None
    sealing_key: str | None = None
    data_key: str | None = None


class Parts(NamedTuple):
    """A body taken apart. `prefix` runs to the end of the header."""

    prefix: str
    suite: str
    key_id: str
    header: str
    ciphertext: str
    tag: str


_encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Header).decode

# Possessive where a megabyte may stand, so that text that does not fit is given up in one pass.
_GRAMMAR: Final = re.compile(
    rf"(fq1\.([0-9])\.([a-z2-7]{{8}})\.(\{{[ -~]{{0,{HEADER_CHARS_MAX - 2}}}\}}))"
    r"\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]{43}(?:[A-Za-z0-9_-]{43})?)"
)
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def parse(body: str, max_bytes: int) -> Parts:
    """Steps 1 and 2 of opening. Raises EnvelopeError MALFORMED."""
    # Whatever fits the grammar is ASCII, so its characters are its bytes.
    if len(body) > max_bytes:
        raise EnvelopeError("MALFORMED", f"{len(body):,} characters, and {max_bytes:,} bytes are taken")
    match = _GRAMMAR.fullmatch(body)
    if match is None:
        raise EnvelopeError("MALFORMED", "not the grammar of fq1")
    parts = Parts._make(match.groups())
    if not (is_canonical(parts.ciphertext) and is_canonical(parts.tag)):
        raise EnvelopeError("MALFORMED", "base64 that is not canonical")
    return parts


def write(header: Header) -> str:
    """The header's text. Raises ValueError when it contradicts itself or is too long."""
    if not is_id(header.id):
        raise ValueError(f"the header's id {header.id!r} is none: new_id makes them")
    if header.expires_at <= max(header.created_at, header.not_before or 0):
        raise ValueError("the header's expires_at must be later than created_at and not_before")
    text = _encode(header).decode()
    if not (text.isascii() and text.isprintable()):
        text = json.dumps(msgspec.to_builtins(header), separators=(",", ":")).replace("\x7f", "\\u007f")
    if len(text) > HEADER_CHARS_MAX:
        raise ValueError(f"the header has {len(text):,} characters, and may have {HEADER_CHARS_MAX:,}")
    return text


def read(text: str) -> Header:
    """Step 5 of opening. Raises EnvelopeError MALFORMED."""
    try:
        header = decode(text)
        # What we wrote is what we would write again; only text of others is looked at more closely.
        if _encode(header) != text.encode("ascii"):
            _refuse_repeats_and_spaces(text)
    except ValueError as error:
        raise EnvelopeError("MALFORMED", f"header: {type(error).__name__}") from None
    if not is_id(header.id):
        raise EnvelopeError("MALFORMED", "header: its id is none")
    return header


def _refuse_repeats_and_spaces(text: str) -> None:
    names = json.loads(text, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
    if len(names) != len(set(names)) or " " in _STRINGS.sub("", text):
        raise ValueError
