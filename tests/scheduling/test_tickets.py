"""Schedule tickets through the real pipe: each is laid into the queue as EventBridge, or an attacker, would."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fnqueue import Backoff, FnQueue
from fnqueue.broker.base import Entry as Sent
from fnqueue.broker.base import Message, Receipt
from fnqueue.clock import ManualClock, to_datetime
from fnqueue.errors import EnvelopeError
from fnqueue.events import MessageRefused, ScheduleFired, ScheduleSkipped
from fnqueue.execution.delivery import Delivery
from fnqueue.policies import from_schedule, public, service
from fnqueue.schedule import SCHEDULED_TIME
from fnqueue.schedule.ticket import open_ticket, read_input, seal_ticket
from fnqueue.scheduling.admission import Admission
from fnqueue.scheduling.entry import read_entry
from fnqueue.scheduling.publishing import ticket_of
from fnqueue.scheduling.ticking import ScheduleTicker
from fnqueue.security.keyfile import share
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.security.keys import FixedKeys
from fnqueue.security.primitives import to_base64
from fnqueue.testing import Drain, in_memory
from tests.security.rings import whole

START = datetime(2026, 1, 1, tzinfo=UTC)  # where a ManualClock begins
HOUR = timedelta(hours=1)


@pytest.fixture
def runs():
    return []


@pytest.fixture
def note(fn, runs, clock):
    @fn.task(name="note", policy=from_schedule)
    def note(text: str = "") -> None:
        runs.append((to_datetime(clock.now()), text))

    return note


class NoTicker:
    """What `--no-schedule` leaves of it: EventBridge ticks."""

    def __init__(self, runtime):
        pass

    def tick(self):
        return 0


@pytest.fixture(autouse=True)
def no_schedule(monkeypatch):
    monkeypatch.setattr("fnqueue.testing.hand.ScheduleTicker", NoTicker)


@pytest.fixture
def bridge(fn, clock):
    return Bridge(fn, clock)


class Bridge:
    """What EventBridge does with an Input, and what became of what it sent."""

    def __init__(self, fn, clock):
        self.fn, self.clock, self.number = fn, clock, 0
        self.refused, self.skipped, self.fired = [], [], []
        fn.on(MessageRefused, lambda event: self.refused.append((event.code, event.fate)))
        fn.on(ScheduleSkipped, lambda event: self.skipped.append(event.reason))
        fn.on(ScheduleFired, lambda event: self.fired.append(event.id))

    def input(self, name, queue="default"):
        """What `sync` would put there now; and our own ticker leaves the schedule alone."""
        runtime = self.fn.runtime()
        kept = runtime.schedules.get(name)
        self.rest(name)
        return seal_ticket(ticket_of(runtime, read_entry(kept.data), queue), runtime.ring())

    def rest(self, name):
        """Workers are told `--no-schedule`."""
        runtime = self.fn.runtime()
        kept = runtime.schedules.get(name)
        runtime.schedules.put(name, kept.data, due=None, over=kept)

    def send(self, text, at=None, queue="default"):
        """`at`: the scheduled time that is filled in."""
        if at is not None:
            text = text.replace(SCHEDULED_TIME, f"{at:%Y-%m-%dT%H:%M:%SZ}")
        self.number += 1
        failed = self.fn.runtime().engine.broker.send(queue, [Sent(id=f"bridge-{self.number}", body=text)])
        assert failed == []

    def dead(self, queue="default__dead"):
        return [m.body for m in self.fn.runtime().engine.broker.receive(queue, max_messages=10, wait_seconds=0)]


@pytest.fixture
def hourly(fn, note, bridge, clock):
    """Its Input; the clock stands on 03:00:20, and nothing of it has fired."""
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,))
    text = bridge.input("hourly")
    clock.advance(hours=3, seconds=20)
    return text


NOW = START + 3 * HOUR


# ---------------------------------------------------------------- it works


def test_a_ticket_makes_the_call_of_its_time(bridge, hourly, drain, runs, fn):
    bridge.send(hourly, NOW)
    drain()
    assert runs == [(NOW + timedelta(seconds=20), "2026-01-01T03:00:00Z")]
    found = fn.schedules.get("hourly")
    assert (found.last_at, found.last_id) == (NOW, bridge.fired[0])
    assert fn.runtime().results.read(found.last_id).state == "SUCCESS"


def test_what_it_says_cannot_be_read_without_a_key(hourly):
    assert re.fullmatch(r"fqs1\.[A-Za-z0-9_-]+\.<aws\.scheduler\.scheduled-time>", hourly)
    assert "note" not in hourly


def test_a_second_copy_of_a_time_does_nothing(bridge, hourly, drain, runs, clock):
    for _ in range(3):
        bridge.send(hourly, NOW)
    drain()
    clock.advance(minutes=5)
    bridge.send(hourly, NOW)
    drain()
    assert len(runs) == 1
    assert bridge.refused == [("REPLAY", "deleted")] * 3
    assert bridge.dead() == []


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_our_own_ticker_and_eventbridge_never_double_a_time(fn, note, bridge, drain, runs, clock, first):
    fn.schedules.put("hourly", "cron(30 * * * ? *)", note)
    text = bridge.input("hourly")
    kept = fn.runtime().schedules.get("hourly")
    clock.advance(minutes=30, seconds=1)
    ours = lambda: ScheduleTicker(fn.runtime()).tick()
    theirs = lambda: bridge.send(text, START + HOUR / 2)
    fn.runtime().schedules.put("hourly", kept.data, due=clock.now(), over=kept)
    for tick in (ours, theirs) if first == "ours" else (theirs, ours):
        tick()
    drain()
    assert len(runs) == 1
    assert len(set(bridge.fired)) == 1
    assert [code for code, _ in bridge.refused] == ["REPLAY"]


def test_nor_do_they_while_keys_are_rotated(fn, note, runs):
    old, new = new_key(), new_key()
    clock = ManualClock()
    with in_memory(FnQueue(), clock) as fn:

        @fn.task(name="note", policy=from_schedule)
        def note() -> None:
            runs.append(1)

        runtime = fn.runtime()
        runtime.__dict__["keys"] = FixedKeys(f"primary:{old}, accept:{new}")
        bridge, drain = Bridge(fn, clock), Drain(fn.runtime)
        fn.schedules.put("half", "cron(30 * * * ? *)", note)
        entry = read_entry(runtime.schedules.get("half").data)
        text = seal_ticket(ticket_of(runtime, entry, "default"), runtime.ring())
        runtime.__dict__["keys"] = FixedKeys(f"accept:{old}, primary:{new}")
        for hours in range(3):
            clock.advance(minutes=30 if not hours else 60)
            assert ScheduleTicker(runtime).tick() == 1  # and sealed with the new key
            bridge.send(text, START + HOUR / 2 + hours * HOUR)
            drain()
        assert len(runs) == 3


def test_a_failed_call_is_tried_again_and_ends_when_its_own_time_is_up(fn, bridge, clock, advance, runs):
    @fn.task(name="flaky", policy=from_schedule, retry=Backoff(99, first_seconds=300, factor=1), expires_seconds=3600)
    def flaky() -> None:
        runs.append(to_datetime(clock.now()))
        raise OSError("down")

    fn.schedules.put("daily", "cron(0 1 * * ? *)", flaky, misfire="skip")
    text = bridge.input("daily")
    clock.advance(hours=1)
    bridge.send(text, START + HOUR)
    advance(hours=5)
    assert len(runs) > 10
    assert max(runs) < START + 2 * HOUR


def test_a_call_that_has_begun_is_tried_again_though_its_schedule_was_paused(fn, bridge, clock, advance, drain):
    tries = []

    @fn.task(name="flaky", policy=from_schedule, retry=3)
    def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("down")

    fn.schedules.put("daily", "cron(0 1 * * ? *)", flaky)
    text = bridge.input("daily")
    clock.advance(hours=1)
    bridge.send(text, START + HOUR)
    drain()
    fn.schedules.delete("daily")
    advance(minutes=30)
    assert len(tries) == 3


def test_a_worker_that_dies_after_the_ticket_began_is_followed_by_another(fn, note, bridge, hourly, runs, clock, drain):
    bridge.send(hourly, NOW)
    runtime = fn.runtime()
    broker = runtime.engine.broker
    (message,) = broker.receive("default", max_messages=1, wait_seconds=0)
    executor = runtime.executor(exchange=Admission(runtime).exchange, worker="dying")
    executor.execute(Delivery(message))  # it ran, and nothing was settled
    assert len(runs) == 1
    fn.schedules.pause("hourly")
    clock.advance(hours=2)
    drain()
    assert len(runs) == 2, "at least once: its lease is over, and it had begun"


def test_a_queue_that_was_long_is_no_reason_to_drop_what_was_sent_in_time(fn, note, bridge, hourly, drain, runs, clock):
    for hours in range(3):
        bridge.send(hourly, NOW + hours * HOUR)
        clock.advance(hours=1)
    clock.advance(hours=30)
    drain()
    assert [text for _, text in runs] == [f"2026-01-01T0{n}:00:00Z" for n in (3, 4, 5)]


def test_a_one_time_schedule_has_a_ticket_too_and_can_be_paused(fn, note, bridge, drain, runs, clock):
    fn.schedules.put("once", "at(2026-01-01T01:00:00)", note)
    text = bridge.input("once")
    clock.advance(hours=1)
    bridge.send(text, START + HOUR)
    bridge.send(text, START + HOUR)
    drain()
    assert len(runs) == 1
    assert fn.schedules.get("once").state == "DONE"


def test_a_rate_that_counts_from_a_fraction_of_a_second_is_met_by_whole_seconds(fn, note, bridge, drain, runs, clock):
    start = START + timedelta(minutes=5, microseconds=700_000)
    fn.schedules.put("often", "rate(5 minutes)", note, start=start)
    text = bridge.input("often")
    clock.advance(minutes=10, seconds=1)
    bridge.send(text, START + timedelta(minutes=10))
    drain()
    assert len(runs) == 1
    bridge.send(text, START + timedelta(minutes=9))
    drain()
    assert bridge.refused[-1][0] == "NO_OCCURRENCE"


@pytest.mark.parametrize(("misfire", "hours"), [("catch_up", [0, 1, 2, 3]), ("run_once", [3]), ("skip", [3])])
def test_times_that_were_missed_before_it_are_made_up_for_as_the_misfire_policy_says(
    fn, note, bridge, clock, drain, runs, misfire, hours
):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,), misfire=misfire)
    text = bridge.input("hourly")
    clock.advance(hours=3, seconds=5)
    bridge.send(text, NOW)
    drain()
    runtime = fn.runtime()
    kept = runtime.schedules.get("hourly")
    assert read_entry(kept.data).next == (START if misfire == "catch_up" else NOW + HOUR)
    runtime.schedules.put("hourly", kept.data, due=clock.now(), over=kept)
    ScheduleTicker(runtime).tick()
    drain()
    assert sorted(text for _, text in runs) == [f"2026-01-01T0{hour}:00:00Z" for hour in hours]


def test_the_policy_and_the_service_are_those_of_our_own_ticks(fn, bridge, drain, clock, runs):
    @fn.task(name="who", policy=service("billing"), bind=True)
    def who(context) -> None:
        runs.append((context.principal.kind, context.principal.id))

    fn.schedules.put("may", "cron(0 * * * ? *)", who, runs_as="billing")
    fn.schedules.put("may-not", "cron(0 * * * ? *)", who)
    texts = [bridge.input("may"), bridge.input("may-not")]
    clock.advance(hours=1)
    for text in texts:
        bridge.send(text, START + HOUR)
    drain()
    assert runs == [("service", "billing")]
    assert bridge.refused == [("DENIED", "deleted")]


def test_without_overlap_a_time_is_skipped_while_the_call_before_it_has_not_ended(fn, bridge, clock, drain, runs):
    @fn.task(name="slow", policy=from_schedule, retry=5)
    def slow() -> None:
        runs.append(1)
        raise OSError("not yet")

    fn.schedules.put("hourly", "cron(0 * * * ? *)", slow, overlap="skip")
    text = bridge.input("hourly")
    clock.advance(hours=1)
    bridge.send(text, START + HOUR)
    drain()
    clock.advance(hours=1)
    bridge.send(text, START + 2 * HOUR)
    # It fails once more, or waits: in any case it has not ended.
    drain()
    assert "overlap='skip'" in " ".join(bridge.skipped)


def test_a_dedupe_key_lets_one_of_two_calls_run(fn, note, bridge, clock, drain, runs):
    for name in ("one", "two"):
        fn.schedules.put(name, "cron(0 * * * ? *)", note, dedupe="same")
    texts = [bridge.input("one"), bridge.input("two")]
    clock.advance(hours=1)
    for text in texts:
        bridge.send(text, START + HOUR)
    drain()
    assert len(runs) == 1
    assert bridge.refused == [("REPLAY", "deleted")]


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("late", "refusal"),
    [
        (timedelta(minutes=1), ("NO_OCCURRENCE", "dead-lettered")),  # an invented time
        (timedelta(seconds=-1), ("NO_OCCURRENCE", "dead-lettered")),
        (HOUR, ("FROM_FUTURE", "hidden")),
        (24 * 365 * HOUR, ("FROM_FUTURE", "hidden")),
        (-HOUR, ("EXPIRED", "deleted")),  # `run_once`: a later one has come
        (-4 * HOUR, ("EXPIRED", "deleted")),  # before it was made
        (-24 * 365 * HOUR, ("EXPIRED", "deleted")),
    ],
)
def test_a_time_that_is_not_its_own_or_not_now_does_not_run(bridge, hourly, drain, runs, fn, late, refusal):
    bridge.send(hourly, NOW + late)
    drain()
    assert runs == []
    assert bridge.refused == [refusal]
    assert len(bridge.dead()) == (refusal[1] == "dead-lettered")
    # Nothing was written under the id of that time: when it comes in truth, it runs.
    bridge.send(hourly, NOW)
    drain()
    assert len(runs) == 1


def test_a_forged_time_to_come_neither_runs_early_nor_keeps_the_true_one_from_running(bridge, hourly, runs, advance):
    bridge.send(hourly, NOW + HOUR)
    advance(minutes=59)
    assert runs == []
    bridge.send(hourly, NOW + HOUR)
    advance(hours=2)
    assert len(runs) == 1
    assert runs[0][0] >= NOW + HOUR - timedelta(seconds=60)


def test_a_time_within_the_skew_waits_until_it_is_due(fn, note, bridge, hourly, advance, runs, clock):
    clock.advance(minutes=57)
    bridge.send(hourly, NOW + HOUR)
    advance(minutes=1)
    assert runs == []
    assert bridge.refused[0] == ("NOT_YET", "hidden")
    advance(minutes=3)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("misfire", "hours", "runs_at"),
    [("skip", 1, 0), ("run_once", 1, 1), ("run_once", 23, 1), ("run_once", 25, 0), ("catch_up", 23, 1)],
)
def test_an_old_time_runs_within_the_misfire_window_only(fn, note, bridge, clock, drain, runs, misfire, hours, runs_at):
    fn.schedules.put("daily", "cron(30 0 * * ? *)", note, misfire=misfire)
    text = bridge.input("daily")
    clock.advance(minutes=30, hours=hours)
    bridge.send(text, START + HOUR / 2)
    drain()
    assert len(runs) == runs_at


def test_a_time_that_ran_cannot_be_played_again_when_its_call_has_long_expired(fn, bridge, note, clock, drain, runs):
    fn.schedules.put("daily", "cron(30 0 * * ? *)", note, expires_seconds=60)
    text = bridge.input("daily")
    clock.advance(minutes=30)
    for _ in range(24):
        bridge.send(text, START + HOUR / 2)
        drain()
        clock.advance(hours=1)
    assert len(runs) == 1


def test_nor_can_one_that_our_own_ticker_fired(fn, bridge, note, clock, runs, advance, drain):
    fn.schedules.put("daily", "cron(30 0 * * ? *)", note, expires_seconds=60)
    runtime = fn.runtime()
    text = seal_ticket(ticket_of(runtime, read_entry(runtime.schedules.get("daily").data), "default"), runtime.ring())
    clock.advance(minutes=30)
    assert ScheduleTicker(runtime).tick() == 1
    advance(hours=12)
    assert len(runs) == 1
    bridge.send(text, START + HOUR / 2)
    advance(minutes=1)
    assert len(runs) == 1


def test_a_time_of_a_pause_stays_missed_after_it(fn, bridge, hourly, drain, runs, clock):
    fn.schedules.pause("hourly")
    clock.advance(hours=1)
    bridge.rest("hourly")
    fn.schedules.resume("hourly")
    bridge.rest("hourly")
    bridge.send(hourly, NOW + HOUR)  # it was not sent in the pause, and somebody makes up for it
    drain()
    assert runs == []
    assert bridge.refused == [("EXPIRED", "deleted")]
    clock.advance(hours=1)
    bridge.send(hourly, NOW + 2 * HOUR)
    drain()
    assert len(runs) == 1


# ---------------------------------------------------------------- the schedule


def test_a_paused_schedule_does_not_run_and_is_told(fn, bridge, hourly, drain, runs):
    fn.schedules.pause("hourly")
    bridge.send(hourly, NOW)
    drain()
    assert runs == []
    assert bridge.refused == [("REVOKED", "deleted")]
    assert bridge.skipped == ["schedule 'hourly' is paused"]


def test_nor_does_a_deleted_one_even_if_it_is_put_anew(fn, note, bridge, hourly, drain, runs, clock):
    fn.schedules.delete("hourly")
    bridge.send(hourly, NOW)
    drain()
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    bridge.rest("hourly")
    clock.advance(hours=1)
    bridge.send(hourly, NOW + HOUR)
    drain()
    assert runs == []
    assert [reason.partition(":")[0] for reason in bridge.skipped] == [
        "schedule 'hourly' is deleted",
        "schedule 'hourly' was changed since",
    ]


def test_nor_where_the_clock_of_whoever_puts_it_anew_is_behind(fn, note, bridge, hourly, drain, runs, clock):
    now = clock.now()
    fn.schedules.delete("hourly")
    clock.jump(START.timestamp() - 10 - now)
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=("changed",))
    anew = bridge.input("hourly")
    clock.jump(now - clock.now())
    bridge.send(hourly, NOW)
    drain()
    assert (runs, bridge.refused) == ([], [("REVOKED", "deleted")])
    bridge.send(anew, NOW)
    drain()
    assert [text for _, text in runs] == ["changed"]


def test_an_older_revision_is_refused_and_the_present_one_runs(fn, note, bridge, hourly, drain, runs):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=("changed",))
    now = bridge.input("hourly")
    bridge.send(hourly, NOW)
    drain()
    assert (runs, bridge.refused) == ([], [("REVOKED", "deleted")])
    bridge.send(now, NOW)
    drain()
    assert [text for _, text in runs] == ["changed"]


def test_a_change_that_changes_nothing_and_a_worker_that_starts_make_no_new_revision(fn, note, bridge, clock):
    fn.schedule("rate(1 day)", name="code")(note)
    fn.schedules.sync()
    before = open_sealed(fn, bridge.input("code"))
    clock.advance(hours=1)
    fn.schedules.sync()
    fn.schedules.pause("code")
    fn.schedules.resume("code")
    assert open_sealed(fn, bridge.input("code")) == before


def open_sealed(fn, text):
    found = read_input(text, fn.runtime().ring())
    assert found is not None
    return found[0]


# ---------------------------------------------------------------- the text


@pytest.mark.parametrize(
    "filled",
    [None, "2026-01-01T03:00:00", "2026-01-01 03:00:00Z", "2026-02-30T03:00:00Z", "2026-01-01T03:00:00Z\n", "", "٢026"],
)
def test_a_time_that_is_none_or_was_not_filled_in_is_hostile(bridge, hourly, drain, runs, filled):
    bridge.send(hourly if filled is None else hourly.replace(SCHEDULED_TIME, filled))
    drain()
    assert runs == []
    assert bridge.refused == [("MALFORMED", "dead-lettered")]
    assert len(bridge.dead()) == 1


@pytest.mark.parametrize(
    ("zone", "filled"), [("America/New_York", "0001-01-01T00:00:00Z"), ("Asia/Tokyo", "9999-12-31T23:59:59Z")]
)
def test_a_forged_time_at_the_end_of_the_calendar_is_hostile_in_any_zone(fn, note, bridge, drain, runs, zone, filled):
    fn.schedules.put("daily", "cron(0 9 * * ? *)", note, timezone=zone)
    bridge.send(bridge.input("daily").replace(SCHEDULED_TIME, filled))
    drain()
    assert (bridge.refused, runs) == ([("NO_OCCURRENCE", "dead-lettered")], [])


def test_an_unfilled_time_is_told_as_that(fn, hourly):
    with pytest.raises(EnvelopeError) as refused:
        open_ticket(hourly, fn.runtime().ring(), environment="default", queue="default")
    assert "did not fill in the time" in refused.value.detail


@pytest.mark.parametrize(
    ("environment", "queue"), [("staging", "default"), ("default", "billing"), ("staging", "billing")]
)
def test_a_ticket_of_another_environment_or_queue_is_hidden_and_never_deleted(
    fn, bridge, hourly, drain, runs, environment, queue
):
    ticket = msgspec.structs.replace(open_sealed(fn, hourly), environment=environment, queue=queue)
    bridge.send(seal_ticket(ticket, fn.runtime().ring()), NOW)
    drain()
    assert runs == []
    assert bridge.refused == [("CONTEXT", "hidden")]


def test_a_ticket_cannot_be_made_of_anything_else_that_is_sealed(fn, note, bridge, drain, runs, hourly):
    kept = fn.runtime().schedules.get("hourly")  # the same purpose key, another context
    for sealed in (kept.sealed, b"", b"\x01" * 60):
        bridge.send(f"fqs1.{to_base64(sealed).decode()}.2026-01-01T03:00:00Z")
    drain()
    assert runs == []
    assert [code for code, _ in bridge.refused] == ["UNSEAL", "MALFORMED", "UNKNOWN_KEY"]


@pytest.mark.parametrize("limit", ["tasks=other", "queues=other", "kinds=user"])
def test_a_key_may_speak_for_no_more_than_its_limits_in_a_ticket_too(fn, note, bridge, hourly, drain, runs, limit):
    ring = KeyRing.from_text(f"primary:{new_key()};{limit}")
    text = seal_ticket(open_sealed(fn, hourly), ring)
    also_knows(fn, ring, "accept")
    bridge.send(text, NOW)
    drain()
    assert runs == []
    assert [code for code, _ in bridge.refused] == ["KEY_NOT_FOR_TASK"]


class Keys:
    def __init__(self, ring):
        self.ring = lambda: ring


def also_knows(fn, ring, state):
    own = fn.runtime().ring().records
    fn.runtime().__dict__["keys"] = Keys(KeyRing([*own, *(replace(each, state=state) for each in ring.records)]))


@pytest.mark.parametrize(
    ("runs_as", "runs_for"), [(None, ("schedule", "hourly")), ("user", ("service", "user")), ("7", ("service", "7"))]
)
def test_with_the_state_part_alone_a_thief_writes_tickets_and_never_one_for_a_user(
    fn, note, bridge, drain, runs, clock, runs_as, runs_for
):
    """Web nodes and workers share it: SECURITY.md names that among what remains of a stolen worker."""

    @fn.task(name="who", policy=public, bind=True)
    def who(context) -> None:
        runs.append((context.principal.kind, context.principal.id))

    key = whole("signed")
    fn.runtime().__dict__["keys"] = Keys(KeyRing.from_text(key))
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,))
    ticket = open_sealed(fn, bridge.input("hourly"))
    clock.advance(hours=3, seconds=20)
    schedule = msgspec.structs.replace(ticket.schedule, task="who", args=(), runs_as=runs_as)
    thief = KeyRing.from_text(share(key, "worker"))
    assert not thief.primary.can("sign")
    bridge.send(seal_ticket(msgspec.structs.replace(ticket, schedule=schedule), thief), NOW)
    drain()
    assert runs == [runs_for]


def test_a_ticket_sealed_with_a_revoked_key_is_hostile_and_with_an_unknown_one_waits(fn, bridge, hourly, drain, runs):
    ring = KeyRing.from_text(new_key())
    text = seal_ticket(open_sealed(fn, hourly), ring)
    bridge.send(text, NOW)
    drain()
    also_knows(fn, ring, "revoked")
    bridge.send(text, NOW)
    drain()
    assert runs == []
    assert bridge.refused[0] == ("UNKNOWN_KEY", "hidden")
    assert ("REVOKED_KEY", "dead-lettered") in bridge.refused


def test_a_task_that_is_not_served_here_is_waited_for(fn, bridge, hourly, drain, runs):
    ticket = open_sealed(fn, hourly)
    other = msgspec.structs.replace(ticket, schedule=msgspec.structs.replace(ticket.schedule, task="shop.gone"))
    bridge.send(seal_ticket(other, fn.runtime().ring()), NOW)
    drain()
    assert (runs, bridge.refused) == ([], [("TASK_NOT_SERVED", "hidden")])


@pytest.fixture(scope="module")
def daily():
    """(body, run): a ticket that is due, and what runs a body through the pipe and counts what ran."""
    clock, runs = ManualClock(), []
    with in_memory(FnQueue(), clock) as fn:

        @fn.task(name="note", policy=from_schedule)
        def note() -> None:
            runs.append(1)

        fn.schedules.put("daily", "cron(30 9 * * ? *)", note)
        body = Bridge(fn, clock).input("daily").replace(SCHEDULED_TIME, "2026-01-11T09:30:00Z")
        clock.advance(days=10, hours=9, minutes=30, seconds=5)
        runtime = fn.runtime()
        executor = runtime.executor(exchange=Admission(runtime).exchange)

        def run(text):
            runs.clear()
            executor.execute(delivered(text, clock.now()))
            return len(runs)

        yield body, run


def delivered(body, now):
    receipt = Receipt("default", "r", 1, float("inf"))
    return Delivery(Message(message_id="m", body=body, receipt=receipt, sent_at=now, first_received_at=now))


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_edited_character_anywhere_runs_nothing(daily, data):
    body, run = daily
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda c: c != body[at]))
    how = data.draw(st.sampled_from(["replaced", "removed", "inserted"]))
    edited = body[:at] + ("" if how == "removed" else other) + body[at + (how != "inserted") :]
    assert edited == body or run(edited) == 0


def test_nor_does_any_digit_of_its_time_and_unedited_it_runs(daily):
    body, run = daily
    start = body.rindex(".") + 1
    for at in range(start, len(body)):
        for other in "0123456789TZ-:":
            if other != body[at]:
                assert run(body[:at] + other + body[at + 1 :]) == 0
    assert run(body) == 1


# ---------------------------------------------------------------- without a store


def test_without_a_store_a_ticket_is_refused_with_what_to_do(moto_endpoint):
    fn = FnQueue(url=f"sqs://us-east-1/x-?endpoint={moto_endpoint}", store_url="none", keys=new_key())
    runtime = fn.runtime()
    with pytest.raises(EnvelopeError) as refused:
        Admission(runtime).exchange(delivered("fqs1.AAAA.2026-01-01T03:00:00Z", 0.0))
    assert refused.value.code == "TASK_NOT_SERVED"
    assert re.search("needs a store.*FNQUEUE_STORE_URL", refused.value.detail)
