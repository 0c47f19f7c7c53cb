"""On whose behalf a call is made.

A principal is made by the application (never from request data), travels inside the seal, and is compared
at the worker with what the application knows now. Rights only shrink on the way: `attenuate`, `narrowed_to`
and `through` can take roles and scopes away and add none.
Knows nothing of requests, users or policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, cast

import msgspec

Kind = Literal["user", "service", "schedule", "anonymous"]
Letter = Literal["u", "s", "c", "a"]

LETTERS: Final[dict[Kind, Letter]] = {"user": "u", "service": "s", "schedule": "c", "anonymous": "a"}
KINDS: Final[dict[Letter, Kind]] = {letter: kind for kind, letter in LETTERS.items()}
VIA_MAX: Final = 32
#: What an application may say of a user besides whom it is.
DESCRIBED: Final = frozenset({"tenant", "roles", "scopes", "auth_time", "credential_version"})
_NONE: Final[frozenset[str]] = frozenset()


_Text = Annotated[str, msgspec.Meta(min_length=1)]


class WirePrincipal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A principal as it stands in JSON; what this shape lets in, `Principal` takes.

    i: id, k: kind, t: tenant, r: roles, s: scopes, a: auth time in unix seconds, c: credential version, v: via.
    """

    i: _Text
    k: Letter
    t: _Text | None = None
    r: tuple[_Text, ...] = ()
    s: tuple[_Text, ...] = ()
    a: Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)] | None = None  # before the year 10000
    c: str | None = None
    v: tuple[str, ...] = ()


msgspec.json.Decoder(WirePrincipal)  # learnt while one thread imports: see frame.py


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a call is made for. `auth_time`: when they last proved who they are, aware.

    `via`: the tasks and services that passed the call on, oldest first. `credential_version`: changes with their
    password; `credential_fallbacks`: others that hold as well, as under a key that is being rotated. Those are of one
    who was loaded, and do not travel. Raises ValueError for an empty id, an unknown kind or a naive `auth_time`; ids
    of other types are taken as text.
    """

    id: str
    kind: Kind = "user"
    tenant: str | None = None
    roles: frozenset[str] = _NONE
    scopes: frozenset[str] = _NONE
    auth_time: datetime | None = None
    credential_version: str | None = field(default=None, repr=False)  # often made from a password's hash
    via: tuple[str, ...] = ()
    credential_fallbacks: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in LETTERS:
            raise ValueError(f"Principal(kind={self.kind!r}): must be one of {', '.join(LETTERS)}")
        if self.auth_time is not None and self.auth_time.utcoffset() is None:
            raise ValueError("Principal(auth_time=...): must be an aware datetime, with its zone")
        _set(self, "id", _id(self.id))
        if self.tenant is not None:
            _set(self, "tenant", _id(self.tenant, "tenant"))
        for name in ("roles", "scopes"):
            _set(self, name, _names(name, getattr(self, name)))
        _set(self, "via", tuple(self.via))

    def attenuate(self, *, roles: Iterable[str] | None = None, scopes: Iterable[str] | None = None) -> Principal:
        """The same with no more than these roles and scopes. Names that it does not have are not added."""
        return replace(
            self,
            roles=self.roles if roles is None else self.roles & _names("roles", roles),
            scopes=self.scopes if scopes is None else self.scopes & _names("scopes", scopes),
        )

    def narrowed_to(self, current: Principal) -> Principal:
        """This principal, signed some time ago, with the rights that it still has in `current`.

        Raises ValueError if `current` is somebody else. A tenant that changed is no tenant: neither holds. So it is
        with credentials.
        """
        if (current.id, current.kind) != (self.id, self.kind):
            raise ValueError(f"loaded {current.kind} {current.id!r} for {self.kind} {self.id!r}")
        holds = self.credential_version in (None, current.credential_version, *current.credential_fallbacks)
        return replace(
            self,
            roles=self.roles & current.roles,
            scopes=self.scopes & current.scopes,
            tenant=self.tenant if current.tenant == self.tenant else None,
            credential_version=self.credential_version if holds else None,
        )

    def without_credentials(self) -> Principal:
        """The same, of whose credentials nobody can say whether they still hold."""
        return self if self.credential_version is None else replace(self, credential_version=None)

    def described(self, about: Mapping[str, Any]) -> Principal:
        """The same with what the application says of its user: see DESCRIBED. Raises ValueError."""
        unknown = [name for name in about if name not in DESCRIBED]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not among what may be said of a user: {', '.join(sorted(DESCRIBED))}")
        return replace(self, **about)

    def through(self, by: str) -> Principal:
        """The principal of a call that `by`, a task or a service, makes for this one. Keeps the last 32 of `via`."""
        return replace(self, via=(*self.via, by)[-VIA_MAX:])

    def made_for(self, principal: Principal, by: str) -> Principal:
        """This one, for whom the task `by` makes a call while it runs for `principal`: `via` says how it came to it."""
        return replace(self, via=(*principal.via, principal.subject, by)[-VIA_MAX:])

    def as_service(self, name: str) -> Principal:
        """The service that a task runs as for this one: of the same tenant, and with none of its rights."""
        return Principal(id=name, kind="service", tenant=self.tenant, via=(*self.via, self.subject)[-VIA_MAX:])

    @property
    def subject(self) -> str:
        """ "user:42": the kind and the id, as records and the audit have it."""
        return f"{self.kind}:{self.id}"

    @property
    def letter(self) -> Letter:
        """The kind as one letter, as the envelope's header has it."""
        return LETTERS[self.kind]

    def to_wire(self) -> dict[str, Any]:
        """A plain JSON object; what is empty is left out."""
        wire: dict[str, Any] = {"i": self.id, "k": LETTERS[self.kind]}
        if self.tenant is not None:
            wire["t"] = self.tenant
        if self.roles:
            wire["r"] = sorted(self.roles)
        if self.scopes:
            wire["s"] = sorted(self.scopes)
        if self.auth_time is not None:
            wire["a"] = self.auth_time.timestamp()
        if self.credential_version is not None:
            wire["c"] = self.credential_version
        if self.via:
            wire["v"] = list(self.via)
        return wire

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Principal:
        """From `to_wire`'s object. Raises ValueError for any other."""
        return _made(msgspec.convert(wire, WirePrincipal))  # its ValidationError is a ValueError

    def __str__(self) -> str:
        return "nobody" if self.kind == "anonymous" else f"{self.kind} {self.id!r}"


# Few people make most of the calls, and making one costs ten times as much as finding it.
@lru_cache(maxsize=256)
def _made(read: WirePrincipal) -> Principal:
    return Principal(
        id=read.i,
        kind=KINDS[read.k],
        tenant=read.t,
        roles=frozenset(read.r),
        scopes=frozenset(read.s),
        auth_time=datetime.fromtimestamp(read.a, UTC) if read.a is not None else None,
        credential_version=read.c,
        via=read.v,
    )


_set = object.__setattr__


def _id(value: Any, name: str = "id") -> str:
    text = value if type(value) is str else str(value)
    if value is None or isinstance(value, bool) or not text:
        raise ValueError(f"Principal({name}={value!r}): must be text or a number, and not empty")
    return text


def _names(field_name: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ValueError(f"Principal({field_name}={names!r}): must be several names, as {{{names!r}}}")
    found = frozenset(names)
    if not all(isinstance(name, str) and name for name in found):
        raise ValueError(f"Principal({field_name}=...): every name must be text, and not empty")
    return found


ANONYMOUS: Final = Principal(id="anonymous", kind="anonymous")


def service(name: str, scopes: Iterable[str] = ()) -> Principal:
    """The principal of a program: `name` is its id."""
    return Principal(id=name, kind="service", scopes=cast(frozenset[str], scopes))
