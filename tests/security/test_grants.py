"""The built-in policies: whom each lets pass, and what it tells the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fnqueue import policies
from fnqueue.errors import OptionInvalid
from fnqueue.policies import (
    Decision,
    Policy,
    PolicyContext,
    active,
    authenticated,
    custom,
    fresh,
    from_schedule,
    owns,
    public,
    role,
    same_tenant,
    scope,
    service,
)
from fnqueue.security.principal import ANONYMOUS, Principal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
USER = Principal("7", tenant="acme", roles=frozenset({"viewer", "staff"}), scopes=frozenset({"read"}))
SERVICE = Principal("import", kind="service")
SCHEDULE = Principal("nightly", kind="schedule")
EVERYBODY = (USER, SERVICE, SCHEDULE, ANONYMOUS)


def decided(policy: Policy, principal: Principal = USER, /, *, phase: Any = "execute", **args: Any) -> Decision:
    return policy.decide(PolicyContext(phase, "shop.a", args, principal, NOW))


def passing(policy: Policy) -> list[str]:
    return [who.kind for who in EVERYBODY if decided(policy, who).verdict == "allow"]


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        (public, ["user", "service", "schedule", "anonymous"]),
        (authenticated, ["user", "service", "schedule"]),
        (active, ["user"]),
        (from_schedule, ["schedule"]),
        (service("import"), ["service"]),
        (service("export"), []),
        (service("export", "import"), ["service"]),
        (service("7", "nightly", "anonymous"), []),  # names of others that are no services
    ],
)
def test_who_it_is(policy: Policy, kinds: list[str]) -> None:
    assert passing(policy) == kinds


def test_role_is_any_and_scope_is_all() -> None:
    assert decided(role("editor", "staff")).verdict == "allow"
    assert decided(role("editor", "admin")).verdict == "deny"
    both = Principal("7", scopes=frozenset({"read", "write"}))
    assert decided(scope("read", "write"), both).verdict == "allow"
    assert decided(scope("read", "write"), USER).verdict == "deny"
    assert decided(role("read")).verdict == "deny"  # a scope is no role
    assert decided(scope("staff")).verdict == "deny"


@pytest.mark.parametrize(
    ("policy", "who", "reason"),
    [
        (authenticated, ANONYMOUS, "needs authenticated"),
        (active, SERVICE, "needs a user that exists and is active; service 'import' is none"),
        (from_schedule, USER, "needs a schedule; user '7' is none"),
        (service("a", "b"), USER, "needs service 'a' or 'b'; user '7' is not that"),
        (role("a", "b"), USER, "needs role 'a' or 'b'; user '7' has 'staff', 'viewer'"),
        (role("a"), SERVICE, "needs role 'a'; service 'import' has none"),
        (role("a"), ANONYMOUS, "needs role 'a'"),
        (scope("read", "write"), USER, "needs scope 'read' and 'write'; user '7' has 'read'"),
    ],
)
def test_a_denial_says_in_one_line_what_was_needed_and_what_there_is(
    policy: Policy, who: Principal, reason: str
) -> None:
    assert decided(policy, who) == Decision("deny", reason)


def test_a_principal_with_many_roles_or_a_strange_name_stays_on_one_line() -> None:
    many = Principal("a\nb", roles=frozenset(f"role{n:02}" for n in range(50)))
    reason = decided(role("x"), many).reason
    assert reason.endswith("'role09', and 40 more")
    assert "\n" not in reason


@pytest.mark.parametrize("factory", [role, scope, service])
@pytest.mark.parametrize("names", [(), ("",), (7,), (["a", "b"],), (None,), ("a", "")])
def test_names_must_be_given_and_be_text(factory: Any, names: Any) -> None:
    with pytest.raises(OptionInvalid, match=factory.__name__):
        factory(*names)


# ------------------------------------------------------------------ fresh


def at(**ago: float) -> Principal:
    return Principal("7", auth_time=NOW - timedelta(**ago))


def test_a_login_counts_from_the_moment_of_defer_in_both_phases() -> None:
    for phase in ("defer", "execute"):
        assert decided(fresh(minutes=15), at(minutes=15), phase=phase).verdict == "allow"
        assert decided(fresh(minutes=15), at(minutes=15, seconds=1), phase=phase).verdict == "deny"
        assert decided(fresh(minutes=0.5), at(seconds=30), phase=phase).verdict == "allow"


def test_a_login_after_the_call_is_not_fresh_but_for_a_minute_of_skew() -> None:
    assert decided(fresh(minutes=15), at(seconds=-60)).verdict == "allow"
    assert decided(fresh(minutes=15), at(seconds=-61)).verdict == "deny"


def test_without_an_auth_time_nobody_is_fresh() -> None:
    assert decided(fresh(minutes=15)).reason == (
        "needs a login of the last 15 minutes before the call; user '7' has no auth_time"
    )
    assert "logged in 60 minutes before it" in decided(fresh(minutes=15), at(hours=1)).reason


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "15", None, 10**9])
def test_fresh_takes_minutes_of_a_year_at_most(minutes: Any) -> None:
    with pytest.raises(OptionInvalid, match="minutes="):
        fresh(minutes=minutes)


# ------------------------------------------------------------------ owns, same_tenant


class DoesNotExist(Exception):
    pass


class AccountDoesNotExist(Exception):
    pass


class NoResultFound(Exception):
    pass


class NotFound(Exception):
    pass


class Gone(DoesNotExist):
    pass


class Broken(Exception):
    pass


def raising(error: BaseException) -> Any:
    def load(value: Any) -> Any:
        raise error

    return load


def owner(of: Any) -> Any:
    return lambda value: SimpleNamespace(owner_id=of, tenant_id=of)


@pytest.mark.parametrize(
    ("load", "verdict"),
    [
        (owner("7"), "allow"),
        (owner(7), "allow"),  # ids compare as text
        (lambda value: {"owner_id": 7}, "allow"),
        (owner("8"), "deny"),
        (owner("07"), "deny"),
        (owner(None), "deny"),
        (owner(""), "deny"),
        (lambda value: None, "deny"),
        (raising(DoesNotExist("account 5")), "deny"),
        (raising(AccountDoesNotExist()), "deny"),
        (raising(Gone()), "deny"),
        (raising(NoResultFound()), "deny"),
        (raising(NotFound()), "deny"),
        (raising(Broken("password=hunter2")), "error"),
        (raising(KeyError("owner")), "error"),
        (raising(FileNotFoundError()), "error"),
        (raising(ConnectionError()), "error"),
        (lambda value: SimpleNamespace(), "error"),
        (lambda value: {}, "error"),
        (lambda: None, "error"),
    ],
)
def test_a_user_owns_what_has_the_users_id(load: Any, verdict: str) -> None:
    decision = decided(owns("account_id", load=load), account_id=5)
    assert decision.verdict == verdict
    assert "hunter2" not in decision.reason
    assert "account 5" not in decision.reason


def test_the_loader_gets_the_value_of_the_argument_and_the_field_can_be_named() -> None:
    accounts = {5: SimpleNamespace(user="7"), 6: SimpleNamespace(user="8")}
    policy = owns("account_id", load=accounts.get, owner="user")
    assert [decided(policy, account_id=n).verdict for n in (5, 6, 9)] == ["allow", "deny", "deny"]
    assert policy.arguments() == {"account_id"}


@pytest.mark.parametrize("who", [Principal("7", kind="service"), Principal("7", kind="schedule"), ANONYMOUS])
def test_only_users_own(who: Principal) -> None:
    assert decided(owns("a", load=owner(who.id)), who, a=1).verdict == "deny"


def test_nobody_owns_what_belongs_to_nobody() -> None:
    for none in (None, "None"):
        assert decided(owns("a", load=owner(None)), Principal(str(none)), a=1).verdict == "deny"


def test_a_call_without_the_argument_is_an_error() -> None:
    assert decided(owns("account_id", load=owner("7")), other=1).verdict == "error"


def test_an_object_that_cannot_be_made_text_is_an_error() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise Broken("hunter2")

    decision = decided(owns("a", load=owner(Hostile())), a=1)
    assert decision == Decision("error", "owns('a') could not decide: Broken")


def test_denials_of_owns_do_not_tell_what_exists() -> None:
    absent = decided(owns("account_id", load=lambda value: None), account_id=5)
    assert absent.reason == "needs the owner of account_id; user '7' is not"
    assert (
        decided(owns("account_id", load=owner(8)), account_id=5).reason
        == "needs the owner of account_id; user '7' is not"
    )


@pytest.mark.parametrize(
    ("principal", "tenant", "verdict"),
    [
        (USER, "acme", "allow"),
        (USER, "other", "deny"),
        (USER, None, "deny"),
        (Principal("7"), None, "deny"),
        (Principal("7"), "None", "deny"),
        (Principal("7", tenant="3"), 3, "allow"),
        (Principal("import", kind="service", tenant="acme"), "acme", "allow"),
    ],
)
def test_a_tenant_reaches_its_own(principal: Principal, tenant: Any, verdict: str) -> None:
    assert decided(same_tenant("a", load=owner(tenant)), principal, a=1).verdict == verdict
    assert decided(same_tenant("a", load=lambda value: None), principal, a=1).verdict == "deny"


@pytest.mark.parametrize("factory", [owns, same_tenant])
def test_a_loader_must_be_a_plain_function_and_the_names_names(factory: Any) -> None:
    async def load(value: Any) -> Any: ...

    for mistake in (
        lambda: factory("a", load=load),
        lambda: factory("a", load="Account.by_id"),
        lambda: factory("a", load=None),
        lambda: factory("", load=dict),
        lambda: factory(7, load=dict),
        lambda: factory("a", dict),
        lambda: factory("a"),
    ):
        with pytest.raises((OptionInvalid, TypeError)):
            mistake()


# ------------------------------------------------------------------ custom


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(True, "allow"), (False, "deny"), (1, "error"), (0, "error"), (None, "error"), ("", "error"), ([1], "error")],
)
def test_a_predicate_answers_exactly_true_or_false(answer: Any, verdict: str) -> None:
    @custom
    def mine(ctx: PolicyContext) -> bool:
        """Who may."""
        return answer  # type: ignore[no-any-return]

    assert decided(mine).verdict == verdict
    assert decided(~mine).verdict == {"allow": "deny", "deny": "allow", "error": "error"}[verdict]
    assert repr(mine) == "mine"
    assert mine.__doc__ == "Who may."


def test_a_predicate_that_raises_or_returns_a_coroutine_is_an_error() -> None:
    async def later(ctx: PolicyContext) -> bool:
        return True

    assert decided(custom(raising(Broken("hunter2")))) == Decision("error", "load could not decide: Broken")
    assert decided(custom(raising(DoesNotExist()))).verdict == "error"  # not a loader: who knows what was missing
    assert decided(custom(lambda ctx: later(ctx))).verdict == "error"  # type: ignore[arg-type, return-value]
    with pytest.raises(OptionInvalid, match="is async"):
        custom(later)  # type: ignore[arg-type]


@pytest.mark.parametrize("mistake", [None, True, public, "name", dict])
def test_custom_is_for_functions(mistake: Any) -> None:
    with pytest.raises(OptionInvalid, match="@custom"):
        custom(mistake)


def test_the_public_door_has_what_it_says_and_nothing_else() -> None:
    visible = {name for name in vars(policies) if name.isidentifier() and not name.startswith("_")}
    assert visible == set(policies.__all__)
    assert len(policies.__all__) == len(set(policies.__all__))
