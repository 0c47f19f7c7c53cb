"""What is inside the seal: a frame around JSON.

    0x00, length in 4 bytes, the JSON, zeros to a multiple of 64
    0x02, the same, and the JSON has `bl` in the place of the arguments

The padding hides the exact length of short arguments. The limits of arguments are kept here on both sides,
so that nothing is sealed that no worker would open.
Knows nothing of keys, or of what the arguments mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from fnqueue.codec.secret import reveal
from fnqueue.security import limits
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.principal import Letter, WirePrincipal

_BLOCK: Final = 64
_INLINE: Final = 0
_OFFLOADED: Final = 2
_MARKS: Final = {_INLINE: b"\x00", _OFFLOADED: b"\x02"}


class Sealed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The shape of the sealed part, against which dicts are checked on both sides.

    args, kwargs: as the codec made them JSON. p: principal. w: workflow id and node id. bg: baggage.
    dd: deduplication key. ry: the call's own retry. bl: where the arguments are, when they are not here. m: mandate.
    tk: the schedule and the time that made the call, which takes effect once whatever its task says, and until when
    a copy of it may come, unix seconds.
    """

    p: WirePrincipal
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    w: Annotated[list[str], msgspec.Meta(min_length=2, max_length=2)] | None = None
    bg: dict[str, str] | None = None
    dd: str | None = None
    ry: list[float] | None = None
    bl: Reference | None = None
    m: str | None = None
    tk: Annotated[list[str], msgspec.Meta(min_length=2, max_length=3)] | None = None

    def __repr__(self) -> str:
        return "<Sealed>"  # and nothing of what is in it


class Arguments(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What an offloaded body is."""

    args: list[Any] = []
    kwargs: dict[str, Any] = {}

    def __repr__(self) -> str:
        return "<Arguments>"


_encode: Final = msgspec.json.Encoder(enc_hook=reveal).encode
_decode: Final = msgspec.json.Decoder().decode
# msgspec learns a Struct at its first use, and crashes the process when two threads are first at once. An import
# has one thread.
msgspec.json.Decoder(Sealed)
_decode_arguments: Final = msgspec.json.Decoder(Arguments).decode


class SealedPart(dict[str, Any]):
    """What was sealed. It stands in the locals of every traceback out of a task, and shows itself in none."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<sealed part>"


class Content(bytes):
    """A frame, which hides in the locals of tracebacks as the sealed part does."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<frame of {len(self)} bytes>"


class TooLong(Exception):
    """The body would not have room for it. `size`: of the sealed part as JSON, bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class Unfit(ValueError):
    """The frame, or what should become one, is not of the right shape. The text holds none of its values."""


def write(
    sealed: Mapping[str, Any],
    kind: Letter,
    *,
    room: int | None = None,
    offload: Callable[[bytes], Reference] | None = None,
) -> bytes:
    """The frame of a sealed part, whose principal must be of `kind`. Raises Unfit.

    `room`: the characters that a body may have; raises TooLong where it surely has more. `offload`: takes the
    arguments, which then are not in the frame.
    """
    try:
        shaped = msgspec.convert(sealed, Sealed)
        encoded = _encode(shaped if offload is None else Arguments(shaped.args, shaped.kwargs))
        limits.check_before(encoded)
        limits.check(encoded, shaped.args, shaped.kwargs, sending=True)
    except limits.TooMuch as error:
        raise Unfit(f"the arguments hold {error}") from None
    except RecursionError:
        raise Unfit("the arguments are nested too deep") from None
    except (ValueError, TypeError) as error:
        raise Unfit(f"the sealed part is not of its shape ({type(error).__name__})") from None
    _check_kind(shaped, kind)
    mark = _INLINE
    if offload is not None:
        shaped.args, shaped.kwargs, shaped.bl, mark = [], {}, offload(encoded), _OFFLOADED
        encoded = _encode(shaped)
    if room is not None and len(encoded) // 3 * 4 > room:
        raise TooLong(len(encoded))
    content = _MARKS[mark] + len(encoded).to_bytes(4, "big") + encoded
    return Content(content + bytes(-len(content) % _BLOCK))


def read(frame: bytes, kind: Letter) -> dict[str, Any]:
    """Step 11 of opening, and the limits of step 12: the sealed part. Raises Unfit."""
    end = 5 + int.from_bytes(frame[1:5], "big")
    if len(frame) < _BLOCK or len(frame) % _BLOCK or frame[0] not in (_INLINE, _OFFLOADED):
        raise Unfit("not a frame of this version")
    if not 0 <= len(frame) - end < _BLOCK or frame.count(0, end) != len(frame) - end:
        raise Unfit("its length and its padding do not fit")
    encoded = frame[5:end]
    try:
        limits.check_before(encoded)
        sealed = _decode(encoded)
        shaped = msgspec.convert(sealed, Sealed)
        limits.check(encoded, shaped.args, shaped.kwargs)
    except limits.TooMuch as error:
        raise Unfit(f"the arguments hold {error}") from None
    except (ValueError, RecursionError) as error:
        raise Unfit(f"not JSON of the right shape ({type(error).__name__})") from None
    _check_kind(shaped, kind)
    if frame[0] == _OFFLOADED or shaped.bl is not None:
        _check_elsewhere(shaped, frame[0])
    return SealedPart(sealed)


def _check_elsewhere(sealed: Sealed, mark: int) -> None:
    reference = sealed.bl
    if mark != _OFFLOADED or reference is None or reference.d is None or sealed.args or sealed.kwargs:
        raise Unfit("it does not say in one way where the arguments are")


def read_arguments(encoded: bytes) -> dict[str, Any]:
    """What `offload` was given, as the sealed part would have it. Raises Unfit."""
    try:
        limits.check_before(encoded)
        shaped = _decode_arguments(encoded)
        limits.check(encoded, shaped.args, shaped.kwargs)
    except limits.TooMuch as error:
        raise Unfit(f"the arguments hold {error}") from None
    except (ValueError, RecursionError) as error:
        raise Unfit(f"not JSON of the right shape ({type(error).__name__})") from None
    return {"args": shaped.args, "kwargs": shaped.kwargs}


def _check_kind(sealed: Sealed, kind: Letter) -> None:
    if sealed.p.k != kind:
        raise Unfit("the principal is of another kind than the header says")
