"""Why a policy decides as it does: its parts as a tree, each with its own verdict, and which of them settled it.

Unlike a decision, an explanation asks every part, also those that a decision would not come to any more. So it may cost
more, and it is for people. Verdicts are the policies' own: nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fnqueue.security.grants import public
from fnqueue.security.policy import (
    Decision,
    Policy,
    PolicyContext,
    Verdict,
    _Both,
    _Composed,
    _Either,
    _Forbid,
    _forbidden,
    _Not,
)


@dataclass(frozen=True, slots=True)
class Explained:
    """A policy and its verdict; None: a `forbid` that forbids nobody here. `decides`: it settled the whole."""

    policy: str
    verdict: Verdict | None
    reason: str
    parts: tuple[Explained, ...] = ()
    decides: bool = False

    def leaves(self) -> Iterator[Explained]:
        """What has no parts, from left to right; a `forbid` counts as one."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


def explain(policy: Policy, ctx: PolicyContext) -> Explained:
    """The whole tree. Raises nothing: what fails to decide is an "error" in it."""
    node, own = _explained(policy, ctx, policy.decide(ctx)), _own_verdict(policy, ctx)
    settled_without = node.verdict == "allow" or (own is not None and own.verdict == node.verdict != "deny")
    if not settled_without and _forbids(node, policy, node.verdict):
        return _mark_vetoes(node, policy, node.verdict)
    return _mark(node, policy, node.verdict)


def lets_anybody(policy: Policy) -> bool:
    """Whether it says `public` where that is enough: nobody needs to be logged in. What is forbidden stays so."""
    if isinstance(policy, _Either):
        return any(lets_anybody(part) for part in policy.parts)
    if isinstance(policy, _Both):
        return all(lets_anybody(part) or isinstance(part, _Forbid) for part in policy.parts) and any(
            lets_anybody(part) for part in policy.parts
        )
    return policy is public


def _explained(policy: Policy, ctx: PolicyContext, decision: Decision | None) -> Explained:
    parts: Iterable[Policy] = ()
    if isinstance(policy, _Composed) and not isinstance(policy, _Forbid):
        parts = _flat(policy, type(policy))
    return Explained(
        policy=repr(policy),
        verdict=decision.verdict if decision is not None else None,
        reason=decision.reason if decision is not None else "",
        parts=tuple(_explained(part, ctx, _own_verdict(part, ctx)) for part in parts),
    )


def _own_verdict(policy: Policy, ctx: PolicyContext) -> Decision | None:
    return _forbidden(policy.parts[0], ctx) if isinstance(policy, _Forbid) else policy._verdict(ctx)


def _flat(policy: _Composed, kind: type[_Composed]) -> Iterator[Policy]:
    """`a & b & c` has three parts, and not two of which one has two."""
    for part in policy.parts:
        if isinstance(part, kind) and kind is not _Not:
            yield from _flat(part, kind)
        else:
            yield part


# ------------------------------------------------------------------ which part settled it


def _forbids(node: Explained, policy: Policy, verdict: Verdict | None) -> bool:
    """Whether a `forbid` says so, wherever it stands: then nothing else matters."""
    if isinstance(policy, _Forbid):
        return node.verdict == verdict
    return any(_forbids(part, each, verdict) for part, each in _pairs(node, policy))


def _mark_vetoes(node: Explained, policy: Policy, verdict: Verdict | None) -> Explained:
    if isinstance(policy, _Forbid):
        return replace(node, decides=node.verdict == verdict)
    return replace(node, parts=tuple(_mark_vetoes(part, each, verdict) for part, each in _pairs(node, policy)))


def _mark(node: Explained, policy: Policy, wanted: Verdict | None) -> Explained:
    """Mark what gave the verdict: one part will do, unless it takes all of them."""
    if not node.parts:
        return replace(node, decides=True)
    takes_all = wanted == ("allow" if isinstance(policy, _Both) else "deny") and not isinstance(policy, _Not)
    found, parts = False, []
    for part, each in _pairs(node, policy):
        same = part.verdict == wanted or isinstance(policy, _Not)
        if same and (takes_all or not found):
            part, found = _mark(part, each, part.verdict), True
        parts.append(part)
    return replace(node, parts=tuple(parts))


def _pairs(node: Explained, policy: Policy) -> list[tuple[Explained, Policy]]:
    if not isinstance(policy, _Composed) or not node.parts:
        return []
    return list(zip(node.parts, _flat(policy, type(policy)), strict=True))
