"""What a revocation says, and whether a call falls under it. Data only: workers decide by it without asking anybody.

A revocation names calls in one of three ways, and whose wish it is:

    id           this call
    root         it, and all that it and its children set going
    principal    what was deferred for somebody until a moment, and what those calls set going while they ran

The wish counts for the calls of whoever asked, and for the tasks whose `operate=` policy let them do so when they
asked (`Grant`). So a stranger's wish for a call that nobody has a record of yet is kept, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from fnqueue import quotas
from fnqueue.errors import StoreError
from fnqueue.security.ids import is_id, milliseconds

What = Literal["id", "root", "principal"]


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """Whose calls: those of `subject` ("user:7"), and those of `tasks`; with `but`, of all tasks but these."""

    subject: str | None = None
    tasks: tuple[str, ...] = ()
    but: bool = False

    def covers(self, task: str, names: Container[str | None]) -> bool:
        return (task in self.tasks) != self.but or self.subject in names

    @property
    def operates(self) -> bool:
        """Whether it covers calls of others."""
        return self.but or bool(self.tasks)


#: Of code that holds the handle which `defer` gave.
EVERY_CALL: Final = Grant(but=True)


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """`value`: an id, or "user:7". Unix seconds. `before`: for a principal, the moment. `until`: kept so long."""

    what: What
    value: str
    until: float
    before: float
    grant: Grant


class Call(NamedTuple):
    """What is looked at. `via`: of its principal, where "user:7" stands if it runs as a service for them."""

    id: str
    root: str
    task: str
    subject: str
    via: tuple[str, ...]


class Snapshot:
    """All revocations of a moment, by what they name. `any`: whether there is one, so that most calls ask no more."""

    __slots__ = ("_ids", "_principals", "_roots", "any")

    def __init__(self, revocations: Iterable[Revocation] = ()) -> None:
        named: dict[str, dict[str, list[Revocation]]] = {"id": {}, "root": {}, "principal": {}}
        for each in revocations:
            named[each.what].setdefault(each.value, []).append(each)
        self._ids, self._roots, self._principals = named["id"], named["root"], named["principal"]
        self.any = any(named.values())

    def revokes(self, call: Call) -> bool:
        names = (call.subject, *call.via)
        return (
            self._found(self._ids, call.id, call, names)
            or self._found(self._roots, call.root, call, names)
            or self._found(self._roots, call.id, call, names)
            or (bool(self._principals) and any(self._found(self._principals, name, call, names) for name in names))
        )

    def _found(self, named: Mapping[str, list[Revocation]], name: str, call: Call, names: tuple[str, ...]) -> bool:
        return any(each.grant.covers(call.task, names) and _in_time(each, call) for each in named.get(name, ()))

    def named(self, what: What = "id") -> frozenset[str]:
        """The ids, roots or principals that are named, whoever asked."""
        return frozenset({"id": self._ids, "root": self._roots, "principal": self._principals}[what])


class _Unread(Snapshot):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.any = True

    def revokes(self, call: Call) -> bool:
        raise StoreError("the revocations could not be read yet, so it is not known whether this call may run")


NONE: Final = Snapshot()
#: Of a worker that has a store and could not read it yet: nothing runs.
UNREAD: Final[Snapshot] = _Unread()


def _in_time(revocation: Revocation, call: Call) -> bool:
    if revocation.what != "principal":
        return True
    made = milliseconds(call.id) / 1000
    if made <= revocation.before:
        return True
    # What ran at that moment may have set more going, until it was told or ended: its calls carry its root and a `via`.
    began = milliseconds(call.root) / 1000 if is_id(call.root) else made
    ran_then = began <= revocation.before and made <= revocation.before + quotas.RUN_SECONDS_MAX
    return bool(call.via) and ran_then


encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Revocation).decode


def decode(data: Any) -> Revocation | None:
    """None for what is none: a later version's, perhaps."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
