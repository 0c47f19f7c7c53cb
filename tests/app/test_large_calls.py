"""Arguments that no message has room for travel beside it, sealed, and nobody who defers or runs them need know."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnqueue import DeadLetter, FnQueue, Principal, RetryLater
from fnqueue.broker.base import Entry
from fnqueue.clock import ManualClock
from fnqueue.errors import BlobsUnavailable, MessageTooLarge, PolicyDenied
from fnqueue.events import MessageRefused
from fnqueue.middleware import Middleware
from fnqueue.policies import custom, public
from fnqueue.quotas import BLOB_BYTES_MAX
from fnqueue.security.blobs.blobs import Blobs
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.blobs.sealing import open_blob, seal_blob
from fnqueue.security.envelope import call_digest, seal, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.testing import in_memory
from tests.execution.helpers import dead_letters, left

BIG = "x" * 2_000_000


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def store(fn, seen):
    @fn.task(name="store")
    def store(data: str, note: str = "") -> int:
        seen.append((data, note))
        return len(data)

    return store


@pytest.fixture
def told(fn):
    events: list[MessageRefused] = []
    fn.on(MessageRefused, events.append)
    return events


def kept(fn: FnQueue) -> dict[str, bytes]:
    return fn.runtime().blobs.place._blobs


def bodies(fn: FnQueue, queue: str = "default") -> list[str]:
    messages = fn.runtime().engine.broker.receive(queue, max_messages=64, visibility_seconds=0)
    return [message.body for message in messages]


def reference_in(fn: FnQueue, body: str) -> Reference:
    runtime = fn.runtime()
    about = {"keyring": runtime.ring(), "environment": runtime.settings.environment, "now": runtime.clock.now()}
    return msgspec.convert(verify(body, queue="default", **about).unseal()["bl"], Reference)


# ---------------------------------------------------------------- every way of calling


def test_a_call_larger_than_the_queue_takes_runs_as_any_other(fn, store, drain, seen):
    handle = store.defer(BIG, note="n")
    (body,) = bodies(fn)
    assert len(body) < 2000
    assert len(kept(fn)) == 1
    drain()
    assert seen == [(BIG, "n")]
    assert handle.result() == len(BIG)
    assert kept(fn) == {}, "it has succeeded, so nothing of it stays"


def test_every_way_to_defer_takes_large_calls(fn, store, drain, seen):
    store.defer(BIG + "1")
    fn.defer(store, BIG + "2")
    store.defer(data=BIG + "3")
    asyncio.run(store.adefer(BIG + "4"))
    fn.defer_many(store, [(BIG + "5",), store.s(BIG + "6"), ("small",)])
    with fn.batch():
        store.defer(BIG + "7")
    store.using(delay_seconds=60).defer(BIG + "8")
    store.using(delay_seconds=3600).defer(BIG + "9")
    drain.advance(hours=2)
    assert sorted(data.removeprefix(BIG) for data, _ in seen) == [*"123456789", "small"]
    assert kept(fn) == {}
    assert store.apply(BIG).value == len(BIG)
    assert kept(fn) == {}


def test_bytes_and_large_structures_come_as_they_were(fn, drain):
    got = []

    @fn.task(name="take")
    def take(raw: bytes, rows: list[dict[str, Any]], *, after: timedelta) -> None:
        got.append((raw, rows, after))

    raw, rows = bytes(range(256)) * 6000, [{"n": n, "text": "ü" * 300} for n in range(2000)]
    take.defer(raw, rows, after=timedelta(days=1))
    drain()
    assert got == [(raw, rows, timedelta(days=1))]


def test_a_middleware_sees_the_call_and_may_make_it_large(fn, store, drain, seen):
    class Enlarges(Middleware):
        def send(self, call, call_next):
            assert call.args == ("small",)
            return call_next(call.changed(args=(BIG,)) if hasattr(call, "changed") else replace(call, args=(BIG,)))

    fn.runtime().middleware.append(Enlarges())
    fn.runtime().ask_again()
    store.defer("small")
    drain()
    assert seen == [(BIG, "")]


def test_a_large_call_runs_at_once_where_tests_are_eager(store, seen):
    fn = FnQueue()

    @fn.task(name="keep")
    def keep(data: str) -> None:
        seen.append(data)

    with in_memory(fn, eager=True):
        keep.defer(BIG)
        assert seen == [BIG]
        assert kept(fn) == {}


def test_a_schedule_may_make_a_large_call(clock, seen):
    fn = FnQueue()

    @fn.schedule("rate(1 hour)", args=("x" * 100_000,), name="hourly")
    @fn.task(name="keep")
    def keep(data: str) -> None:
        seen.append(data)

    with in_memory(fn, clock):
        from fnqueue.scheduling.ticking import ScheduleTicker
        from fnqueue.testing.drain import Drain

        fn.runtime().settings = replace(fn.runtime().settings, max_body_bytes=4096)
        fn.schedules.sync()
        clock.advance(hours=1, seconds=1)
        ScheduleTicker(fn.runtime()).tick()
        assert len(kept(fn)) == 1
        Drain(fn.runtime)()
        assert seen == ["x" * 100_000]
        assert kept(fn) == {}


def test_a_small_call_has_nothing_to_do_with_it(fn, store, drain, monkeypatch):
    monkeypatch.setattr(Blobs, "put", None)
    monkeypatch.setattr(Blobs, "get", None)
    monkeypatch.setattr(Blobs, "forget", None)
    handle = store.defer("x" * 700_000)
    drain()
    assert handle.result() == 700_000


@pytest.mark.parametrize("beyond", [-40, -3, -2, -1, 0, 1, 2, 3, 40])
def test_at_the_limit_a_call_is_whole_in_its_message_or_beside_it_and_runs(fn, store, drain, seen, beyond):
    limit = 4096
    fn.runtime().settings = replace(fn.runtime().settings, max_body_bytes=limit)
    data = "x" * (2800 + beyond)
    store.defer(data)
    (body,) = bodies(fn)
    assert len(body) <= limit - 16
    drain()
    assert seen == [(data, "")]


# ---------------------------------------------------------------- refusals


def test_what_is_larger_than_64_mib_is_refused_and_leaves_nothing(fn, store):
    with pytest.raises(MessageTooLarge, match=r"limit is 67,108,864; the largest argument is args\[0\]"):
        store.defer("x" * (BLOB_BYTES_MAX + 1))
    assert kept(fn) == {}


def test_where_there_is_no_place_for_large_calls_the_refusal_names_the_setting(fn, store):
    fn.runtime().settings = replace(fn.runtime().settings, blobs_url="none")
    with pytest.raises(MessageTooLarge, match=r"or set FNQUEUE_BLOBS_URL \(s3://bucket/prefix\)"):
        store.defer(BIG)


def test_on_sqs_there_is_no_place_before_it_is_named():
    for url, there in [("", False), ("s3://bucket/calls", True), ("none", False), ("file:///tmp/blobs", True)]:
        settings = {"url": "sqs://eu-west-1/shop-", "environment": "test", "keys": f"primary:{new_key()}"}
        fn = FnQueue(settings | ({"blobs_url": url} if url else {}))
        assert (fn.runtime().blobs is not None) is there
        with in_memory(fn):
            assert (fn.runtime().blobs is not None) is there, "tests refuse what the application refuses"


@pytest.mark.parametrize(
    "url", ["s3://joe:hunter2@bucket/x", "s3://bucket/../x", "https://hunter2", "s3://B_/x", "file://hunter2/x",
            "file:///", "s3://bucket/x?region=hunter2&x=1", "s3://bucket?endpoint=http://joe:hunter2@host", "/tmp/x",
            "file:///tmp/x?password=hunter2", "s3://bucket/x#hunter2", "s3://[", "hunter2"],
)  # fmt: skip
def test_a_url_that_is_none_is_a_fault_that_quotes_nothing(url):
    from fnqueue.errors import SettingsInvalid

    with pytest.raises(SettingsInvalid, match="FNQUEUE_BLOBS_URL") as refused:
        FnQueue(url="sqlite://", blobs_url=url).runtime().check()
    assert "hunter2" not in str(refused.value)


def test_a_denied_or_wrong_call_puts_nothing_anywhere(fn):
    @fn.task(name="denied", policy=custom(lambda ctx: False))
    def denied(data: str) -> None: ...

    with pytest.raises(PolicyDenied):
        denied.defer(BIG)
    assert kept(fn) == {}


def test_a_place_that_cannot_be_asked_refuses_the_call_before_anything_is_sent(fn, store, monkeypatch):
    def fails(name: str, data: bytes) -> None:
        raise BlobsUnavailable("no bucket")

    monkeypatch.setattr(fn.runtime().blobs.place, "put", fails)
    with pytest.raises(BlobsUnavailable):
        store.using(dedupe="one").defer(BIG)
    assert fn.runtime().engine.broker.queues() == []
    monkeypatch.undo()
    assert store.using(dedupe="one").defer(BIG).held is False
    assert left(fn) == (1, 0, 0), "the refused call did not keep the dedupe key"


# ---------------------------------------------------------------- never too early, never for ever


def test_a_retry_finds_its_arguments(fn, drain):
    runs = []

    @fn.task(name="flaky", retry=3)
    def flaky(data: str) -> None:
        runs.append(len(data))
        if len(runs) < 3:
            raise RetryLater(4000 if len(runs) == 1 else 1)  # parked, then hidden

    flaky.defer(BIG)
    drain.advance(hours=3)
    assert runs == [len(BIG)] * 3
    assert kept(fn) == {}


def test_a_dead_letter_keeps_its_arguments_and_runs_when_it_is_sent_back(fn, drain, clock):
    from fnqueue.cli.dead_letters import Visit, each

    runs = []

    @fn.task(name="fails")
    def fails(data: str) -> None:
        runs.append(len(data))
        if len(runs) == 1:
            raise DeadLetter("not today")

    fails.defer(BIG)
    drain()
    assert len(kept(fn)) == 1
    clock.advance(days=3)
    fn.runtime().blobs.sweep()
    visit = Visit(fn.runtime(), "default__dead")
    assert each(visit, None, lambda dead: True, visit.send_back) == 1
    drain()
    assert runs == [len(BIG)] * 2
    assert kept(fn) == {}


def test_a_dead_letter_that_is_discarded_takes_its_arguments_with_it(fn, drain):
    from fnqueue.cli.dead_letters import Visit, each

    @fn.task(name="fails")
    def fails(data: str) -> None:
        raise DeadLetter("never")

    fails.defer(BIG)
    fails.defer("small")
    drain()
    visit = Visit(fn.runtime(), "default__dead")
    assert each(visit, None, lambda dead: True, visit.throw_away) == 2
    assert kept(fn) == {}


def test_discarding_a_forged_dead_letter_deletes_nobodys_arguments(fn, store, drain):
    from fnqueue.cli.dead_letters import Visit, each

    store.using(delay_seconds=60).defer(BIG)
    (name,) = kept(fn)
    broker, other = fn.runtime().engine.broker, KeyRing.from_text(new_key())
    reference = Reference(n=name, k="A" * 43, h="A" * 43, s=100, d="A" * 22)
    about = {"environment": "default", "queue": "default", "id": new_id(1), "task": "store", "created_at": 1}
    forged = seal(
        keyring=other, **about, expires_at=10**10, principal_kind="anonymous",
        sealed={"p": {"i": "x", "k": "a"}, "args": ["x"]}, offload=lambda arguments: reference,
    )  # fmt: skip
    broker.send("default__dead", [Entry(id="1", body=forged)])
    visit = Visit(fn.runtime(), "default__dead")
    assert each(visit, None, lambda dead: True, visit.throw_away) == 1
    assert list(kept(fn)) == [name]


def test_discarding_a_copy_of_a_call_that_waits_leaves_its_arguments_to_it(fn, store, drain, clock, seen):
    """A crash between sending back and deleting leaves such a copy, and so may whoever can write to the queue."""
    from fnqueue.cli.dead_letters import Visit, each

    handle = store.defer(BIG)
    broker = fn.runtime().engine.broker
    broker.send("default__dead", [Entry(id="copy", body=body) for body in bodies(fn)])
    visit = Visit(fn.runtime(), "default__dead")
    assert each(visit, None, lambda dead: True, visit.throw_away) == 1
    drain()
    assert (handle.state, len(seen), kept(fn)) == ("SUCCESS", 1, {})


@pytest.mark.parametrize("how", ["revoked", "expired", "denied", "failed without a copy"])
def test_what_ended_for_good_leaves_nothing(fn, drain, clock, how):
    allowed = [True]

    @fn.task(name="task", policy=custom(lambda ctx: allowed[0]), dead_letter=False)
    def task(data: str) -> None:
        raise ValueError

    handle = task.defer(BIG)
    if how == "revoked":
        handle.cancel()
    if how == "expired":
        clock.advance(days=5)
    allowed[0] = how != "denied"
    drain()
    assert handle.state == {"revoked": "REVOKED", "expired": "EXPIRED", "denied": "DENIED"}.get(how, "FAILURE")
    assert kept(fn) == {}


def test_what_is_never_sent_leaves_nothing(fn, store):
    from tests.app.test_held_calls import Transactions

    transactions = Transactions()
    fn.runtime().hooks.transaction = transactions.current
    transactions.begin()
    held = store.defer(BIG)
    assert len(kept(fn)) == 1, "what can fail has been done before the commit"
    transactions.rollback()
    assert not held.held
    with pytest.raises(ZeroDivisionError), fn.batch():
        store.defer(BIG)
        raise ZeroDivisionError
    first = store.using(dedupe="k").defer(BIG)
    assert store.using(dedupe="k").defer(BIG) == first
    assert len(kept(fn)) == 1


def test_a_large_call_that_is_applied_finds_its_arguments_whoever_has_its_dedupe_key(fn, store, drain, seen):
    handle = store.using(dedupe="k").defer(BIG)
    assert store.using(dedupe="k").apply(BIG + "here").value == len(BIG) + 4
    assert len(kept(fn)) == 1, "what is applied leaves nothing, and takes nothing of the call that waits"
    drain()
    assert (handle.state, len(seen), kept(fn)) == ("SUCCESS", 2, {})


def test_a_call_that_another_overtook_while_it_waited_for_its_commit_leaves_nothing(fn, store, drain, seen):
    from tests.app.test_held_calls import Transactions

    transactions = Transactions()
    fn.runtime().hooks.transaction = transactions.current
    transactions.begin()
    store.using(dedupe="k").defer(BIG + "held")
    fn.runtime().hooks.transaction = lambda: None
    store.using(dedupe="k").defer(BIG + "at once")
    transactions.commit()
    drain()
    assert [data.removeprefix(BIG) for data, _ in seen] == ["at once"]
    assert kept(fn) == {}


def test_a_sweep_takes_orphans_in_time_and_never_what_a_message_leads_to(fn, store, drain, clock, seen):
    blobs = fn.runtime().blobs
    store.using(expires_seconds=86_400 * 30).defer(BIG)
    _, orphan = blobs.seal_call(b"{}", bytes(16), expires_at=clock.now() + 86_400)
    blobs.put(orphan)
    for _ in range(29):
        clock.advance(days=1)
        blobs.sweep()
    assert orphan.name not in kept(fn)
    assert len(kept(fn)) == 1
    store.defer("small")  # the queue's retention is 14 days, and the store's is not
    assert len(kept(fn)) == 1
    clock.advance(days=20)
    assert blobs.sweep() == 1
    assert kept(fn) == {}


@given(expires=st.integers(0, 8 * 10**9), later=st.floats(0, 15 * 86_400 - 1))
@settings(max_examples=300, deadline=None)
def test_no_sweep_comes_before_the_last_day_of_a_dead_letter(expires, later):
    clock = ManualClock()
    from fnqueue.security.blobs.memory import MemoryPlace

    place = MemoryPlace()
    _, blob = Blobs(place, clock).seal_call(b"{}", bytes(16), expires_at=expires)
    place.put(*blob)
    assert place.sweep(int((expires + later) // 86_400)) == 0
    assert place.sweep(int(expires // 86_400) + 17) == 1


# ---------------------------------------------------------------- which call it is

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**255), 2**255) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc\u00fc", max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
RING = KeyRing.from_text(new_key())


@given(args=st.lists(_JSON, max_size=3), kwargs=st.dictionaries(st.text("abc", min_size=1, max_size=3), _JSON))
@settings(max_examples=300, deadline=None)
def test_a_call_beside_its_message_is_the_same_call_as_one_inside(args, kwargs):
    clock = ManualClock()
    from fnqueue.security.blobs.memory import MemoryPlace

    blobs = Blobs(MemoryPlace(), clock)
    who = Principal("7", tenant="t", roles=frozenset("ab"), auth_time=datetime(2026, 11, 1, 9, 0, 1, 500, tzinfo=UTC))
    sealed = {"args": tuple(args), "kwargs": kwargs, "p": who.to_wire()}

    def offload(content: bytes) -> Reference:
        reference, blob = blobs.seal_call(content, call_digest("t", sealed), expires_at=clock.now())
        blobs.put(blob)
        return reference

    about = {
        "keyring": RING, "environment": "e", "queue": "q", "id": new_id(clock.now()), "task": "t",
        "created_at": clock.now(), "expires_at": clock.now() + 10, "principal_kind": "user", "sealed": sealed,
    }  # fmt: skip
    opened = [
        verify(body, keyring=RING, environment="e", queue="q", now=clock.now()).unseal()
        for body in (seal(**about), seal(**about, offload=offload))
    ]
    inside, beside = (call_digest("t", each) for each in opened)
    assert inside == beside


def test_a_copy_of_a_large_call_is_told_from_another_call_under_its_id(fn, store, drain, seen, told):
    runtime = fn.runtime()

    def send(data: str, *, beside: bool) -> None:
        wire = {"args": [data], "kwargs": {}, "p": Principal("1").to_wire()}

        def offload(content: bytes) -> Reference:
            reference, blob = runtime.blobs.seal_call(content, call_digest("store", wire), expires_at=2e9)
            runtime.blobs.put(blob)
            return reference

        body = seal(
            keyring=runtime.ring(), environment="default", queue="default", id=ID, task="store",
            created_at=runtime.clock.now(), expires_at=runtime.clock.now() + 1e5, principal_kind="user", sealed=wire,
            offload=offload if beside else None,
        )  # fmt: skip
        runtime.engine.broker.send("default", [Entry(id=ID, body=body, attributes={"g": "1"})])

    ID = new_id(runtime.clock.now())
    send("one", beside=True)
    drain()
    send("one", beside=False)
    drain()
    assert [event.code for event in told] == ["REPLAY"]
    send("two", beside=True)
    drain()
    assert [event.code for event in told] == ["REPLAY", "ID_CONFLICT"]
    assert [data for data, _ in seen] == ["one"]


# ---------------------------------------------------------------- what an attacker does to it

SPOIL = {
    "an edited byte": lambda data, other: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "cut off": lambda data, other: data[:-1],
    "grown": lambda data, other: data + b"x",
    "empty": lambda data, other: b"",
    "another call's": lambda data, other: other,
    "rubbish of the same length": lambda data, other: bytes(len(data)),
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_altered_arguments_are_hostile_and_the_worker_goes_on(fn, store, drain, seen, told, spoil):
    store.defer("a" * 2_000_000)
    store.using(delay_seconds=900).defer("b" * 2_000_000)
    first, second = kept(fn)
    kept(fn)[first] = spoil(kept(fn)[first], kept(fn)[second])
    drain()
    assert [event.code for event in told] == ["UNSEAL"]
    assert dead_letters(fn) == [("UNSEAL", "default")]
    assert first in kept(fn), "nothing is deleted on the word of an attacker"
    store.defer("good")
    drain()
    assert seen == [("good", "")]


def test_whoever_may_open_messages_cannot_put_other_arguments_in_their_place(fn, store, drain, told, seen):
    """A worker's key opens; in the suites that are signed it must not be able to change what a user asked for."""
    store.defer(BIG)
    (body,) = bodies(fn)
    reference = reference_in(fn, body)
    forged, blob = seal_blob(b'{"args":["forged"]}', keep_until=0)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from fnqueue.security.primitives import from_base64

    content = open_blob(reference, kept(fn)[reference.n]).replace(b"xxxx", b"yyyy")
    cipher = AESGCM(from_base64(reference.k.encode()))
    kept(fn)[reference.n] = cipher.encrypt(bytes(12), content, b"fnq1 blob" + reference.n.encode())
    assert len(kept(fn)[reference.n]) == reference.s
    drain()
    assert [event.code for event in told] == ["UNSEAL"]
    assert seen == []
    assert (forged.n, blob.name) == (blob.name, forged.n)


def test_missing_arguments_are_waited_for_and_then_dead_lettered(fn, store, drain, seen, told, clock):
    handle = store.defer(BIG)
    (name,) = kept(fn)
    data = kept(fn).pop(name)
    drain()
    assert [(event.code, event.fate) for event in told] == [("BLOB_MISSING", "hidden")]
    drain.advance(hours=2)
    assert told[-1].fate == "dead-lettered"
    assert dead_letters(fn) == [("BLOB_MISSING", "default")]
    assert handle.record().error.type == "BLOB_MISSING"
    from fnqueue.cli.dead_letters import Visit, each

    kept(fn)[name] = data  # the worker had looked in another place
    visit = Visit(fn.runtime(), "default__dead")
    assert each(visit, None, lambda dead: True, visit.send_back) == 1
    drain()
    assert seen == [(BIG, "")]


def test_a_copy_that_comes_when_the_call_has_succeeded_is_only_deleted(fn, store, drain, seen, told):
    store.defer(BIG)
    (body,) = bodies(fn)
    drain()
    fn.runtime().engine.broker.send("default", [Entry(id="copy", body=body)])
    drain()
    assert [(event.code, event.fate) for event in told] == [("REPLAY", "deleted")]
    assert left(fn) == (0, 0, 0)
    assert len(seen) == 1


def test_a_worker_without_a_place_waits_for_one_that_has_it(fn, store, drain, told):
    store.defer(BIG)
    runtime = fn.runtime()
    blobs, runtime.__dict__["blobs"] = runtime.blobs, None
    drain()
    assert (told[0].code, told[0].fate) == ("BLOB_MISSING", "hidden")
    assert "FNQUEUE_BLOBS_URL" in told[0].detail
    runtime.__dict__["blobs"] = blobs
    drain.advance(minutes=1)
    assert kept(fn) == {}


def test_a_place_that_cannot_be_asked_for_a_while_is_no_attempt_of_the_task(fn, store, drain, seen, monkeypatch):
    handle = store.defer(BIG)
    place, get = fn.runtime().blobs.place, fn.runtime().blobs.place.get

    def fails(name: str, size: int) -> bytes | None:
        raise BlobsUnavailable("no bucket")

    monkeypatch.setattr(place, "get", fails)
    drain()
    monkeypatch.setattr(place, "get", get)
    drain.advance(minutes=1)
    assert seen == [(BIG, "")]
    assert handle.record().attempts == 1


def test_a_revoked_call_is_not_fetched(fn, store, drain, monkeypatch):
    handle = store.defer(BIG)
    handle.cancel()
    monkeypatch.setattr(Blobs, "get", None)
    drain()
    assert handle.state == "REVOKED"


# ---------------------------------------------------------------- what it costs


def peak(work: Any) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "more"),
    # Where every seventh character is escaped, the JSON decoder writes the text twice.
    [("x" * 16, 0), ("a,b,c,d,[e,f]\n\n", 1.1), ('"\\,,,{{' * 2, 1.1)], ids=["flat", "lines", "escaped"],
)  # fmt: skip
def test_a_large_call_takes_at_most_about_twice_its_size_to_seal_and_to_open(text, more):
    data = text * 800_000
    size = len(msgspec.json.encode(data))
    clock = ManualClock()
    fn = FnQueue()
    lengths = []

    @fn.task(name="store", policy=public)
    def store(data: str) -> None:
        lengths.append(len(data))

    with in_memory(fn, clock):
        from fnqueue.testing.drain import Drain

        store.defer("warm")
        drain = Drain(fn.runtime)
        drain()
        # Half a size more than twice is what the JSON encoder asks for, and never touches.
        assert peak(lambda: store.defer(data)) < (2.6 + more) * size
        assert peak(drain) < (2.1 + more) * size
    assert lengths == [4, len(data)]


# ---------------------------------------------------------------- results


@pytest.fixture(params=["function", "coroutine"])
def make(fn, request):
    if request.param == "function":

        @fn.task(name="make")
        def make(size: int) -> str:
            return "r" * size

    else:

        @fn.task(name="make")
        async def make(size: int) -> str:
            return "r" * size

    return make


@pytest.mark.parametrize("size", [250_000, 253_000, 254_000, 262_144, 1_000_000])
def test_a_large_result_is_read_as_any_other(fn, make, drain, size):
    handle = make.defer(size)
    drain()
    assert handle.state == "SUCCESS"
    assert handle.result() == "r" * size
    assert handle.record().value == "r" * size
    assert len(kept(fn)) == (size > 253_000)
    assert make.apply(size).value == "r" * size


def test_a_large_result_is_swept_after_its_record_and_not_before(fn, drain, clock):
    @fn.task(name="make", keep_result_seconds=86_400 * 3)
    def make() -> list[int]:
        return list(range(200_000))

    handle = make.defer()
    drain()
    for _ in range(5):
        assert fn.runtime().blobs.sweep() == 0 or handle.record().state == "UNKNOWN"
        if handle.record().state == "SUCCESS":
            assert len(handle.result()) == 200_000
        clock.advance(hours=23)
        fn.runtime().engine.store.sweep()
    clock.advance(days=2)
    fn.runtime().blobs.sweep()
    assert kept(fn) == {}


def test_a_large_result_that_cannot_be_kept_or_found_is_told_and_the_task_has_succeeded(fn, make, drain, monkeypatch):
    from fnqueue.errors import ResultUnreadable

    def fails(*given: object) -> None:
        raise BlobsUnavailable("no bucket")

    with monkeypatch.context() as broken:
        broken.setattr(fn.runtime().blobs.place, "put", fails)
        lost = make.defer(500_000)
        drain()
    gone, altered = make.defer(500_000), make.defer(500_000)
    drain()
    first, second = kept(fn)
    del kept(fn)[first]
    kept(fn)[second] = kept(fn)[second][:-1] + b"x"
    for handle, said in [(lost, "could not be kept elsewhere"), (gone, "BLOB_MISSING"), (altered, "UNSEAL")]:
        assert handle.state == "SUCCESS"
        with pytest.raises(ResultUnreadable, match=said):
            handle.result()


def test_a_status_page_does_not_fetch_a_large_result(fn, make, drain, monkeypatch):
    handle = make.defer(500_000)
    drain()
    monkeypatch.setattr(Blobs, "get", None)
    assert handle.state == "SUCCESS"
    assert fn.reads().by_token(handle.status_token()).state == "SUCCESS"


def test_a_result_that_nobody_keeps_is_put_nowhere(fn, drain):
    @fn.task(name="make", keep_result_seconds=0)
    def make() -> str:
        return "r" * 1_000_000

    make.defer()
    drain()
    assert kept(fn) == {}
