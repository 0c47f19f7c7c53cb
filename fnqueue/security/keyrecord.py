"""One key, ready for use: which suite it is of, what it may be used for, and what its parts let a process do.

A key is one record under one id, whatever parts of it a process was given: web nodes sign and seal with it,
workers verify and open, a dashboard only verifies. Keys for the purposes are derived here; the parts themselves
are not kept.
Knows bytes; knows nothing of texts, files or messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

from fnqueue import forks
from fnqueue.errors import KeysMissing
from fnqueue.security.keystrings import KEY_PREFIX, key_id_of, prk_of
from fnqueue.security.primitives import Mac, expand, lp
from fnqueue.security.suites import SUITES, HmacTag, Sealing, Symmetric, Tag

State = Literal["primary", "accept", "revoked"]
STATE_PURPOSES: Final = ("result", "schedule", "blob", "token", "group", "audit")
_CONTEXTS_MAX: Final = 1024

Power = Literal["sign", "seal", "open", "state"]
#: What a key can do -> the parts of which one gives it.
POWERS: Final[Mapping[Power, tuple[str, ...]]] = MappingProxyType(
    {
        "sign": ("root", "sign"),
        "seal": ("root", "seal", "open", "shared", "kms"),
        "open": ("root", "open", "shared", "kms"),
        "state": ("root", "state"),
    }
)


@dataclass(frozen=True, slots=True)
class Context:
    """One key in one environment and queue: the envelope's ctx, and what makes its tags."""

    ctx: bytes = field(repr=False)
    tag: Tag = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may be used for. None: everything. A task name may end in `*`. True if there is any limit.

    `mint` False: it speaks for users only where a mandate of a key that may mint says so.
    """

    tasks: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    mint: bool = True

    def __bool__(self) -> bool:
        return (self.tasks, self.queues, self.kinds, self.mint) != (None, None, None, True)

    def allow(
        self, *, task: str | None = None, queue: str | None = None, kind: str | None = None, mandated: bool = False
    ) -> bool:
        """Whether all that is given is inside. `kind`: of the principal, in full. `mandated`: a mandate was proved."""
        return (
            (self.queues is None or queue is None or queue in self.queues)
            and (self.kinds is None or kind is None or kind in self.kinds)
            and (self.tasks is None or task is None or any(matches(task, name) for name in self.tasks))
            and (self.mint or mandated or kind != "user")
        )


UNLIMITED: Final = Limits()


def matches(task: str, name: str) -> bool:
    """Whether a task is meant by a name, which may end in `*`."""
    return task.startswith(name[:-1]) if name.endswith("*") else task == name


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KeyRecord:
    """One key, ready for use: its id (8 characters a-z2-7), its suite's digit, its state, and what its parts give."""

    key_id: str
    suite: str
    state: State
    limits: Limits
    #: The types of its parts.
    parts: tuple[str, ...]
    #: None: it neither seals nor opens.
    sealing: Sealing | None = field(repr=False)
    #: result, schedule, blob, token, group, audit; none without a state part.
    purposes: Mapping[str, bytes] = field(repr=False)
    _tag: Callable[[bytes], Tag] = field(repr=False)
    _hedge: bytes | None = field(repr=False)
    _contexts: dict[tuple[str, str], Context] = field(repr=False, default_factory=dict)
    _macs: dict[str, Mac] = field(repr=False, default_factory=dict)

    @property
    def suite_name(self) -> str:
        return SUITES[self.suite].name

    def can(self, power: Power) -> bool:
        return any(kind in self.parts for kind in POWERS[power])

    def lacks(self, *powers: Power) -> str | None:
        """What it should have and has not, with the cure; None: nothing."""
        missing = [power for power in powers if not self.can(power)]
        if not missing:
            return None
        groups = (SUITES[self.suite].signer, *SUITES[self.suite].others)
        cures = [next(kind for group in groups for kind in group if kind in POWERS[power]) for power in missing]
        written = {kind: f"{KEY_PREFIX}{kind}-..." for kind in cures} | {"kms": ";kms=arn:..."}
        wanted = " and ".join(written[kind] for kind in dict.fromkeys(cures))
        return (
            f"key {self.key_id} has only the parts {', '.join(self.parts)} in this process, which needs {wanted} of it "
            "too: add it to the key in FNQUEUE_KEYS; fnqueue keys split-public shows which process gets what"
        )

    def context(self, environment: str, queue: str) -> Context:
        """The context for a logical queue in an environment. Kept, because deriving it costs as much as a tag."""
        found = self._contexts.get((environment, queue))
        if found is None:
            if len(self._contexts) >= _CONTEXTS_MAX:
                self._contexts.clear()
            ctx = lp(b"fnq1", environment.encode(), queue.encode())
            found = self._contexts[environment, queue] = Context(ctx, self._tag(ctx))
        return found

    def tag_for(self, ctx: bytes) -> Tag:
        """What makes and proves tags of this key in a context that is no queue's."""
        return self._tag(ctx)

    def mac_for(self, purpose: str) -> Mac:
        """HMAC-SHA256 under one purpose's key, made ready once. Raises KeysMissing without a state part."""
        found = self._macs.get(purpose)
        if found is None:
            found = self._macs[purpose] = Mac(self.purpose(purpose))
        return found

    def purpose(self, purpose: str) -> bytes:
        """One purpose's key. Raises KeysMissing without a state part."""
        if purpose not in self.purposes:
            raise KeysMissing(self.lacks("state") or f"no purpose {purpose}")
        return self.purposes[purpose]

    def hedge(self, data: bytes) -> bytes:
        """The keyed hash that derived ids come from. Raises KeysMissing without a state part."""
        if self._hedge is None:
            raise KeysMissing(self.lacks("state"))
        return Mac(self._hedge)(data)


# ------------------------------------------------------------------ making


def make_record(root: bytes, *, state: State = "primary", limits: Limits | None = None) -> KeyRecord:
    """The record of a root key, every purpose key derived. In suite 1 the root gives the state key too."""
    return build({"root": root}, "1", state, limits or UNLIMITED)


def build(parts: Mapping[str, bytes], suite: str, state: State, limits: Limits) -> KeyRecord:
    """The record of the parts of one key, by type."""
    make = _local if suite == "1" else _asymmetric
    return KeyRecord(suite=suite, state=state, limits=limits, parts=tuple(parts), **make(parts, suite))


def _local(parts: Mapping[str, bytes], suite: str) -> dict[str, Any]:
    prk = prk_of("root", parts["root"])
    return {
        "key_id": key_id_of(prk),
        "sealing": Symmetric(prk, suite, None),
        "_tag": partial(HmacTag, Mac(expand(prk, b"sig"))),
        "_hedge": expand(prk, b"hedge"),
        "purposes": _purposes(prk_of("state", expand(prk, b"state"))),
    }


def _asymmetric(parts: Mapping[str, bytes], suite: str) -> dict[str, Any]:
    with forks.importing():
        from fnqueue.security import asymmetric  # not at the top: suite 1 needs none of it

    public = parts["verify"] if "verify" in parts else asymmetric.verify_of(parts["sign"])
    sealing: Sealing | None = None
    if "shared" in parts:
        prk = prk_of("shared", parts["shared"])
        sealing = Symmetric(prk, suite, key_id_of(prk))
    elif "seal" in parts or "open" in parts:
        seal = parts["seal"] if "seal" in parts else asymmetric.seal_of(parts["open"])
        sealing = asymmetric.Hpke(parts.get("open"), seal, key_id_of(seal))
    elif "kms" in parts:
        with forks.importing():
            from fnqueue.security.kms import datakeys

        sealing = datakeys.sealing_of(parts["kms"])
    state_prk = prk_of("state", parts["state"]) if "state" in parts else None
    return {
        "key_id": key_id_of(public),
        "sealing": sealing,
        "_tag": partial(asymmetric.Ed25519Tag, asymmetric.Ed25519Pair(parts.get("sign"), public)),
        "_hedge": expand(state_prk, b"hedge") if state_prk else None,
        "purposes": _purposes(state_prk) if state_prk else MappingProxyType({}),
    }


def _purposes(state_prk: bytes) -> Mapping[str, bytes]:
    return MappingProxyType({purpose: expand(state_prk, purpose.encode()) for purpose in STATE_PURPOSES})
