"""Who may stop what: one call, all that a call set going, all that was deferred for somebody until now."""

from __future__ import annotations

import threading

import pytest

from fnqueue import FnQueue, PolicyDenied, Principal, StoreMissing, current_task
from fnqueue.errors import OptionInvalid
from fnqueue.policies import authenticated, custom, owns, public, role
from fnqueue.security.ids import new_id
from fnqueue.testing import in_memory
from tests.execution.helpers import received
from tests.worker.helpers import burst, eventually, queue_in, working

ADA, BOB, EVE = Principal(id="ada"), Principal(id="bob"), Principal(id="eve", roles=frozenset({"support"}))


@pytest.fixture
def ran():
    return []


@pytest.fixture
def mail(fn, ran):
    @fn.task(name="mail", policy=public, operate=role("support"))
    def mail(number: int) -> None:
        ran.append(number)

    return mail


@pytest.fixture
def pay(fn, ran):
    @fn.task(name="pay", policy=public)
    def pay(number: int) -> None:
        ran.append(number)

    return pay


def deferred_by(fn, who, task, *args):
    with fn.as_principal(who):
        return task.defer(*args)


# ------------------------------------------------------------------ one call


def test_whoever_deferred_a_call_stops_it_by_its_bare_id(fn, drain, mail, ran):
    handle = deferred_by(fn, ADA, mail, 1)
    with fn.as_principal(ADA):
        fn.handle(handle.id).cancel()
    drain()
    assert (handle.state, ran) == ("REVOKED", [])


def test_a_stranger_who_knows_the_id_of_a_call_that_waits_stops_nothing_and_learns_nothing(fn, drain, mail, ran):
    handle = deferred_by(fn, ADA, mail, 1)
    with fn.as_principal(BOB):
        fn.handle(handle.id).cancel()
        fn.revoke(handle.id)
        fn.revoke(new_id(fn.runtime().clock.now()))  # the same for an id that never was
    drain()
    assert (handle.state, ran) == ("SUCCESS", [1])


def test_whom_the_operate_policy_allows_stops_calls_of_others(fn, drain, mail, ran):
    handle = deferred_by(fn, ADA, mail, 1)
    with fn.as_principal(EVE):
        fn.revoke(handle.id)
    drain()
    assert (handle.state, ran) == ("REVOKED", [])


def test_the_operate_policy_of_one_task_is_none_of_another(fn, drain, mail, pay, ran):
    handle = deferred_by(fn, ADA, pay, 1)
    with fn.as_principal(EVE):
        fn.revoke(handle.id)
    drain()
    assert (handle.state, ran) == ("SUCCESS", [1])


def test_the_rights_count_that_the_asker_had_when_they_asked(fn, drain, mail, ran):
    handle = deferred_by(fn, ADA, mail, 1)
    with fn.as_principal(EVE):
        fn.revoke(handle.id)
    fn.load_principal(lambda id: Principal(id=id))  # nobody has a role any more
    drain()
    assert handle.state == "REVOKED"


def test_who_may_read_a_call_and_not_stop_it_is_told_so(fn, drain, clock):
    failing = [True]

    @fn.task(name="report", policy=public, read=authenticated, retry=3)
    def report() -> None:
        if failing[0]:
            raise OSError

    handle = deferred_by(fn, ADA, report)
    drain()
    assert handle.state == "RETRY"
    with fn.as_principal(BOB), pytest.raises(PolicyDenied, match="may not operate on report") as error:
        fn.handle(handle.id).cancel()
    assert error.value.code == 403
    failing[0] = False
    clock.advance(seconds=60)
    drain()
    assert handle.state == "SUCCESS"


def test_who_may_neither_read_nor_stop_a_call_sees_no_difference_to_an_id_that_never_was(fn, drain, mail):
    handle = deferred_by(fn, ADA, mail, 1)
    drain()
    with fn.as_principal(BOB):
        fn.revoke(handle.id)
        fn.revoke("0" * 26)
        assert fn.handle(handle.id).state == fn.handle("0" * 26).state == "UNKNOWN"


def test_the_handle_that_defer_gave_stops_its_call_whoever_holds_it(fn, drain, mail, ran):
    handle = deferred_by(fn, ADA, mail, 1)
    with fn.as_principal(BOB):
        handle.cancel()
    drain()
    assert (handle.state, ran) == ("REVOKED", [])


def test_a_strangers_wish_first_does_not_stand_in_the_way_of_the_owners(fn, drain, mail, ran):
    handle = deferred_by(fn, ADA, mail, 1)
    for who in (BOB, ADA, BOB):
        with fn.as_principal(who):
            fn.handle(handle.id).cancel()
    drain()
    assert (handle.state, ran) == ("REVOKED", [])


# ------------------------------------------------------------------ a tree


@pytest.fixture
def tree(fn, ran):
    """`tree(3)` runs as 3, 2, 1, 0, each deferred by the one before."""

    @fn.task(name="tree", policy=public, operate=role("support"))
    def tree(more: int) -> None:
        ran.append(more)
        if more:
            tree.defer(more - 1)

    return tree


def run_one(fn):
    runtime = fn.runtime()
    delivery = received(fn)
    executor = runtime.executor(worker="w")
    executor.revoked = runtime.control.snapshot()
    outcome = executor.execute(delivery)
    runtime.settler(worker="w").settle([(delivery, outcome)])
    return outcome


def test_all_that_a_call_set_going_is_stopped_by_its_id_as_the_root(fn, drain, tree, ran):
    other = deferred_by(fn, ADA, tree, 1)
    run_one(fn), run_one(fn)
    first = deferred_by(fn, ADA, tree, 3)
    run_one(fn), run_one(fn)
    with fn.as_principal(EVE):
        fn.revoke(root=first.id)
    drain()
    assert ran == [1, 0, 3, 2]
    assert (other.state, first.state) == ("SUCCESS", "SUCCESS")  # what had ended stays as it ended


def test_a_first_call_that_waits_is_stopped_by_itself_as_the_root(fn, drain, tree, ran):
    first = deferred_by(fn, ADA, tree, 3)
    with fn.as_principal(ADA):
        fn.revoke(root=first.id)
    drain()
    assert (first.state, ran) == ("REVOKED", [])


def test_a_stranger_stops_no_tree(fn, drain, tree, ran):
    first = deferred_by(fn, ADA, tree, 3)
    with fn.as_principal(BOB):
        fn.revoke(root=first.id)
    drain()
    assert ran == [3, 2, 1, 0]


# ------------------------------------------------------------------ a person


def test_all_that_was_deferred_for_somebody_until_now_is_stopped_and_what_they_do_later_runs(
    fn, drain, clock, mail, ran
):
    before = [deferred_by(fn, ADA, mail, n) for n in (1, 2)]
    others = deferred_by(fn, BOB, mail, 3)
    with fn.as_principal(EVE):
        fn.revoke(principal=ADA)
    clock.advance(seconds=1)
    later = deferred_by(fn, ADA, mail, 4)
    drain()
    assert [handle.state for handle in before] == ["REVOKED", "REVOKED"]
    assert (others.state, later.state) == ("SUCCESS", "SUCCESS")
    assert ran == [3, 4]


def test_what_a_task_that_ran_at_that_moment_sets_going_afterwards_is_stopped_too(fn, drain, clock, tree, ran):
    deferred_by(fn, ADA, tree, 5)
    run_one(fn)

    @fn.task(name="slow", policy=public)
    def slow() -> None:
        with fn.as_principal(EVE):
            fn.revoke(principal="user:ada")
        clock.advance(seconds=10)
        tree.defer(1)  # on behalf of ada still

    deferred_by(fn, ADA, slow)
    run_one(fn)
    run_one(fn)
    drain()
    assert ran == [5, 4]


def test_a_long_lived_service_that_acts_for_somebody_later_is_not_stopped(fn, drain, clock, mail, ran):
    @fn.task(name="daily", policy=public)
    def daily(day: int) -> None:
        with fn.as_principal(ADA):
            mail.defer(day)
        if day < 2:
            daily.using(delay_seconds=100).defer(day + 1)

    with fn.as_service("cron"):
        daily.defer(0)
    drain()
    with fn.as_service("operator"):
        fn.revoke(principal=ADA)
    clock.advance(seconds=101)
    drain()
    assert ran == [0, 1]


def test_what_runs_as_a_service_for_somebody_falls_under_their_revocation(fn, drain, clock, ran):
    @fn.task(name="leaf", policy=public)
    def leaf() -> None:
        ran.append(current_task.principal.id)

    @fn.task(name="export", policy=public, runs_as="exporter")
    def export() -> None:
        leaf.defer()

    deferred_by(fn, ADA, export)
    run_one(fn)
    with fn.as_service("operator"):
        fn.revoke(principal=ADA)
    drain()
    assert ran == []


def test_everybody_may_stop_all_of_their_own(fn, drain, mail, pay, ran):
    handles = [deferred_by(fn, ADA, mail, 1), deferred_by(fn, ADA, pay, 2), deferred_by(fn, BOB, pay, 3)]
    with fn.as_principal(ADA):
        fn.revoke(principal="user:ada")
    drain()
    assert [handle.state for handle in handles] == ["REVOKED", "REVOKED", "SUCCESS"]


def test_nobody_stops_all_of_somebody_else_without_an_operate_policy(fn, mail):
    with fn.as_principal(BOB), pytest.raises(PolicyDenied, match="user:ada"):
        fn.revoke(principal="user:ada")


def test_a_visitor_who_is_not_logged_in_does_not_stop_the_calls_of_all_others(fn, drain, mail, ran):
    mail.defer(1)
    with pytest.raises(PolicyDenied):
        fn.revoke(principal="anonymous:anonymous")
    drain()
    assert ran == [1]


def test_a_support_person_stops_only_the_tasks_that_they_operate(fn, drain, mail, pay, ran):
    handles = [deferred_by(fn, ADA, mail, 1), deferred_by(fn, ADA, pay, 2)]
    with fn.as_principal(EVE):
        fn.revoke(principal=ADA)
    drain()
    assert [handle.state for handle in handles] == ["REVOKED", "SUCCESS"]


def test_the_operator_stops_what_has_no_operate_policy_and_what_is_not_registered_here(fn, drain, mail, pay, ran):
    handles = [deferred_by(fn, ADA, mail, 1), deferred_by(fn, ADA, pay, 2)]
    with fn.as_service("operator"):
        fn.revoke(principal=ADA)
    del fn.registry._tasks["pay"]  # a process that does not know the task
    with fn.as_service("operator"):
        fn.revoke(handles[1].id)
    drain()
    assert handles[0].state == "SUCCESS"  # its operate= policy names support, and not the service 'operator'


# ------------------------------------------------------------------ while it runs, and over restarts


def test_a_running_call_is_told_within_two_heartbeats_and_a_revocation_outlives_the_worker(tmp_path):
    fn = queue_in(tmp_path, heartbeat_seconds=0.1)
    told, going = threading.Event(), threading.Event()

    @fn.task(name="long", policy=public, bind=True)
    def long(context) -> None:
        going.set()
        eventually(lambda: context.revoked)
        told.set()

    @fn.task(name="never", policy=public)
    def never() -> None:
        raise AssertionError("ran")

    running, waiting = deferred_by(fn, ADA, long), deferred_by(fn, ADA, never.using(delay_seconds=1))
    with working(fn):
        assert going.wait(10)
        with fn.as_service("operator"):
            fn.revoke(principal=ADA)
        assert told.wait(5)
    fn.close()
    eventually(lambda: fn.runtime().engine.broker.attributes("default").delayed == 0)
    burst(fn)
    assert waiting.state == "REVOKED"
    assert running.state == "SUCCESS"  # it was told, and chose to end well
    fn.close()


def test_a_worker_that_could_not_read_the_revocations_yet_runs_nothing(tmp_path, monkeypatch):
    from fnqueue.errors import StoreError

    fn = queue_in(tmp_path, heartbeat_seconds=0.1)
    ran = []

    @fn.task(name="note", policy=public)
    def note() -> None:
        ran.append(1)

    handle = note.defer()
    runtime, away = fn.runtime(), threading.Event()
    away.set()
    snapshot = runtime.control.snapshot

    def read():
        if away.is_set():
            raise StoreError("the store is away")
        return snapshot()

    monkeypatch.setattr(runtime.control, "snapshot", read)
    with working(fn):
        eventually(lambda: handle.state == "RETRY")
        assert ran == []
        away.clear()
        eventually(lambda: handle.state == "SUCCESS")
    fn.close()


# ------------------------------------------------------------------ mistakes


def test_revoking_needs_a_store():
    fn = FnQueue(url="sqlite://", store_url="none")
    for wish in ({"id": "0" * 26}, {"root": "0" * 26}, {"principal": "user:7"}):
        with fn.as_service("operator"), pytest.raises(StoreMissing):
            fn.revoke(**wish)
    fn.close()


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({}, "takes one of"),
        ({"id": "a", "root": "b"}, "takes one of"),
        ({"root": "nonsense"}, "26 characters"),
        ({"principal": "ada"}, "'user:7'"),
        ({"principal": "person:ada"}, "'user:7'"),
        ({"principal": "user:"}, "'user:7'"),
    ],
)
def test_a_wish_that_says_nothing_clear_is_refused(fn, wish, text):
    with pytest.raises(OptionInvalid, match=text):
        fn.revoke(**wish)


@pytest.mark.parametrize("option", ["read", "operate"])
def test_a_policy_on_reading_or_operating_that_looks_at_an_argument_is_refused_at_decoration(fn, option):
    with pytest.raises(OptionInvalid, match=f"{option}=owns.*looks at an argument"):

        @fn.task(name="own", **{option: owns("doc", load=lambda id: None)})
        def own(doc: int) -> None: ...

    with pytest.raises(OptionInvalid, match="was not called"):
        fn.task(name="own", **{option: role})


def test_an_operate_policy_that_fails_to_decide_allows_nobody(fn, drain, ran):
    @fn.task(name="odd", policy=public, operate=custom(lambda ctx: ctx.args["missing"]))
    def odd() -> None:
        ran.append(1)

    handle = deferred_by(fn, ADA, odd)
    with fn.as_principal(EVE):
        fn.revoke(handle.id)
    drain()
    assert (handle.state, ran) == ("SUCCESS", [1])


def test_in_memory_tests_see_revocations_too(fn):
    with in_memory(fn) as inner, pytest.raises(OptionInvalid):
        inner.revoke()
