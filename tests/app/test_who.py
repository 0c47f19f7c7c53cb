"""Who may defer, who runs, who reads."""

from __future__ import annotations

from typing import Any

import pytest

from fnqueue import FnQueue, PolicyDenied, Principal, current_task
from fnqueue.clock import to_datetime
from fnqueue.errors import PolicyUndecided, TokenInvalid
from fnqueue.middleware import Middleware, OutgoingCall, SendNext
from fnqueue.policies import authenticated, custom, fresh, owns, public, role, service
from fnqueue.reads import status_json
from fnqueue.worker.worker import Worker

ADA = Principal(id="1", roles=frozenset({"editor"}))
BOB = Principal(id="2")


def test_a_denied_call_says_who_is_needed_and_how_to_say_who_it_is_and_nothing_is_sent(fn, assert_deferred):
    @fn.task(name="shop.send_invoice", policy=authenticated)
    def send() -> None: ...

    with pytest.raises(PolicyDenied) as caught:
        send.defer()
    text = str(caught.value)
    assert text.startswith("shop.send_invoice needs ")
    assert "nobody is logged in here (no request)" in text
    assert "fn.as_principal(user)" in text
    assert "fn.as_service" in text
    assert_deferred.not_(send)


def test_a_policy_is_checked_at_defer_and_again_before_the_run(fn, drain):
    phases = []

    @fn.task(name="checked", policy=custom(lambda ctx: phases.append(ctx.phase) is None))
    def checked() -> None: ...

    checked.defer()
    drain()
    assert phases == ["defer", "execute"]


def test_a_role_lost_between_defer_and_run_denies_the_run(fn, drain):
    users = {"1": ADA}
    fn.load_principal(users.get)

    @fn.task(name="edit", policy=role("editor"))
    def edit() -> None:
        raise AssertionError("ran")

    with fn.as_principal(ADA):
        handle = edit.defer()
    users["1"] = Principal(id="1")
    drain()
    assert handle.state == "DENIED"


def test_a_role_gained_since_the_defer_does_not_count(fn, drain):
    seen = []
    fn.load_principal(lambda id: Principal(id=id, roles=frozenset({"editor", "admin"})))

    @fn.task(name="look", policy=authenticated)
    def look() -> None:
        seen.append(sorted(current_task.principal.roles))

    with fn.as_principal(ADA):
        look.defer()
    drain()
    assert seen == [["editor"]]


def test_a_user_who_is_gone_denies_the_run(fn, drain):
    fn.load_principal(lambda id: None)

    @fn.task(name="mail", policy=authenticated)
    def mail() -> None:
        raise AssertionError("ran")

    with fn.as_principal(BOB):
        handle = mail.defer()
    drain()
    assert handle.state == "DENIED"


def test_a_loader_that_fails_is_tried_again_and_is_no_attempt(fn, drain, clock):
    broken = [True]

    def load(id: str) -> Principal:
        if broken[0]:
            raise ConnectionError("the database is away")
        return Principal(id=id)

    fn.load_principal(load)
    attempts = []

    @fn.task(name="mail", policy=authenticated)
    def mail() -> None:
        attempts.append(current_task.attempt)

    with fn.as_principal(BOB):
        handle = mail.defer()
    drain()
    assert handle.state == "RETRY"
    broken[0] = False
    clock.advance(seconds=2)
    drain()
    assert handle.state == "SUCCESS"
    assert attempts == [1]


def test_a_policy_that_fails_at_defer_is_a_503_and_nothing_is_sent(fn, assert_deferred):
    def load(id: int) -> None:
        raise ConnectionError("secret-host is away")

    @fn.task(name="own", policy=owns("doc", load=load))
    def own(doc: int) -> None: ...

    with fn.as_principal(ADA), pytest.raises(PolicyUndecided) as caught:
        own.defer(1)
    assert "secret-host" not in str(caught.value)
    assert_deferred.not_(own)


def test_owns_compares_ids_as_text_and_nothing_found_is_denied(fn):
    class Doc:
        owner_id = 1

    docs = {7: Doc()}

    @fn.task(name="own", policy=owns("doc", load=docs.get))
    def own(doc: int) -> None: ...

    with fn.as_principal(ADA):
        own.defer(7)
        with pytest.raises(PolicyDenied):
            own.defer(8)
    with fn.as_principal(BOB), pytest.raises(PolicyDenied):
        own.defer(7)


def test_owns_of_a_parameter_that_is_not_there_is_an_error_at_decoration(fn):
    with pytest.raises(ValueError, match="document"):

        @fn.task(name="own", policy=owns("document", load=lambda id: None))
        def own(doc: int) -> None: ...


def test_a_task_deferred_by_a_task_inherits_its_principal_and_via_grows(fn, drain):
    seen = []

    @fn.task(name="child", policy=authenticated)
    def child() -> None:
        seen.append((current_task.principal.id, current_task.principal.via))

    @fn.task(name="parent", policy=authenticated)
    def parent() -> None:
        child.defer()

    with fn.as_principal(BOB):
        parent.defer()
    drain()
    assert seen == [("2", ("parent",))]


def test_runs_as_is_the_one_way_up_and_the_policy_is_about_the_caller(fn, drain):
    seen = []

    @fn.task(name="child", policy=role("editor"), runs_as="reports")
    def child() -> None:
        seen.append((current_task.principal.kind, current_task.principal.id, current_task.principal.via))

    with fn.as_principal(BOB), pytest.raises(PolicyDenied):
        child.defer()
    with fn.as_principal(ADA):
        child.defer()
    drain()
    assert seen == [("service", "reports", ("user:1",))]


def test_a_service_is_a_principal(fn, drain):
    @fn.task(name="nightly", policy=service("import"))
    def nightly() -> None: ...

    with fn.as_service("import"):
        handle = nightly.defer()
    drain()
    assert handle.state == "SUCCESS"
    with fn.as_service("export"), pytest.raises(PolicyDenied):
        nightly.defer()


def test_a_bare_id_is_read_by_whoever_deferred_it_and_by_whom_the_read_policy_allows(fn, drain):
    @fn.task(name="report", policy=public, read=role("editor"))
    def report() -> int:
        return 5

    with fn.as_principal(BOB):
        handle = report.defer()
    drain()
    with fn.as_principal(BOB):
        assert fn.handle(handle.id).result() == 5
    with fn.as_principal(ADA):
        assert fn.handle(handle.id).result() == 5
    with fn.as_principal(Principal(id="3")):
        assert fn.handle(handle.id).state == "UNKNOWN"
        assert fn.handle("0" * 26).state == "UNKNOWN"


def test_a_status_token_is_for_the_one_who_asked_until_it_expires(fn, drain, clock):
    @fn.task(name="report", policy=public)
    def report() -> int:
        return 5

    with fn.as_principal(BOB):
        handle = report.defer()
        token = fn.status_url(handle, expires_seconds=60).rpartition("/")[2]
        assert fn.reads().by_token(token).state == "PENDING"
        drain()
        shown = status_json(fn.reads().by_token(token))
        assert (shown["state"], shown["result"]) == ("SUCCESS", 5)
        with pytest.raises(TokenInvalid):
            fn.reads().by_token(token[:-1] + ("a" if token[-1] != "a" else "b"))
    with fn.as_principal(ADA), pytest.raises(TokenInvalid):
        fn.reads().by_token(token)
    clock.advance(seconds=61)
    with fn.as_principal(BOB), pytest.raises(TokenInvalid):
        fn.reads().by_token(token)


def test_as_principal_wants_a_principal_without_a_framework():
    with pytest.raises(ValueError, match="takes a fnqueue.Principal"):
        FnQueue().as_principal("ada").__enter__()


def test_current_task_outside_a_task_says_so():
    with pytest.raises(RuntimeError, match="no task is running here"):
        current_task.id
    assert not current_task


def test_a_status_token_made_from_a_bare_id_opens_no_more_than_the_id(fn, drain):
    @fn.task(name="report", policy=public, read=role("editor"))
    def report() -> int:
        return 5

    with fn.as_principal(BOB):
        handle = report.defer()
    drain()

    def shown(who):
        with fn.as_principal(who):
            token = fn.status_url(fn.handle(handle.id)).rpartition("/")[2]
            return fn.reads().by_token(token).state

    assert shown(BOB) == "SUCCESS"
    assert shown(ADA) == "SUCCESS"
    assert shown(Principal(id="3")) == "UNKNOWN"
    with fn.as_principal(Principal(id="3")):
        token = fn.status_url(handle).rpartition("/")[2]  # the handle itself was given to them
        assert fn.reads().by_token(token).state == "SUCCESS"


def test_a_token_made_from_a_bare_id_is_not_read_by_a_name_that_looks_like_its_mark(fn, drain):
    @fn.task(name="report", policy=public)
    def report() -> int:
        return 5

    with fn.as_principal(BOB):
        handle = report.defer()
        token = fn.handle(handle.id).status_token()
    drain()
    for name in ("2 asks", "asks 2", "asks user:2"):
        with fn.as_principal(Principal(id=name)), pytest.raises(TokenInvalid):
            fn.reads().by_token(token)


def test_inside_apply_a_task_acts_as_it_does_in_a_worker(fn):
    seen = []

    @fn.task(name="child", policy=service("robot"))
    def child() -> None: ...

    @fn.task(name="parent", policy=authenticated, runs_as="robot")
    def parent() -> None:
        child.defer()
        seen.append(str(fn.current_principal()))

    with fn.as_principal(ADA):
        assert parent.apply().state == "SUCCESS"
        assert fn.current_principal() == ADA
    assert seen == ["service 'robot'"]


def test_who_is_just_fresh_enough_at_the_defer_is_so_at_the_run_whatever_comes_between(fn, drain, clock):
    class Slow(Middleware):
        def send(self, call: OutgoingCall, call_next: SendNext) -> Any:
            clock.advance(seconds=30)
            return call_next(call)

    fn.middleware.append(Slow())
    fn.runtime().ask_again()
    task = fn.task(name="pay", policy=fresh(minutes=15))(lambda: None)
    with fn.as_principal(Principal(id="1", auth_time=to_datetime(clock.now()))):
        clock.advance(minutes=15)
        handle = task.defer()
    drain()
    assert handle.state == "SUCCESS"


def test_who_has_the_same_id_in_another_environment_reads_nothing_though_they_share_a_store_and_its_keys(tmp_path):
    def made(environment: str) -> FnQueue:
        app = FnQueue(url=f"sqlite:///{tmp_path}/fnqueue.db", environment=environment)

        @app.task(name="salary", read=public)
        def salary() -> int:
            return 4_200

        return app

    production, staging = made("production"), made("staging")
    with production.as_principal(ADA):
        handle = production.runtime().registry.get("salary").defer()
        Worker(production.runtime(), burst=True, concurrency=1).run()
        token = production.handle(handle.id).status_token()
        assert (handle.result(), production.reads().by_token(token).value) == (4_200, 4_200)
    with staging.as_principal(ADA):
        assert staging.handle(handle.id).state == "UNKNOWN"
        assert staging.reads().by_token(token).state == "UNKNOWN"
        assert staging.runtime().results.recent().records == []
    production.close()
    staging.close()
