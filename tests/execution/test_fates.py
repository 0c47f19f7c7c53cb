"""A message that may not run has its defined fate, and the worker goes on: the table of fates, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fnqueue import FnQueue, Principal
from fnqueue.broker.base import Entry
from fnqueue.broker.names import binding
from fnqueue.clock import ManualClock
from fnqueue.events import MessageRefused
from fnqueue.outcome import Refused
from fnqueue.policies import authenticated
from fnqueue.security.envelope import seal
from fnqueue.security.ids import new_id
from fnqueue.security.keyfile import add, promote, revoke
from fnqueue.security.keyring import KeyRing, make_record, new_key, parse_key
from fnqueue.security.keys import FixedKeys
from fnqueue.security.principal import ANONYMOUS
from fnqueue.testing import in_memory
from tests.execution.helpers import dead_letters, left

runs: list[int] = []


@pytest.fixture
def told(fn):
    events = []
    fn.on(MessageRefused, events.append)
    return events


@pytest.fixture
def work(fn):
    runs.clear()

    @fn.task(name="work")
    def work(n: int = 0) -> None:
        runs.append(n)

    return work


def sealed(
    fn: FnQueue, task: str = "work", *, kwargs: object = None, ring: KeyRing | None = None, **header: object
) -> str:
    runtime = fn.runtime()
    now = runtime.clock.now()
    given: dict[str, object] = {
        "environment": runtime.settings.environment,
        "queue": binding("default"),
        "id": new_id(now),
        "created_at": now,
        "expires_at": now + 1000,
    }
    wire = {"args": [], "kwargs": kwargs or {}, "p": ANONYMOUS.to_wire()}
    return seal(keyring=ring or runtime.ring(), task=task, principal_kind="anonymous", sealed=wire, **(given | header))  # type: ignore[arg-type]


def send(fn: FnQueue, body: str, queue: str = "default") -> None:
    fn.runtime().engine.broker.send(queue, [Entry(id="any", body=body)])


def key_id(key: str) -> str:
    return make_record(parse_key(key)).key_id


def good_ones_still_run(work, drain) -> bool:
    before = len(runs)
    work.defer(7)
    drain()
    return runs[before:] == [7]


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        ("MALFORMED", lambda body: "hello"),
        ("SUITE", lambda body: body.replace("fq1.1.", "fq1.0.", 1)),
        ("SUITE", lambda body: body.replace("fq1.1.", "fq1.3.", 1)),
        ("BAD_TAG", lambda body: body[:-2] + ("AA" if body[-2:] != "AA" else "BA")),
    ],
)
def test_hostile_messages_go_to_the_dead_letter_queue_whole(fn, drain, work, told, code, spoil):
    body = spoil(sealed(fn))
    send(fn, body)
    drain()
    assert runs == []
    assert [event.code for event in told] == [code]
    broker = fn.runtime().engine.broker
    (dead,) = broker.receive("default__dead", visibility_seconds=0)
    assert dead.body == body
    assert left(fn) == (0, 0, 0)
    assert good_ones_still_run(work, drain)


def test_more_than_ten_hostile_messages_a_minute_are_deleted_with_their_hash_in_the_log(fn, clock, work, told):
    from fnqueue.execution.delivery import Delivery

    runtime = fn.runtime()
    executor, settler, broker = runtime.executor(), runtime.settler(), runtime.engine.broker
    for n in range(25):
        send(fn, f"rubbish {n}")
    for message in broker.receive("default", max_messages=64):
        delivery = Delivery(message)
        settler.settle([(delivery, executor.execute(delivery))])
    assert len(dead_letters(fn)) == 10
    assert left(fn) == (0, 0, 0)
    assert [event.fate for event in told] == ["dead-lettered"] * 10 + ["deleted"] * 15
    assert all(event.body_sha256 for event in told)
    clock.advance(seconds=61)
    send(fn, "rubbish again")
    delivery = Delivery(broker.receive("default")[0])
    settler.settle([(delivery, executor.execute(delivery))])
    assert len(dead_letters(fn)) == 11


def test_a_revoked_keys_messages_are_hostile(fn, drain, clock, told, work):
    first, second = new_key(), new_key()
    text = promote(add(add("", first), second), key_id(second))
    ring = KeyRing.from_text(f"primary:{first}\n", source="test")
    fn.runtime().keys_override = FixedKeys(revoke(text, key_id(first)))
    fn.runtime().__dict__.pop("keys", None)
    send(fn, sealed(fn, ring=ring))
    drain()
    assert (runs, [event.code for event in told]) == ([], ["REVOKED_KEY"])
    assert dead_letters(fn) == [("REVOKED_KEY", "default")]


def test_another_environments_message_is_never_deleted(fn, drain, clock, told, work):
    send(fn, sealed(fn, environment="staging", expires_at=clock.now() + 100_000))
    for _ in range(40):
        drain()
        clock.advance(seconds=900)
    assert runs == []
    assert {event.code for event in told} == {"CONTEXT"}
    assert "staging" in told[0].detail
    assert "default" in told[0].detail
    visible, hidden, _ = left(fn)
    assert visible + hidden == 1
    assert dead_letters(fn) == []


def test_arguments_that_do_not_fit_this_version_of_the_task_go_to_the_dead_letter_queue(fn, drain, told, work):
    call_id = new_id(fn.runtime().clock.now())
    send(fn, sealed(fn, kwargs={"m": 1}, id=call_id))
    drain()
    assert [event.code for event in told] == ["DECODE"]
    assert dead_letters(fn) == [("DECODE", "default")]
    assert fn.runtime().results.read(call_id).state == "FAILURE"
    assert good_ones_still_run(work, drain)


@pytest.mark.parametrize("code", ["UNKNOWN_KEY", "TASK_NOT_SERVED", "FROM_FUTURE"])
def test_a_rotation_a_deploy_and_a_clock_have_an_hour(fn, drain, clock, told, work, code):
    now = clock.now()
    other = KeyRing.from_text(f"primary:{new_key()}\n", source="test")
    body = {
        "UNKNOWN_KEY": lambda: sealed(fn, ring=other, expires_at=now + 90_000),
        "TASK_NOT_SERVED": lambda: sealed(fn, task="tomorrows", expires_at=now + 90_000),
        "FROM_FUTURE": lambda: sealed(fn, created_at=now + 80_000, expires_at=now + 90_000),
    }[code]()
    send(fn, body)
    drain()
    clock.advance(minutes=50)
    drain()
    assert {event.code for event in told} == {code}
    assert dead_letters(fn) == []
    visible, hidden, _ = left(fn)
    assert visible + hidden == 1
    clock.advance(minutes=20)
    drain()
    assert dead_letters(fn) == [(code, "default")]
    assert left(fn) == (0, 0, 0)
    assert runs == []


def test_an_unknown_task_runs_once_it_is_deployed(fn, drain, clock):
    ran = []
    send(fn, sealed(fn, task="tomorrows"))
    drain()

    @fn.task(name="tomorrows")
    def tomorrows() -> None:
        ran.append(1)

    clock.advance(seconds=2)
    drain()
    assert ran == [1]


def test_a_message_that_came_too_early_waits_for_its_time(fn, drain, clock, told, work):
    send(fn, sealed(fn, not_before=clock.now() + 300))
    drain()
    assert ([event.code for event in told], runs) == (["NOT_YET"], [])
    clock.advance(seconds=299)
    drain()
    assert runs == []
    clock.advance(seconds=1)
    drain()
    assert runs == [0]
    assert left(fn) == (0, 0, 0)


def test_a_message_that_is_days_too_early_is_parked(fn, drain, clock, told, work):
    now = clock.now()
    send(fn, sealed(fn, not_before=now + 200_000, expires_at=now + 300_000))
    drain()
    assert left(fn) == (0, 0, 0)
    clock.advance(seconds=200_001)
    drain()
    assert runs == [0]


def test_an_expired_call_is_stored_as_expired_and_deleted(fn, drain, clock, told, work):
    handle = work.using(expires_seconds=10).defer()
    clock.advance(seconds=10)
    drain()
    assert (handle.state, runs) == ("EXPIRED", [])
    assert left(fn) == (0, 0, 0)
    assert dead_letters(fn) == []


def test_whoever_is_gone_has_nothing_run_for_him(fn, drain, told):
    ran = []

    @fn.task(name="guarded", policy=authenticated)
    def guarded() -> None:
        ran.append(1)

    people = {"7": Principal(id="7", kind="user")}
    fn.load_principal(people.get)
    with fn.as_principal(people["7"]):
        handle = guarded.defer()
    del people["7"]
    drain()
    assert (handle.state, ran) == ("DENIED", [])
    assert left(fn) == (0, 0, 0)


def test_a_cancelled_call_does_not_start(fn, drain, told, work):
    handle = work.defer()
    handle.cancel()
    drain()
    assert (handle.state, runs) == ("REVOKED", [])
    assert left(fn) == (0, 0, 0)


def test_a_worker_pointed_at_a_dead_letter_queue_runs_and_empties_nothing(fn, drain, clock, work):
    @fn.task(name="bad")
    def bad() -> None:
        raise OSError

    bad.defer()
    drain()
    assert left(fn, "default__dead") == (1, 0, 0)
    drain("default__dead")
    visible, hidden, _ = left(fn, "default__dead")
    assert visible + hidden == 1
    clock.advance(hours=2)
    drain("default__dead")
    visible, hidden, _ = left(fn, "default__dead")
    assert visible + hidden == 1


def test_the_wait_of_a_refusal_doubles_to_fifteen_minutes(fn, drain, clock, told):
    send(fn, sealed(fn, environment="staging", expires_at=clock.now() + 100_000))
    for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900):
        drain()
        before = len(told)
        clock.advance(seconds=wait - 0.5)
        drain()
        assert len(told) == before
        clock.advance(seconds=0.5)


def test_two_environments_on_one_queue_serve_their_own(clock: ManualClock):
    """As when staging is pointed at production's queue by mistake."""
    with in_memory(FnQueue(environment="production"), clock) as ours, in_memory(FnQueue(), clock) as theirs:
        theirs.runtime().__dict__["engine"] = ours.runtime().engine
        theirs.runtime().__dict__["keys"] = ours.runtime().keys
        theirs.runtime().settings = replace(theirs.runtime().settings, environment="staging")
        ran = []
        ours.task(name="work")(lambda: ran.append("ours"))
        theirs.task(name="work")(lambda: ran.append("theirs"))
        ours.registry.get("work").defer()
        from fnqueue.testing import Drain

        Drain(theirs.runtime)()
        assert ran == []
        clock.advance(seconds=2)
        Drain(ours.runtime)()
        assert ran == ["ours"]


def test_refusals_are_outcomes(fn, drain, work):
    send(fn, "hello")
    drain()
    assert isinstance(drain.outcomes[0][1], Refused)
