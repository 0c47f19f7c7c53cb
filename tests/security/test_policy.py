"""The algebra of policies, as its tables say; and that deciding never raises."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnqueue.errors import OptionInvalid
from fnqueue.policies import Decision, Policy, PolicyContext, authenticated, custom, forbid, owns, public, role, service
from fnqueue.security.policy import check_arguments, check_policy
from fnqueue.security.principal import Principal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VERDICTS: tuple[Any, ...] = ("allow", "skip", "deny", "error")


def asked(phase: Literal["defer", "execute"] = "execute", **args: Any) -> PolicyContext:
    return PolicyContext(phase, "shop.a", args, Principal("7", roles=frozenset({"staff"})), NOW)


class Fixed(Policy):
    """Says what it is told to, and counts how often it was asked."""

    def __init__(self, verdict: Any) -> None:
        self.verdict, self.asked = verdict, 0

    def decide(self, ctx: PolicyContext) -> Decision:
        self.asked += 1
        return Decision(self.verdict, f"because {self.verdict}")

    def __repr__(self) -> str:
        return str(self.verdict)


def verdict(policy: Policy) -> str:
    return policy.decide(asked()).verdict


# Rows and columns: allow, skip, deny, error.
AND = [
    ["allow", "skip", "deny", "error"],
    ["skip", "skip", "deny", "error"],
    ["deny", "deny", "deny", "deny"],
    ["error", "error", "deny", "error"],
]
OR = [
    ["allow", "allow", "allow", "allow"],
    ["allow", "skip", "skip", "error"],
    ["allow", "skip", "deny", "error"],
    ["allow", "error", "error", "error"],
]
NOT = {"allow": "deny", "deny": "allow", "skip": "skip", "error": "error"}


@pytest.mark.parametrize(("a", "b"), list(product(range(4), repeat=2)))
def test_and_is_as_the_table_says(a: int, b: int) -> None:
    assert verdict(Fixed(VERDICTS[a]) & Fixed(VERDICTS[b])) == AND[a][b]


@pytest.mark.parametrize(("a", "b"), list(product(range(4), repeat=2)))
def test_or_is_as_the_table_says(a: int, b: int) -> None:
    assert verdict(Fixed(VERDICTS[a]) | Fixed(VERDICTS[b])) == OR[a][b]


@pytest.mark.parametrize("inner", VERDICTS)
def test_not_swaps_allow_and_deny_only(inner: str) -> None:
    assert verdict(~Fixed(inner)) == NOT[inner]
    assert verdict(~~Fixed(inner)) == inner


@pytest.mark.parametrize(("a", "b", "c"), list(product(VERDICTS, repeat=3)))
def test_three_in_a_row_may_be_grouped_in_any_way(a: str, b: str, c: str) -> None:
    assert verdict((Fixed(a) & Fixed(b)) & Fixed(c)) == verdict(Fixed(a) & (Fixed(b) & Fixed(c)))
    assert verdict((Fixed(a) | Fixed(b)) | Fixed(c)) == verdict(Fixed(a) | (Fixed(b) | Fixed(c)))
    assert verdict(Fixed(a) & Fixed(b) & Fixed(c)) == verdict(Fixed(c) & Fixed(b) & Fixed(a))


# ------------------------------------------------------------------ forbid


@pytest.mark.parametrize("other", VERDICTS)
def test_what_is_forbidden_is_denied_wherever_it_stands(other: str) -> None:
    banned = forbid(Fixed("allow"))
    for policy in (
        banned,
        Fixed(other) & banned,
        banned & Fixed(other),
        Fixed(other) | banned,
        banned | Fixed(other),
        Fixed("allow") | (Fixed(other) & (Fixed("allow") | banned)),
        (Fixed("allow") | banned) | Fixed("allow"),
        ~banned,
        ~(Fixed(other) | banned),
        forbid(banned),
        public | ~~banned,
    ):
        assert verdict(policy) == "deny", policy


@pytest.mark.parametrize("other", VERDICTS)
def test_who_is_not_forbidden_gets_what_the_rest_says(other: str) -> None:
    """Above all: `role("editor") | forbid(banned)` lets nobody in but editors."""
    harmless = forbid(Fixed("deny"))
    assert verdict(Fixed(other) | harmless) == other
    assert verdict(harmless | Fixed(other)) == other
    assert verdict(Fixed(other) & harmless) == other
    assert verdict(harmless & Fixed(other)) == other
    assert verdict(~(Fixed(other) | harmless)) == NOT[other]
    for nothing in (harmless | harmless, harmless & harmless, ~harmless, forbid(harmless | ~harmless)):
        assert verdict(nothing | Fixed(other)) == verdict(Fixed(other) | nothing) == other
        assert verdict(nothing & Fixed(other)) == verdict(Fixed(other) & nothing) == other


def test_forbid_alone_lets_all_others_pass() -> None:
    assert verdict(forbid(Fixed("deny"))) == "allow"
    assert verdict(forbid(Fixed("deny")) & forbid(Fixed("deny"))) == "allow"
    assert verdict(forbid(Fixed("deny")) | forbid(Fixed("allow"))) == "deny"


@pytest.mark.parametrize(("undecided", "other"), list(product(("skip", "error"), VERDICTS)))
def test_a_forbid_that_cannot_be_decided_is_never_outvoted_into_allow(undecided: str, other: str) -> None:
    for policy in (
        Fixed(other) | forbid(Fixed(undecided)),
        Fixed(other) & forbid(Fixed(undecided)),
        forbid(Fixed(undecided)),
    ):
        assert verdict(policy) != "allow"
    assert verdict(Fixed("allow") | forbid(Fixed(undecided))) == undecided


policies = st.recursive(
    st.sampled_from(VERDICTS).map(Fixed),
    lambda inner: (
        st.builds(lambda a, b: a & b, inner, inner)
        | st.builds(lambda a, b: a | b, inner, inner)
        | st.builds(lambda a: ~a, inner)
        | st.builds(forbid, inner)
    ),
    max_leaves=12,
)


@given(policies)
def test_a_veto_holds_in_every_composition(policy: Policy) -> None:
    banned = forbid(Fixed("allow"))
    assert verdict(policy | banned) == verdict(policy & banned) == verdict(~(policy | banned)) == "deny"
    assert verdict(policy) in VERDICTS


@given(policies)
def test_what_is_undecided_everywhere_never_allows(policy: Policy) -> None:
    def leaves(part: Policy) -> list[Fixed]:
        return [part] if isinstance(part, Fixed) else [leaf for sub in part.parts for leaf in leaves(sub)]  # type: ignore[attr-defined]

    if "forbid" in repr(policy):
        return  # forbid alone may allow without any leaf that does
    for leaf in leaves(policy):
        leaf.verdict = "error"
    assert verdict(policy) == "error"


def test_the_other_side_is_not_asked_when_one_decides() -> None:
    costly = Fixed("allow")
    verdict(Fixed("deny") & costly)
    verdict(Fixed("allow") | costly)
    assert costly.asked == 0


# ------------------------------------------------------------------ phases, texts


@pytest.mark.parametrize(
    ("given", "defer", "execute"),
    [("allow", True, True), ("skip", True, False), ("deny", False, False), ("error", False, False)],
)
def test_skip_passes_at_defer_and_not_at_execution(given: Any, defer: bool, execute: bool) -> None:
    assert Decision(given).passes("defer") is defer
    assert Decision(given).passes("execute") is execute


def test_a_policy_reads_as_it_was_written() -> None:
    policy = (role("editor", "admin") | service("import")) & ~owns("account_id", load=dict) & forbid(authenticated)
    assert repr(policy) == (
        "(role('editor', 'admin') | service('import')) & ~owns('account_id') & forbid(authenticated)"
    )
    assert repr(~(public & authenticated)) == "~(public & authenticated)"


def test_a_denial_says_what_was_needed_of_each_side() -> None:
    either = (role("editor") | service("import")).decide(asked())
    assert either.reason == (
        "needs role 'editor'; user '7' has 'staff', or: needs service 'import'; user '7' is not that"
    )
    assert (role("staff") & role("editor")).decide(asked()).reason == "needs role 'editor'; user '7' has 'staff'"
    assert (~role("staff")).decide(asked()).reason == "needs ~role('staff'); user '7' is that"
    assert forbid(role("staff")).decide(asked()).reason == "is forbidden to role('staff'), which user '7' is"


# ------------------------------------------------------------------ mistakes


def test_a_policy_has_no_truth_value() -> None:
    for mistake in (
        lambda: public and authenticated,
        lambda: public or authenticated,
        lambda: not public,
        lambda: bool(public),
        lambda: 1 if authenticated else 2,
    ):
        with pytest.raises(TypeError, match="write & for `and`"):
            mistake()


def test_a_factory_that_was_not_called_is_told_how() -> None:
    for factory, example in ((role, 'role("editor")'), (service, 'service("import")'), (owns, 'owns("account_id"')):
        for mistake in (
            lambda factory=factory: check_policy(factory),
            lambda factory=factory: public & factory,
            lambda factory=factory: factory & public,
            lambda factory=factory: public | factory,
            lambda factory=factory: factory | public,
            lambda factory=factory: forbid(factory),
        ):
            with pytest.raises(OptionInvalid) as told:
                mistake()
            assert f"policy={factory.__name__} was not called: write {example}" in str(told.value)


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        (lambda ctx: True, "put @custom"),
        (len, "put @custom"),
        (Fixed, "is the class: make one of it"),
        ("authenticated", "this is a str"),
        (True, "this is a bool"),
        (["public"], "this is a list"),
    ],
)
def test_what_is_no_policy_is_told_why(mistake: Any, why: str) -> None:
    with pytest.raises(OptionInvalid, match=why):
        check_policy(mistake)


def test_a_policy_is_given_back_by_its_check() -> None:
    assert check_policy(public) is public


def test_an_argument_that_the_task_does_not_have_is_told_at_decoration() -> None:
    policy = role("staff") & (owns("account_id", load=dict) | ~forbid(owns("invoice", load=dict)))
    check_arguments(policy, ["account_id", "invoice", "month"], task="shop.a")
    with pytest.raises(OptionInvalid, match=r"shop\.a: .* looks at 'invoice', and its arguments are account_id, month"):
        check_arguments(policy, ["account_id", "month"], task="shop.a")
    with pytest.raises(OptionInvalid, match="it has no arguments"):
        check_arguments(policy, [], task="shop.a")


# ------------------------------------------------------------------ never raises


class Secret(Exception):
    pass


@pytest.mark.parametrize(
    "answer",
    [None, True, "allow", ("allow", ""), Decision("maybe"), Decision(None)],  # type: ignore[arg-type]
)
def test_a_policy_of_ones_own_that_answers_wrongly_is_an_error(answer: Any) -> None:
    class Mine(Policy):
        def decide(self, ctx: PolicyContext) -> Decision:
            return answer  # type: ignore[no-any-return]

    for policy in (Mine(), Mine() & public, ~Mine(), Mine() | Fixed("deny"), public | forbid(Mine())):
        assert verdict(policy) == "error"


def test_a_policy_that_raises_is_an_error_that_tells_the_type_only() -> None:
    class Mine(Policy):
        def decide(self, ctx: PolicyContext) -> Decision:
            raise Secret("password=hunter2\nsecond line")

    for policy in (Mine(), Mine() & public, ~Mine(), Mine() | Fixed("deny")):
        decision = policy.decide(asked())
        assert decision.verdict == "error"
        assert decision.reason == "Mine could not decide: Secret"


def test_a_policy_without_decide_allows_nobody() -> None:
    class Empty(Policy):
        pass

    assert verdict(Empty()) == "error"


def test_a_subclass_of_a_subclass_is_guarded_too() -> None:
    class Louder(Fixed):
        def decide(self, ctx: PolicyContext) -> Decision:
            super().decide(ctx)
            raise Secret

    assert verdict(Louder("allow")) == "error"


def test_a_context_does_not_show_its_arguments() -> None:
    assert repr(asked(password="hunter2")) == "<PolicyContext execute of shop.a for user '7'>"


def test_custom_composes_like_any_other() -> None:
    @custom
    def even(ctx: PolicyContext) -> bool:
        return int(ctx.args["n"]) % 2 == 0

    assert (even & role("staff")).decide(asked(n=2)).verdict == "allow"
    assert (even & role("staff")).decide(asked(n=3)).verdict == "deny"
