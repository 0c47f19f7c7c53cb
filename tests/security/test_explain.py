"""An explanation says what a decision says, and names the part that settled it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from fnqueue.policies import Decision, Policy, PolicyContext, forbid, public, role, scope
from fnqueue.security.explain import Explained, explain, lets_anybody
from fnqueue.security.principal import Principal

VERDICTS = ("allow", "deny", "skip", "error")
CONTEXT = PolicyContext("defer", "shop.pay", {}, Principal(id="1"), datetime(2026, 1, 1, tzinfo=UTC))


class Says(Policy):
    def __init__(self, verdict: str, name: str = "") -> None:
        self.verdict, self.name = verdict, name or verdict

    def decide(self, ctx: PolicyContext) -> Decision:
        return Decision(self.verdict, f"because {self.name}")  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return self.name


ALLOW, DENY, SKIP, ERROR = map(Says, VERDICTS)


def deciding(policy: Policy) -> list[str]:
    return [leaf.policy for leaf in explain(policy, CONTEXT).leaves() if leaf.decides]


@pytest.mark.parametrize("verdicts", list(product(VERDICTS, repeat=3)))
def test_it_says_what_the_decision_says_of_every_composition(verdicts):
    a, b, c = (Says(verdict, f"{verdict}{index}") for index, verdict in enumerate(verdicts))
    for policy in (a & b & c, a | b | c, a & (b | c), (a & b) | c, a & ~b | c, a & forbid(b) | c, ~(a | b) & c):
        explained, decision = explain(policy, CONTEXT), policy.decide(CONTEXT)
        assert (explained.verdict, explained.policy) == (decision.verdict, repr(policy))
        assert deciding(policy)


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (ALLOW & DENY, ["deny"]),
        (DENY & Says("deny", "other"), ["deny"]),
        (ALLOW & Says("allow", "other"), ["allow", "other"]),
        (DENY | Says("deny", "other"), ["deny", "other"]),
        (DENY | ALLOW, ["allow"]),
        (DENY | SKIP, ["skip"]),
        (ALLOW & ERROR, ["error"]),
        (ALLOW & (DENY | Says("allow", "other")), ["allow", "other"]),
        (~DENY, ["deny"]),
        (ALLOW | forbid(Says("allow", "banned")), ["forbid(banned)"]),
        (ALLOW & ~(DENY & forbid(Says("allow", "banned"))), ["forbid(banned)"]),
        (ALLOW & forbid(DENY), ["allow"]),
        (forbid(DENY), ["forbid(deny)"]),
    ],
)
def test_it_names_the_parts_that_settled_it(policy, names):
    assert deciding(policy) == names


def test_every_part_is_asked_also_what_a_decision_would_not_come_to():
    asked = explain(DENY & ALLOW, CONTEXT)
    assert [(leaf.verdict, leaf.reason) for leaf in asked.leaves()] == [
        ("deny", "because deny"),
        ("allow", "because allow"),
    ]


def test_a_part_that_fails_is_an_error_in_the_tree_and_tells_no_more_than_its_type():
    class Broken(Policy):
        def decide(self, ctx: PolicyContext) -> Decision:
            raise ConnectionError("secret-host is away")

    explained = explain(role("editor") | Broken(), CONTEXT)
    assert explained.verdict == "error"
    assert "secret-host" not in str(explained)


def test_several_of_one_kind_stand_side_by_side():
    explained = explain(ALLOW & ALLOW & (DENY | DENY | SKIP), CONTEXT)
    assert [len(explained.parts), len(explained.parts[2].parts)] == [3, 3]
    assert isinstance(explained, Explained)


@pytest.mark.parametrize(
    ("policy", "anybody"),
    [
        (public, True),
        (public | role("editor"), True),
        (public & forbid(role("banned")), True),
        (public & role("editor"), False),
        (role("editor") | scope("a"), False),
        (forbid(role("banned")), False),
        (~public, False),
    ],
)
def test_what_lets_anybody_in_is_told(policy, anybody):
    assert lets_anybody(policy) is anybody
