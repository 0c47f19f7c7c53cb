"""What a task's calls take over from the call that it runs for: where all began, for whom, and with what rights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fnqueue import FnQueue, PolicyDenied, Principal, current_task
from fnqueue.broker.base import Entry
from fnqueue.clock import to_datetime
from fnqueue.events import RanAs
from fnqueue.policies import fresh, public, role
from fnqueue.security.envelope import Header, peek
from fnqueue.testing.hand import Hand
from tests.execution.helpers import dead_letters

ADA = Principal(id="1", roles=frozenset({"editor"}))


@pytest.fixture
def headers(fn: FnQueue) -> Callable[[], list[Header]]:
    """Runs what is due, message by message, and returns the clear headers that they came with."""

    def run() -> list[Header]:
        hand, found = Hand(fn.runtime(), nullcontext, raised=None), []
        while (delivery := hand.next(())) is not None:
            found.append(peek(delivery.body))
            hand.do(delivery)
        return found

    return run


@pytest.fixture
def family(fn: FnQueue):
    """`family(3)` defers `family(2)`, and so on down to nobody."""

    @fn.task(name="family", policy=public)
    def family(more: int) -> None:
        if more:
            family.defer(more - 1)

    return family


# ------------------------------------------------------------------ the root


def test_a_call_of_a_view_is_its_own_root_and_says_nothing_of_one(family, headers):
    family.defer(0)
    assert [header.root for header in headers()] == [None]


def test_a_grandchilds_header_names_the_first_call(family, headers):
    first = family.defer(3)
    assert [header.root for header in headers()] == [None, first.id, first.id, first.id]


def test_a_task_knows_where_all_began(fn, drain):
    seen = []

    @fn.task(name="child", policy=public)
    def child() -> None:
        seen.append((current_task.id, current_task.root))

    @fn.task(name="first", policy=public)
    def first() -> None:
        seen.append((current_task.id, current_task.root))
        child.defer()

    handle = first.defer()
    drain()
    assert seen[0] == (handle.id, handle.id)
    assert seen[1][1] == handle.id
    assert seen[1][0] != handle.id


def test_a_call_that_a_coroutine_makes_in_a_thread_has_its_root_too(fn, drain):
    roots = []

    @fn.task(name="child", policy=public)
    def child() -> None:
        roots.append(current_task.root)

    @fn.task(name="first", policy=public)
    async def first() -> None:
        await child.adefer()

    handle = first.defer()
    drain()
    assert roots == [handle.id]


def test_on_whose_behalf_a_task_defers_does_not_change_where_all_began(fn, drain):
    roots = []

    @fn.task(name="child", policy=public)
    def child() -> None:
        roots.append(current_task.root)

    @fn.task(name="first", policy=public)
    def first() -> None:
        with fn.as_principal(ADA), fn.batch():
            child.defer()
        child.using(delay_seconds=7200).defer()  # it is parked
        child.apply()

    handle = first.defer()
    drain()
    drain.advance(hours=3)
    assert roots == [handle.id] * 3


def test_a_root_that_was_edited_on_the_way_is_a_false_tag(fn, drain):
    @fn.task(name="child", policy=public)
    def child() -> None:
        raise AssertionError("ran")

    @fn.task(name="first", policy=public)
    def first() -> None:
        child.using(queue="later").defer()

    handle, other = first.defer(), first.defer()
    drain("default")
    broker = fn.runtime().engine.broker
    taken = broker.receive("later", max_messages=2, visibility_seconds=30)
    broker.delete("later", [message.receipt for message in taken])
    (body,) = [message.body for message in taken if peek(message.body).root == handle.id]
    broker.send("later", [Entry(id="edited", body=body.replace(handle.id, other.id))])
    drain("later")
    assert dead_letters(fn, "later") == [("BAD_TAG", "later")]


# ------------------------------------------------------------------ for whom, and with what rights


@pytest.fixture
def seen() -> dict[str, Principal]:
    return {}


@pytest.fixture
def note(fn, seen):
    """A task that notes for whom it ran, and then calls what it is told to."""

    @fn.task(name="note", policy=public)
    def note(name: str, then: str = "") -> None:
        seen[name] = current_task.principal
        if then:
            note.defer(then)

    return note


def test_a_tasks_calls_are_for_whom_it_runs_and_say_which_tasks_passed_them_on(fn, note, seen, drain):
    @fn.task(name="first", policy=public)
    def first() -> None:
        note.defer("child", "grandchild")

    login = datetime(2026, 11, 26, 9, tzinfo=UTC)
    ada = Principal(id="1", tenant="acme", roles={"editor"}, scopes={"a"}, auth_time=login, credential_version="7")
    with fn.as_principal(ada):
        first.defer()
    drain()
    assert seen["child"] == replace(ada, via=("first",)).without_credentials()
    assert seen["grandchild"] == replace(seen["child"], via=("first", "note"))


def test_what_a_reload_took_away_is_not_back_for_the_children(fn, note, seen, drain):
    before = Principal(id="1", tenant="acme", roles={"editor"}, credential_version="6")
    loads = iter([Principal(id="1", tenant="other", credential_version="7")])  # and from then on as it was before
    fn.load_principal(lambda id: next(loads, before))
    with fn.as_principal(before):
        note.defer("parent", "child")
    drain()
    for name in ("parent", "child"):
        assert (seen[name].roles, seen[name].tenant, seen[name].credential_version) == (set(), None, None)


def test_a_task_may_give_its_calls_fewer_rights_than_it_has_and_never_more(fn, note, seen, drain):
    @fn.task(name="first", policy=role("editor"))
    def first() -> None:
        with fn.attenuate(roles=["editor", "admin"], scopes=()) as less:
            assert less.roles == {"editor"}
            note.defer("less", "less still")
            with fn.attenuate(roles=()):
                note.defer("least")
            with fn.attenuate(scopes=["a", "b"]):
                note.defer("no more")
        note.defer("all")

    with fn.as_principal(Principal(id="1", roles={"editor", "author"}, scopes={"a"})):
        first.defer()
    drain()
    rights = {name: (sorted(who.roles), sorted(who.scopes), who.via) for name, who in seen.items()}
    assert rights == {
        "less": (["editor"], [], ("first",)),
        "less still": (["editor"], [], ("first", "note")),
        "least": ([], [], ("first",)),
        "no more": (["editor"], [], ("first",)),
        "all": (["author", "editor"], ["a"], ("first",)),
    }


def test_a_call_with_fewer_rights_is_denied_what_the_task_itself_may(fn, drain):
    @fn.task(name="publish", policy=role("editor"))
    def publish() -> None: ...

    @fn.task(name="first", policy=role("editor"))
    def first() -> str:
        publish.defer()
        with fn.attenuate(roles=()), pytest.raises(PolicyDenied, match="needs role 'editor'; user '1' has none"):
            publish.defer()
        return "done"

    with fn.as_principal(ADA):
        handle = first.defer()
    drain()
    assert handle.result() == "done"


def test_a_view_may_give_its_calls_fewer_rights_too(fn, note, seen, drain):
    with fn.as_principal(ADA), fn.attenuate(roles=()):
        note.defer("less")
    drain()
    assert (seen["less"].id, seen["less"].roles, seen["less"].via) == ("1", set(), ())


def test_a_child_is_fresh_by_the_login_of_the_first_call_and_the_time_of_its_own(fn, drain, clock):
    @fn.task(name="pay", policy=fresh(minutes=15))
    def pay() -> None: ...

    @fn.task(name="first", policy=public)
    def first() -> str:
        try:
            pay.defer()
        except PolicyDenied:
            return "denied"
        return "deferred"

    handles = []
    with fn.as_principal(Principal(id="1", auth_time=to_datetime(clock.now()))):
        handles += [first.defer(), first.using(delay_seconds=1200).defer()]
    drain.advance(hours=1)
    assert [handle.result() for handle in handles] == ["deferred", "denied"]


def test_a_task_that_acts_for_somebody_else_leaves_word_of_whom_it_ran_for(fn, note, seen, drain):
    @fn.task(name="nightly", policy=public)
    def nightly() -> None:
        with fn.as_principal(Principal(id="2")):
            note.defer("other", "others child")
            with fn.attenuate(roles=()):
                note.defer("less")

    with fn.as_principal(replace(ADA, via=("earlier",))):
        nightly.defer()
    drain()
    came = ("earlier", "user:1", "nightly")
    assert (seen["other"].id, seen["other"].via) == ("2", came)
    assert (seen["less"].id, seen["less"].via) == ("2", came)
    assert seen["others child"].via == (*came, "note")


def test_a_task_that_names_whom_it_runs_for_leaves_word_too(fn, note, seen, drain):
    @fn.task(name="again", policy=public)
    def again(more: int) -> None:
        with fn.as_principal(current_task.principal):
            again.defer(more - 1) if more else note.defer("last")

    with fn.as_principal(ADA):
        again.defer(1)
    drain()
    assert (seen["last"].id, seen["last"].via) == ("1", ("user:1", "again") * 2)


def test_the_chain_of_those_who_passed_a_call_on_is_bounded(fn, seen, drain):
    @fn.task(name="again", policy=public)
    def again(more: int) -> None:
        seen["last"] = current_task.principal
        if more:
            again.defer(more - 1)

    again.defer(50)
    drain()
    assert seen["last"].via == ("again",) * 32


# ------------------------------------------------------------------ runs_as


@pytest.fixture
def refund(fn, note):
    @fn.task(name="refund", policy=role("editor"), runs_as="billing")
    def refund() -> None:
        note.defer("child")

    return refund


@pytest.fixture
def acted(fn):
    events: list[RanAs] = []
    fn.on(RanAs, events.append)
    return events


def test_a_service_that_a_task_runs_as_has_none_of_the_callers_rights_and_their_tenant(fn, refund, seen, drain):
    with fn.as_principal(Principal(id="1", tenant="acme", roles={"editor"}, scopes={"a"}, via=("earlier",))):
        refund.defer()
    drain()
    came = ("earlier", "user:1", "refund")
    assert seen["child"] == Principal(id="billing", kind="service", tenant="acme", via=came)


def test_the_way_up_is_guarded_by_the_tasks_own_policy_also_for_a_task_that_calls_it(fn, refund, acted, drain):
    @fn.task(name="first", policy=public)
    def first() -> None:
        refund.defer()

    with fn.as_principal(Principal(id="2")):
        handle = first.defer()
        with pytest.raises(PolicyDenied):
            refund.defer()
    drain()
    assert handle.state == "FAILURE"
    assert acted == []


def test_the_right_to_the_way_up_must_still_be_there_before_the_run(fn, refund, acted, seen, drain):
    fn.load_principal(lambda id: Principal(id=id))
    with fn.as_principal(ADA):
        handle = refund.defer()
    drain()
    assert (handle.state, acted, seen) == ("DENIED", [], {})


def test_each_run_as_a_service_is_told_to_the_audit_and_a_copy_that_does_not_run_is_not(fn, note, acted, drain):
    @fn.task(name="pay", policy=role("editor"), runs_as="billing", once=True)
    def pay() -> None: ...

    with fn.as_principal(ADA):
        handle = pay.defer()
    broker = fn.runtime().engine.broker
    (message,) = broker.receive("default", max_messages=1, visibility_seconds=0)
    broker.send("default", [Entry(id="copy", body=message.body)])
    drain()
    assert [(event.id, event.task, event.principal, event.service) for event in acted] == [
        (handle.id, "pay", "user:1", "billing")
    ]
