"""Policies: may this principal have this task run?

A policy is asked twice: when the call is deferred, where ALLOW and SKIP ("not knowable yet") pass, and when it
is about to run, where only ALLOW does. It never raises: what fails to decide is ERROR, and ERROR never allows.

    a & b    DENY outweighs ERROR outweighs SKIP outweighs ALLOW
    a | b    ALLOW outweighs ERROR outweighs SKIP outweighs DENY
    ~a       swaps ALLOW and DENY
    forbid(a)    denies whom `a` allows, wherever it stands, and allows nobody by itself

Python's `and`, `or` and `not` would quietly drop one side, so a policy has no truth value.
Knows principals; knows nothing of tasks. The policies themselves are in grants.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from fnqueue.errors import OptionInvalid
from fnqueue.security.principal import Principal

Phase = Literal["defer", "execute"]
Verdict = Literal["allow", "deny", "skip", "error"]

_AND: Final[tuple[Verdict, ...]] = ("deny", "error", "skip", "allow")
_OR: Final[tuple[Verdict, ...]] = ("allow", "error", "skip", "deny")


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What is decided upon. `args`: all arguments by name. `deferred_at`: aware; at defer, now."""

    phase: Phase
    task: str
    args: Mapping[str, Any]
    principal: Principal
    deferred_at: datetime

    def __repr__(self) -> str:
        return f"<PolicyContext {self.phase} of {self.task} for {self.principal}>"  # no arguments


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and its reason: one line that says what was needed and what the principal has."""

    verdict: Verdict
    reason: str = ""

    def passes(self, phase: Phase) -> bool:
        """At defer ALLOW and SKIP, at execution only ALLOW."""
        return self.verdict == "allow" or (self.verdict == "skip" and phase == "defer")


ALLOW: Final = Decision("allow")


class Policy:
    """The base of all policies. A class of one's own defines `decide`, without side effects."""

    def decide(self, ctx: PolicyContext) -> Decision:
        """The verdict on one call. What a subclass raises, or gives that is no Decision, becomes ERROR."""
        return Decision("error", f"{type(self).__name__} defines no decide()")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "decide" in cls.__dict__:
            setattr(cls, "decide", _guarded(cls.__dict__["decide"]))  # noqa: B010 - mypy minds an assignment

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise OptionInvalid(f"{self!r} is a policy already, and is not called: write policy={self!r}")

    def arguments(self) -> frozenset[str]:
        """The names of the task's arguments that this policy looks at."""
        return frozenset()

    def asks_who(self) -> bool:
        """Whether the verdict may depend on who is logged in: then a request must be known where a call is made."""
        return True

    def __and__(self, other: Policy) -> Policy:
        return _Both(self, check_policy(other))

    def __rand__(self, other: Any) -> Policy:
        return _Both(check_policy(other), self)

    def __or__(self, other: Policy) -> Policy:
        return _Either(self, check_policy(other))

    def __ror__(self, other: Any) -> Policy:
        return _Either(check_policy(other), self)

    def __invert__(self) -> Policy:
        return _Not(self)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth value: write & for `and`, | for `or`, ~ for `not`")

    def __repr__(self) -> str:
        return type(self).__name__

    # ---- how compositions ask; a policy of one's own leaves these alone

    def _vetoes(self) -> tuple[Policy, ...]:
        """What the `forbid`s inside forbid."""
        return ()

    def _verdict(self, ctx: PolicyContext) -> Decision | None:
        """The decision without the vetoes; None where there is nothing but them."""
        return self.decide(ctx)


def _guarded(decide: Callable[[Any, PolicyContext], Any]) -> Callable[[Any, PolicyContext], Decision]:
    @functools.wraps(decide)
    def guarded(self: Policy, ctx: PolicyContext) -> Decision:
        try:
            decision = decide(self, ctx)
        except Exception as error:  # its text may hold anything, so only its type is told
            return Decision("error", f"{self!r} could not decide: {type(error).__name__}")
        if isinstance(decision, Decision) and decision.verdict in _AND:
            return decision
        return Decision("error", f"{self!r} gave a {type(decision).__name__} that is no Decision")

    return guarded


class _Composed(Policy):
    """A policy of policies: vetoes first, then the rest as the tables say."""

    parts: tuple[Policy, ...]

    def decide(self, ctx: PolicyContext) -> Decision:
        vetoes = [_forbidden(policy, ctx) for policy in self._vetoes()]
        return combined((*vetoes, self._verdict(ctx)), _AND)

    def arguments(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.arguments() for part in self.parts))

    def asks_who(self) -> bool:
        return any(part.asks_who() for part in self.parts)

    def _vetoes(self) -> tuple[Policy, ...]:
        return tuple(veto for part in self.parts for veto in part._vetoes())


def _forbidden(policy: Policy, ctx: PolicyContext) -> Decision | None:
    decision = policy._verdict(ctx)
    if decision is None or decision.verdict == "deny":
        return None
    if decision.verdict == "allow":
        return Decision("deny", f"is forbidden to {policy!r}, which {ctx.principal} is")
    return decision


def combined(decisions: Iterable[Decision | None], order: tuple[Verdict, ...]) -> Decision:
    """The first in `order` of those that are there; ALLOW when none is."""
    there = [decision for decision in decisions if decision is not None]
    return min(there, key=lambda decision: order.index(decision.verdict), default=ALLOW)


class _Both(_Composed):
    def __init__(self, left: Policy, right: Policy) -> None:
        self.parts = (left, right)

    def _verdict(self, ctx: PolicyContext) -> Decision | None:
        left = self.parts[0]._verdict(ctx)
        if left is not None and left.verdict == "deny":
            return left  # decided; the other side may cost a query
        right = self.parts[1]._verdict(ctx)
        return None if left is None and right is None else combined((left, right), _AND)

    def __repr__(self) -> str:
        return " & ".join(f"({part!r})" if isinstance(part, _Either) else repr(part) for part in self.parts)


class _Either(_Composed):
    def __init__(self, left: Policy, right: Policy) -> None:
        self.parts = (left, right)

    def _verdict(self, ctx: PolicyContext) -> Decision | None:
        left = self.parts[0]._verdict(ctx)
        if left is not None and left.verdict == "allow":
            return left
        right = self.parts[1]._verdict(ctx)
        if left is None or right is None:
            return left or right
        if left.verdict == right.verdict == "deny":
            return Decision("deny", f"{left.reason}, or: {right.reason}")
        return combined((left, right), _OR)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))


class _Not(_Composed):
    def __init__(self, inner: Policy) -> None:
        self.parts = (inner,)

    def _verdict(self, ctx: PolicyContext) -> Decision | None:
        inner = self.parts[0]._verdict(ctx)
        if inner is None or inner.verdict in ("skip", "error"):
            return inner
        if inner.verdict == "deny":
            return Decision("allow", f"is not {self.parts[0]!r}")
        return Decision("deny", f"needs {self!r}; {ctx.principal} is that")

    def __repr__(self) -> str:
        return f"~{self.parts[0]!r}" if not isinstance(self.parts[0], _Both | _Either) else f"~({self.parts[0]!r})"


class _Forbid(_Composed):
    def __init__(self, inner: Policy) -> None:
        self.parts = (inner,)

    def _vetoes(self) -> tuple[Policy, ...]:
        return (self.parts[0], *self.parts[0]._vetoes())

    def _verdict(self, ctx: PolicyContext) -> Decision | None:
        return None

    def __repr__(self) -> str:
        return f"forbid({self.parts[0]!r})"


def forbid(policy: Policy) -> Policy:
    """Deny whom `policy` allows. No bar outvotes it, and it lets nobody in: alone, or with `&`, all others pass."""
    return _Forbid(check_policy(policy))


# ------------------------------------------------------------------ checks at decoration


def check_policy(policy: Any) -> Policy:
    """`policy` itself. Raises OptionInvalid for what is none, such as `role` that was not called."""
    if isinstance(policy, Policy):
        return policy
    name = getattr(policy, "__name__", "")
    if isinstance(policy, type) and issubclass(policy, Policy):
        raise OptionInvalid(f"policy={name} is the class: make one of it, {name}()")
    if getattr(policy, "__policy_factory__", None):
        raise OptionInvalid(f"policy={name} was not called: write {policy.__policy_factory__}")
    if callable(policy) and name:
        raise OptionInvalid(f"policy={name} is a plain function: put @custom (fnqueue.policies) on it")
    raise OptionInvalid(f"a policy is wanted, from fnqueue.policies, and this is a {type(policy).__name__}")


def check_arguments(policy: Policy, parameters: Iterable[str], *, task: str) -> None:
    """Raises OptionInvalid when the policy looks at an argument that the task does not have."""
    known = list(parameters)
    missing = sorted(policy.arguments().difference(known))
    if missing:
        has = f"its arguments are {', '.join(known)}" if known else "it has no arguments"
        raise OptionInvalid(f"{task}: {policy!r} looks at {', '.join(map(repr, missing))}, and {has}")
