"""The text of an envelope: its grammar, and the clear header in it.

A body is taken apart by one anchored grammar; what does not fit is MALFORMED, and so is base64 that could be
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
from fnqueue.security.primitives import is_base64
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

    `principal_kind`: a letter, see principal.py. `root`: the id of the workflow's first call. `sealing_key`:
    id of the part it is sealed for, in suites 3 to 5. `data_key`: a wrapped key, of suites that send one.
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
    """A body taken apart. `text`: all that is tagged; `prefix` runs to the end of the header."""

    text: bytes
    prefix: bytes
    suite: str
    key_id: str
    header: bytes
    ciphertext: bytes
    tag: bytes


_encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Header).decode

# Two dots from the right and the rest from the left, because a header may hold dots and braces itself.
_PREFIX: Final = re.compile(rb"fq1\.([0-9])\.([a-z2-7]{8})\.(\{[ -~]{0,%d}\})" % (HEADER_CHARS_MAX - 2))
_TAG_CHARS: Final = (43, 86)
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')


def parse(body: str, max_bytes: int) -> Parts:
    """Steps 1 and 2 of opening. Raises EnvelopeError MALFORMED."""
    if len(body) > max_bytes:  # whatever fits the grammar is ASCII, so its characters are its bytes
        raise EnvelopeError("MALFORMED", f"{len(body):,} characters, and {max_bytes:,} bytes are taken")
    # Nothing may be replaced or left out on the way to bytes: what is tagged is the exact text.
    left, _, tag = body.encode("ascii").rpartition(b".") if body.isascii() else (b"", b"", b"")
    prefix, _, ciphertext = left.rpartition(b".")
    match = _PREFIX.fullmatch(prefix)
    if match is None or len(tag) not in _TAG_CHARS or not (is_base64(ciphertext) and is_base64(tag)):
        raise EnvelopeError("MALFORMED", "not the grammar of fq1")
    return Parts(left, prefix, match[1].decode(), match[2].decode(), match[3], ciphertext, tag)


def write(header: Header) -> bytes:
    """The header's text. Raises ValueError when it contradicts itself or is too long."""
    if not is_id(header.id):
        raise ValueError(f"the header's id {header.id!r} is none: new_id makes them")
    if header.expires_at <= max(header.created_at, header.not_before or 0):
        raise ValueError("the header's expires_at must be later than created_at and not_before")
    text = _encode(header)
    if not text.isascii() or b"\x7f" in text:
        escaped = json.dumps(msgspec.to_builtins(header), separators=(",", ":"))
        text = escaped.replace("\x7f", "\\u007f").encode("ascii")
    if len(text) > HEADER_CHARS_MAX:
        raise ValueError(f"the header has {len(text):,} characters, and may have {HEADER_CHARS_MAX:,}")
    return text


def read(text: bytes) -> Header:
    """Step 5 of opening. Raises EnvelopeError MALFORMED."""
    try:
        header = decode(text)
        # What we wrote is what we would write again; only text of others is looked at more closely.
        if _encode(header) != text:
            _refuse_repeats_and_spaces(text)
    except ValueError as error:
        raise EnvelopeError("MALFORMED", f"header: {type(error).__name__}") from None
    if not is_id(header.id):
        raise EnvelopeError("MALFORMED", "header: its id is none")
    return header


def _refuse_repeats_and_spaces(text: bytes) -> None:
    names = json.loads(text, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
    if len(names) != len(set(names)) or b" " in _STRINGS.sub(b"", text):
        raise ValueError
