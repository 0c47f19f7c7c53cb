"""Who a call is made for: rights that only shrink, and a shape that travels."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnqueue.security.principal import ANONYMOUS, VIA_MAX, Principal, service

words = st.frozensets(st.text(min_size=1, max_size=5), max_size=5)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
principals = st.builds(
    Principal,
    id=texts,
    kind=st.sampled_from(["user", "service", "schedule", "anonymous"]),
    tenant=st.none() | texts,
    roles=st.frozensets(texts, max_size=5),
    scopes=st.frozensets(texts, max_size=5),
    auth_time=st.none() | st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
    credential_version=st.none() | st.text(st.characters(codec="utf-8")),
    via=st.lists(texts, max_size=3).map(tuple),
)


@given(principals)
def test_a_principal_travels_as_json_and_comes_back(principal: Principal) -> None:
    travelled = msgspec.json.decode(msgspec.json.encode(principal.to_wire()))
    back = Principal.from_wire(travelled)
    assert back.auth_time is None or abs(back.auth_time - principal.auth_time) < timedelta(milliseconds=1)  # type: ignore[operator]
    assert back.to_wire().keys() == principal.to_wire().keys()
    for name in ("id", "kind", "tenant", "roles", "scopes", "credential_version", "via"):
        assert getattr(back, name) == getattr(principal, name)


def test_an_auth_time_of_our_days_comes_back_to_the_microsecond() -> None:
    moment = datetime(2026, 11, 22, 17, 5, 3, 123457, timezone(timedelta(hours=2)))
    assert Principal.from_wire(Principal("7", auth_time=moment).to_wire()).auth_time == moment


@given(principals, st.none() | words, st.none() | words)
def test_attenuating_never_gives_a_right(
    principal: Principal, roles: frozenset[str] | None, scopes: frozenset[str] | None
) -> None:
    less = principal.attenuate(roles=roles, scopes=scopes)
    assert less.roles == (principal.roles if roles is None else principal.roles & roles)
    assert less.scopes == (principal.scopes if scopes is None else principal.scopes & scopes)
    assert (less.id, less.kind, less.tenant, less.auth_time) == (
        principal.id,
        principal.kind,
        principal.tenant,
        principal.auth_time,
    )


def test_attenuating_takes_any_iterable_but_no_single_text() -> None:
    editor = Principal("7", roles=frozenset({"editor", "staff"}))
    assert editor.attenuate(roles=["editor", "root"]).roles == {"editor"}
    assert editor.attenuate(roles=()).roles == frozenset()
    with pytest.raises(ValueError, match="several names"):
        editor.attenuate(roles="editor")


@given(principals, words, words, st.none() | texts)
def test_what_was_signed_and_still_holds_is_all_that_is_left(
    signed: Principal, roles: frozenset[str], scopes: frozenset[str], tenant: str | None
) -> None:
    now = Principal(signed.id, signed.kind, tenant, roles, scopes)
    left = signed.narrowed_to(now)
    assert left.roles == signed.roles & roles
    assert left.scopes == signed.scopes & scopes
    assert left.tenant == (tenant if tenant == signed.tenant else None)
    assert left.auth_time == signed.auth_time


@pytest.mark.parametrize("other", [Principal("8"), Principal("7", kind="service")])
def test_a_loader_that_gives_somebody_else_is_an_error(other: Principal) -> None:
    with pytest.raises(ValueError, match="loaded"):
        Principal("7").narrowed_to(other)


def test_a_principal_that_is_passed_on_remembers_by_whom_and_gains_nothing() -> None:
    first = Principal("7", roles=frozenset({"editor"}))
    passed = first.through("shop.a").through("shop.b")
    assert passed.via == ("shop.a", "shop.b")
    assert (passed.id, passed.roles) == ("7", {"editor"})
    for number in range(100):
        passed = passed.through(f"t{number}")
    assert len(passed.via) == VIA_MAX
    assert passed.via[-1] == "t99"


def test_a_principal_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Principal("7").id = "8"  # type: ignore[misc]
    roles = {"editor"}
    principal = Principal("7", roles=roles)  # type: ignore[arg-type]
    roles.add("root")
    assert principal.roles == {"editor"}
    assert hash(principal) == hash(Principal("7", roles=frozenset({"editor"})))


def test_ids_of_numbers_become_text() -> None:
    assert Principal(7).id == "7"  # type: ignore[arg-type]
    assert Principal("7", tenant=3).tenant == "3"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"id": ""},
        {"id": None},
        {"id": True},
        {"kind": "admin"},
        {"kind": "u"},
        {"tenant": ""},
        {"auth_time": datetime(2026, 1, 1)},
        {"roles": "editor"},
        {"roles": [""]},
        {"roles": [7]},
        {"scopes": "a"},
    ],
)
def test_a_principal_of_the_wrong_shape_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Principal"):
        Principal(**({"id": "7"} | given))


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [],
        {},
        {"i": "7"},
        {"i": "", "k": "u"},
        {"i": 7, "k": "u"},
        {"i": "7", "k": "user"},
        {"i": "7", "k": "u", "x": 1},
        {"i": "7", "k": "u", "r": "root"},
        {"i": "7", "k": "u", "s": [""]},
        {"i": "7", "k": "u", "t": ""},
        {"i": "7", "k": "u", "a": "now"},
        {"i": "7", "k": "u", "a": float("nan")},
        {"i": "7", "k": "u", "a": 1e300},
    ],
)
def test_what_is_no_principal_on_the_wire_is_refused(wire: Any) -> None:
    with pytest.raises(ValueError):
        Principal.from_wire(wire)


def test_services_and_nobody_have_names() -> None:
    importer = service("import", scopes=["write"])
    assert (importer.kind, importer.id, importer.scopes) == ("service", "import", {"write"})
    assert str(importer) == "service 'import'"
    assert str(ANONYMOUS) == "nobody"
    assert str(Principal("ada\nbob")) == "user 'ada\\nbob'"


def test_the_credential_version_is_not_shown() -> None:
    assert "argon2" not in repr(Principal("7", credential_version="argon2$secret"))
