"""The reference that leads to a large content, and travels inside a seal: a message's or a record's.

The hash is there because whoever may open a message learns the key, and must not be able to put other arguments in
their place. Knows shapes only: records have it, too, and modules of tasks should not load cryptography.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, NamedTuple

import msgspec

from fnqueue.quotas import BLOB_BYTES_MAX

TAG_BYTES: Final = 16
#: The day until whose end it is kept, and 160 random bits: no letter of it can lead out of a folder.
NAME: Final = r"\A[0-9]{5}-[a-z2-7]{32}\Z"
#: The two halves of a name, as places keep them: what a sweep finds and is none of these is not ours to delete.
DAY: Final = re.compile(r"[0-9]{5}")
FILE: Final = re.compile(r"[a-z2-7]{32}")

_Key = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """n: name. k: key. h: SHA-256 of the blob. s: its bytes. d: the digest of the call that it is of."""

    n: Annotated[str, msgspec.Meta(pattern=NAME)]
    k: _Key
    h: _Key
    s: Annotated[int, msgspec.Meta(ge=TAG_BYTES, le=BLOB_BYTES_MAX + TAG_BYTES)]
    d: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{21}[AQgw]\Z")] | None = None

    def __repr__(self) -> str:
        return f"<Reference {self.n}>"  # and not the key


msgspec.json.Decoder(Reference)  # learnt while one thread imports: see frame.py


class Blob(NamedTuple):
    """To be put under its name."""

    name: str
    data: bytes

    def __repr__(self) -> str:
        return f"<Blob {self.name}>"
