"""Schedules by hand: a store in memory, a clock that is turned, a worker that ticks when asked."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from fnqueue import FnQueue
from fnqueue.clock import to_datetime
from fnqueue.errors import (
    ArgumentError,
    BrokerError,
    ExpressionInvalid,
    OptionInvalid,
    SettingsInvalid,
    StoreMissing,
    UnknownSchedule,
)
from fnqueue.events import ScheduleFired, ScheduleSkipped
from fnqueue.policies import custom, from_schedule, service
from fnqueue.schedule import SCHEDULE_NAME, SCHEDULED_TIME
from fnqueue.scheduling.ticking import LEASE_SECONDS, ScheduleTicker
from fnqueue.security.keyfile import add, promote
from fnqueue.security.keyring import make_record, new_key, parse_key
from fnqueue.security.keys import FixedKeys
from fnqueue.worker.worker import Worker
from tests.execution.helpers import Failing
from tests.scheduling.mortals import Mortals

START = datetime(2026, 1, 1, tzinfo=UTC)  # where a ManualClock begins


@pytest.fixture
def runs():
    return []


@pytest.fixture
def note(fn, runs, clock):
    @fn.task(name="note", policy=from_schedule)
    def note(text: str = "") -> None:
        runs.append((to_datetime(clock.now()), text))

    return note


def times(runs):
    return [at for at, _ in runs]


# ---------------------------------------------------------------- firing


def test_a_schedule_calls_its_task_at_its_times(fn, note, runs, advance):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    advance(hours=3)
    assert times(runs) == [START + timedelta(hours=n) for n in range(4)]


def test_what_code_says_is_written_when_a_worker_starts_and_only_where_it_differs(fn, note):
    fn.schedule("rate(5 minutes)", name="often", args=("hello",))(note)
    assert fn.schedules.sync() == [("often", "made")]
    assert fn.schedules.sync() == []
    found = fn.schedules.get("often")
    assert (found.task, found.description, found.schedule.origin) == ("note", "every 5 minutes", "code")


def test_the_decorator_stands_above_a_task_and_gives_the_task_back(fn):
    @fn.schedule("rate(1 day)", args=(7,))
    @fn.task(name="clean_up")
    def clean_up(days: int) -> int:
        return days

    assert clean_up(3) == 3
    assert list(fn.registry.schedules) == ["clean_up"]


def test_a_call_knows_the_time_it_was_scheduled_for_in_the_type_of_its_parameter(fn, advance):
    seen = []

    @fn.task(name="report")
    def report(at: datetime, day: str, who: str) -> None:
        seen.append((at, day, who))

    fn.schedules.put(
        "daily",
        "cron(30 6 * * ? *)",
        report,
        args=(SCHEDULED_TIME,),
        kwargs={"day": f"day of {SCHEDULED_TIME}", "who": SCHEDULE_NAME},
    )
    advance(days=1)
    at = datetime(2026, 1, 1, 6, 30, tzinfo=UTC)
    assert seen == [(at, "day of 2026-01-01T06:30:00Z", "daily")]


def test_rate_counts_from_when_it_was_made_and_fires_at_once(fn, note, runs, advance, clock):
    clock.advance(seconds=90)
    fn.schedules.put("often", "rate(10 minutes)", note)
    advance(minutes=25)
    assert times(runs) == [START + timedelta(seconds=90, minutes=n) for n in (0, 10, 20)]


def test_a_one_time_schedule_fires_once_and_is_done_or_gone(fn, note, runs, advance):
    fn.schedules.put("once", "at(2026-01-01T01:00:00)", note)
    fn.schedules.put("gone", "at(2026-01-01T01:00:00)", note, delete_after_completion=True)
    advance(hours=5)
    assert times(runs) == [START + timedelta(hours=1)] * 2
    assert [(each.name, each.state) for each in fn.schedules.list()] == [("once", "DONE")]


def test_start_and_end_bound_the_times(fn, note, runs, advance):
    hour = timedelta(hours=1)
    fn.schedules.put("some", "cron(0 * * * ? *)", note, start=START + 2 * hour, end=START + 3 * hour)
    advance(hours=9)
    assert times(runs) == [START + 2 * hour, START + 3 * hour]
    assert fn.schedules.get("some").state == "DONE"


def test_a_flexible_window_moves_each_fire_within_it_and_always_to_the_same_moment(fn, note, runs, advance):
    fn.schedules.put("some", "cron(0 0/2 * * ? *)", note, args=(SCHEDULED_TIME,), flexible_minutes=30)
    advance(hours=24)
    assert len(runs) == 12
    late = [at - datetime.fromisoformat(text) for at, text in runs]
    assert all(timedelta(0) <= each < timedelta(minutes=30) for each in late)
    assert len(set(late)) > 6


@pytest.mark.parametrize("misfire", ["skip", "run_once", "catch_up"])
def test_windows_that_lap_over_one_another_lose_no_time(fn, note, runs, advance, misfire):
    skipped = []
    fn.on(ScheduleSkipped, skipped.append)
    fn.schedules.put(
        "minutely", "cron(* * * * ? *)", note, args=(SCHEDULED_TIME,), flexible_minutes=15, misfire=misfire
    )
    advance(hours=2)
    scheduled = [datetime.fromisoformat(text) for _, text in runs]
    assert sorted(scheduled) == [START + timedelta(minutes=n) for n in range(len(runs))]
    assert len(runs) >= 105
    assert skipped == []
    assert all(
        timedelta(0) <= at - time <= timedelta(minutes=15) for (at, _), time in zip(runs, scheduled, strict=True)
    )


# ---------------------------------------------------------------- once, whoever ticks


def test_of_two_tickers_that_look_at_once_one_fires(fn, note, drain, runs, clock):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    tickers = [ScheduleTicker(fn.runtime()) for _ in range(2)]
    clock.advance(hours=1)
    assert sum(ticker.tick() for ticker in tickers) == 1
    drain()
    assert len(runs) == 1


@pytest.mark.parametrize("killed", ["before the send", "before its next time is written"])
def test_a_ticker_that_dies_in_the_middle_is_followed_by_one_that_takes_effect_once(
    fn, note, runs, drain, clock, killed, monkeypatch
):
    fn.schedules.put("hourly", "cron(30 * * * ? *)", note)
    clock.advance(minutes=31)
    dying = ScheduleTicker(fn.runtime())

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    monkeypatch.setattr(dying, "_send" if killed == "before the send" else "_advance", die)
    with pytest.raises(Killed):
        dying.tick()
    drain()
    assert len(runs) == (0 if killed == "before the send" else 1)
    clock.advance(seconds=61)  # the claim lapses
    drain()
    drain()
    assert len(runs) == 1
    assert fn.schedules.get("hourly").next_at == START + timedelta(minutes=90)


@pytest.mark.parametrize("stopped", ["after its claim", "before its send"])
def test_a_ticker_that_was_stopped_for_weeks_in_the_middle_of_a_tick_makes_nothing_run_twice(
    fn, note, runs, drain, clock, stopped
):
    """A machine that slept, say, beside another that did not. By then no record says that the call has run."""
    mortals = Mortals(fn.runtime(), random.Random(1), number=2)
    fn.schedules.put("monthly", "cron(0 0 2 * ? *)", note)
    clock.advance(days=1)
    mortals.tick("stops", {"after its claim": 1, "before its send": 2}[stopped])
    assert sum(mortals.befallen.values()) == 1
    clock.advance(seconds=LEASE_SECONDS)
    drain()
    assert len(runs) == 1
    clock.advance(days=21)
    mortals.end()
    drain()
    assert len(runs) == 1
    assert fn.schedules.get("monthly").next_at == datetime(2026, 2, 2, tzinfo=UTC)


def test_a_call_that_is_sent_twice_runs_once_whatever_its_task_says(fn, note, runs, drain, clock):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    ids = []
    fn.on(ScheduleFired, lambda event: ids.append(event.id))
    runtime = fn.runtime()
    kept = runtime.schedules.get("hourly")
    for _ in range(3):
        runtime.schedules.put("hourly", kept.data, due=kept.due, over=runtime.schedules.get("hourly"))
        ScheduleTicker(runtime).tick()
    assert len(ids) == 3
    drain()
    assert len(runs) == 1


def test_a_failed_call_of_a_schedule_is_retried_as_its_task_says(fn, advance):
    tries = []

    @fn.task(name="flaky", retry=2)
    def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")

    fn.schedules.put("once", "at(2026-01-01T01:00:00)", flaky)
    advance(hours=2)
    assert len(tries) == 3


def test_a_queue_that_is_down_is_tried_again_with_the_same_call(fn, note, runs, advance, clock):
    runtime = fn.runtime()
    broker = Failing(runtime.engine.broker)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    runtime.__dict__.pop("dispatch", None)

    def down(*_):
        raise BrokerError("down")

    fn.schedules.put("once", "at(2026-01-01T01:00:00)", note)
    broker.on["send"] = down
    clock.advance(hours=1)
    assert ScheduleTicker(runtime).tick() == 0
    broker.on.clear()
    advance(minutes=3)
    assert len(runs) == 1


@pytest.mark.parametrize("misfire", ["skip", "run_once", "catch_up"])
def test_one_send_that_failed_costs_no_time_whatever_the_misfire_policy(fn, note, runs, advance, clock, misfire):
    runtime = fn.runtime()
    broker = Failing(runtime.engine.broker)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    runtime.__dict__.pop("dispatch", None)

    def down(*_):
        raise BrokerError("down")

    fn.schedules.put("minutely", "cron(* * * * ? *)", note, args=(SCHEDULED_TIME,), misfire=misfire)
    advance(seconds=59)
    runs.clear()
    broker.on["send"] = down
    clock.advance(seconds=2)
    assert ScheduleTicker(runtime).tick() == 0
    broker.on.clear()
    advance(minutes=3)
    assert [text for _, text in runs] == [f"2026-01-01T00:0{minute}:00Z" for minute in (1, 2, 3, 4)]


# ---------------------------------------------------------------- nobody there


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [("skip", []), ("run_once", [4]), ("catch_up", [1, 2, 3, 4])],
)
def test_times_that_nobody_was_there_for_fire_as_the_misfire_policy_says(
    fn, note, runs, clock, drain, misfire, expected
):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,), misfire=misfire)
    drain()
    runs.clear()
    skipped = []
    fn.on(ScheduleSkipped, skipped.append)
    clock.advance(hours=4, minutes=30)
    drain()
    assert [datetime.fromisoformat(text).hour for _, text in runs] == expected
    assert bool(skipped) == (misfire != "catch_up")
    assert fn.schedules.get("hourly").next_at == START + timedelta(hours=5)


def test_one_that_is_on_time_stands_for_those_that_were_missed(fn, note, runs, clock, drain):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,))
    drain()
    runs.clear()
    clock.advance(hours=4, seconds=10)
    drain()
    assert [datetime.fromisoformat(text).hour for _, text in runs] == [4]


def test_what_is_older_than_the_bound_is_not_caught_up(fn, note, runs, clock, drain):
    fn.schedules.put(
        "hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,), misfire="catch_up", misfire_within_seconds=7200
    )
    drain()
    runs.clear()
    clock.advance(days=3, minutes=30)
    drain()
    assert [datetime.fromisoformat(text).hour for _, text in runs] == [23, 0]


def test_ten_hours_of_missed_minutes_are_caught_up_in_portions_and_none_twice(fn, note, runs, clock, drain):
    fn.schedules.put("minutely", "cron(* * * * ? *)", note, args=(SCHEDULED_TIME,), misfire="catch_up")
    drain()
    runs.clear()
    clock.advance(hours=10)
    for _ in range(8):
        drain()
    texts = [text for _, text in runs]
    assert len(texts) == len(set(texts)) == 600


# ---------------------------------------------------------------- overlap


def test_without_overlap_a_time_is_skipped_while_the_call_before_it_has_not_ended(fn, note, runs, clock, drain):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,), overlap="skip")
    ticker = ScheduleTicker(fn.runtime())
    skipped = []
    fn.on(ScheduleSkipped, skipped.append)
    assert ticker.tick() == 1  # it waits in the queue
    clock.advance(hours=1)
    assert ticker.tick() == 0
    assert "overlap='skip'" in skipped[0].reason
    drain()
    clock.advance(hours=1)
    assert ticker.tick() == 1


# ---------------------------------------------------------------- who


def test_calls_are_made_for_the_schedule_and_its_task_may_ask_that(fn, advance):
    seen = []

    @fn.task(name="who", policy=from_schedule, bind=True)
    def who(context) -> None:
        seen.append((context.principal.kind, context.principal.id))

    fn.schedules.put("nightly", "at(2026-01-01T01:00:00)", who)
    advance(hours=2)
    assert seen == [("schedule", "nightly")]


def test_runs_as_makes_them_for_a_service(fn, advance):
    seen = []

    @fn.task(name="who", policy=service("billing"), bind=True)
    def who(context) -> None:
        seen.append(context.principal.id)

    fn.schedules.put("nightly", "at(2026-01-01T01:00:00)", who, runs_as="billing")
    advance(hours=2)
    assert seen == ["billing"]


def test_a_policy_that_says_no_skips_the_time_and_says_so(fn, advance):
    @fn.task(name="never", policy=service("billing"))
    def never() -> None: ...

    skipped = []
    fn.on(ScheduleSkipped, skipped.append)
    fn.schedules.put("nightly", "at(2026-01-01T01:00:00)", never)
    advance(hours=2)
    assert len(skipped) == 1
    assert "service" in skipped[0].reason
    assert fn.schedules.get("nightly").state == "DONE"


def test_a_policy_that_cannot_decide_is_asked_again(fn, advance, runs):
    broken = [True]

    @custom
    def sometimes(context) -> bool:
        if broken[0]:
            raise OSError("the directory is down")
        return True

    @fn.task(name="some", policy=sometimes)
    def some() -> None:
        runs.append(1)

    fn.schedules.put("nightly", "at(2026-01-01T01:00:00)", some)
    advance(hours=1, minutes=1)
    broken[0] = False
    advance(minutes=2)
    assert runs == [1]


# ---------------------------------------------------------------- a hand on it


def test_a_paused_schedule_does_not_fire_and_goes_on_with_what_is_to_come(fn, note, runs, advance):
    fn.schedules.put("hourly", "cron(30 * * * ? *)", note, misfire="catch_up")
    assert fn.schedules.pause("hourly").state == "PAUSED"
    advance(hours=5)
    assert runs == []
    assert fn.schedules.resume("hourly").next_at == START + timedelta(hours=5, minutes=30)
    advance(hours=1)
    assert times(runs) == [START + timedelta(hours=5, minutes=30)]


def test_a_pause_outlives_a_deploy_that_says_something_else(fn, note):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    fn.schedules.pause("hourly")
    assert fn.schedules.put("hourly", "cron(15 * * * ? *)", note).state == "PAUSED"


def test_a_change_that_leaves_the_times_alone_loses_no_time(fn, note, runs, clock, drain):
    fn.schedules.put("hourly", "cron(30 * * * ? *)", note)
    clock.advance(minutes=31)
    fn.schedules.put("hourly", "cron(30 * * * ? *)", note, args=("changed",))
    drain()
    assert [text for _, text in runs] == ["changed"]


def test_run_now_makes_a_call_besides_the_times(fn, note, runs, drain):
    fn.schedules.put("yearly", "cron(0 0 1 7 ? *)", note, args=("now",))
    assert len(fn.schedules.run_now("yearly")) == 26
    drain()
    assert [text for _, text in runs] == ["now"]
    assert fn.schedules.get("yearly").next_at == datetime(2026, 7, 1, tzinfo=UTC)


def test_a_deleted_schedule_is_gone(fn, note, runs, advance):
    fn.schedules.put("hourly", "cron(30 * * * ? *)", note)
    fn.schedules.delete("hourly")
    advance(hours=3)
    assert runs == []
    with pytest.raises(UnknownSchedule, match="no schedule named 'hourly' is in the store; there is none"):
        fn.schedules.get("hourly")


def test_what_code_says_no_more_is_removed_when_asked(fn, note):
    fn.schedule("rate(1 day)", name="old")(note)
    fn.schedules.sync()
    fn.schedules.put("by-hand", "rate(1 day)", note)
    del fn.registry.schedules["old"]
    assert fn.schedules.sync() == []
    assert fn.schedules.sync(prune=True) == [("old", "removed")]
    assert [each.name for each in fn.schedules.list()] == ["by-hand"]


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"expression": "cron(0 9 * * * *)"}, ExpressionInvalid, "exactly one of day-of-month"),
        ({"timezone": "Mars"}, ExpressionInvalid, "'Mars' is no time zone"),
        ({"name": "a b"}, OptionInvalid, "schedule name 'a b': must be 1 to 64"),
        ({"misfire": "sometimes"}, OptionInvalid, "misfire='sometimes': must be one of 'skip'"),
        ({"overlap": "forbid"}, OptionInvalid, "overlap='forbid'"),
        ({"flexible_minutes": 1441}, OptionInvalid, "flexible_minutes=1441: must be 0 to 1,440"),
        ({"flexible_minutes": 1.5}, OptionInvalid, "flexible_minutes=1.5: must be a whole number"),
        ({"misfire_within_seconds": 5}, OptionInvalid, "must be 60 to"),
        ({"delete_after_completion": 1}, OptionInvalid, "delete_after_completion=1: must be True or False"),
        ({"expression": timedelta(minutes=5)}, ExpressionInvalid, "must be text of 1 to 256 characters"),
        ({"delay_seconds": 5}, OptionInvalid, "delay_seconds= is no option of a schedule: its expression says when"),
        ({"not_before": 5}, OptionInvalid, "not_before= is no option of a schedule: its expression says when"),
        ({"expires": 5}, OptionInvalid, "expires= is no option; did you mean expires_seconds=?"),
        ({"args": "hello"}, OptionInvalid, "args= is a list or a tuple of arguments, and here is str"),
        ({"args": 5}, OptionInvalid, "args= is a list or a tuple of arguments, and here is int"),
        ({"kwargs": ["hello"]}, OptionInvalid, "kwargs= is a dict of arguments by name, and here is list"),
        ({"misfires": "skip"}, OptionInvalid, "misfires= is no option; did you mean misfire=?"),
        ({"args": (1, 2, 3)}, ArgumentError, "note"),
        ({"kwargs": {"txt": "x"}}, ArgumentError, "txt"),
        ({"args": (object(),)}, ArgumentError, "note"),
    ],
)
def test_a_wrong_schedule_is_refused_when_it_is_put(fn, note, given, error, text):
    said = {"name": "some", "expression": "rate(1 day)", **given}
    with pytest.raises(error, match=text.replace("(", r"\(")):
        fn.schedules.put(said.pop("name"), said.pop("expression"), note, **said)
    assert fn.schedules.list() == []


def test_a_schedule_above_a_plain_function_is_refused(fn):
    with pytest.raises(OptionInvalid, match="a schedule calls a task, got function: @fn.task first"):
        fn.schedule("rate(1 day)")(lambda: None)


def test_two_tasks_with_a_schedule_of_one_name_are_refused(fn, note):
    @fn.task(name="other")
    def other() -> None: ...

    fn.schedule("rate(1 day)", name="x")(note)
    with pytest.raises(OptionInvalid, match="two schedules are named 'x', of note and of other"):
        fn.schedule("rate(1 day)", name="x")(other)


def test_without_a_store_nobody_starts_with_a_schedule():
    fn = FnQueue(url="sqs://eu-west-1/x-?endpoint=http://127.0.0.1:1", keys=None, environment="test")

    @fn.schedule("rate(1 day)")
    @fn.task(name="note", policy=from_schedule)
    def note() -> None: ...

    assert any("@fn.schedule needs a store" in fault for fault in fn.runtime().faults())
    with pytest.raises(StoreMissing):
        fn.schedules.list()


def test_a_worker_does_not_start_with_a_schedule_that_its_task_would_not_take(fn, note):
    fn.schedule("rate(1 day)", name="wrong", args=(1, 2, 3))(note)
    with pytest.raises(SettingsInvalid, match="schedule wrong: note"):
        Worker(fn.runtime())


# ---------------------------------------------------------------- hostile, and late


def test_whoever_can_write_to_the_store_but_has_no_key_makes_nothing_run(fn, note, runs, drain, clock):
    fn.schedules.put("yearly", "cron(0 0 1 7 ? *)", note)
    runtime = fn.runtime()
    kept = runtime.schedules.get("yearly")
    store = runtime.engine.store
    sooner = {"kind": "schedule", "bucket": kept.record.bucket, "sort": "0000000000000"}
    base = type(kept.record)
    store.put(base(id=kept.record.id, fields={"sealed": kept.sealed}, **sooner))  # looked at too soon
    store.put(base(id="default copied", fields={"sealed": kept.sealed}, **sooner))  # under another name
    store.put(base(id="default made-up", fields={"sealed": b"\x01" + b"x" * 80}, **sooner))
    store.put(base(id="default empty", fields={}, **sooner))
    store.put(base(id="yearly", fields={"sealed": kept.sealed}, **sooner))  # of no environment
    assert [each.name for each in fn.schedules.list()] == ["yearly"]
    drain()
    assert runs == []
    clock.advance(days=181)
    drain()
    assert len(runs) == 1


def test_a_schedule_that_somebody_copies_to_another_environment_in_the_store_is_not_read(fn, note, clock):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    runtime = fn.runtime()
    record = runtime.schedules.get("hourly").record
    copy = msgspec.structs.replace(record, id="staging hourly", bucket=record.bucket.replace("default", "staging", 1))
    assert copy.bucket.startswith("staging ")
    runtime.engine.store.put(copy, if_version=0)
    runtime.settings = replace(runtime.settings, environment="staging")
    del vars(runtime)["schedules"]
    clock.advance(hours=1)
    assert [each.id for each in runtime.schedules.due(clock.now())] == ["staging hourly"]
    assert fn.schedules.list() == []
    assert ScheduleTicker(runtime).tick() == 0


def test_two_environments_on_one_store_keep_schedules_of_one_name_apart(tmp_path):
    key, apps = new_key(), []
    for environment in ("prod", "staging"):
        fn = FnQueue(
            url=f"sqlite:///{tmp_path}/{environment}.db",
            store_url=f"sqlite:///{tmp_path}/records.db",
            environment=environment,
            keys=key,
        )
        fn.schedules.put("nightly", "rate(1 day)", fn.task(name="note", policy=from_schedule)(lambda: None))
        apps.append(fn)
    prod, staging = (fn.schedules for fn in apps)
    staging.pause("nightly")
    assert [each.state for each in prod.list()] == ["ENABLED"]
    assert [each.state for each in staging.list()] == ["PAUSED"]
    assert ScheduleTicker(apps[0].runtime()).tick() == 1
    staging.delete("nightly")
    assert prod.get("nightly").last_at is not None


def test_a_schedule_whose_task_is_not_here_is_left_to_whoever_has_it(fn, note, clock):
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    task = fn.registry._tasks.pop("note")
    assert ScheduleTicker(fn.runtime()).tick() == 0
    fn.registry._tasks["note"] = task
    assert ScheduleTicker(fn.runtime()).tick() == 1


def test_a_thousand_overdue_schedules_of_another_application_do_not_hide_ours(fn, note, clock):
    @fn.task(name="theirs", policy=from_schedule)
    def theirs() -> None: ...

    for number in range(1001):
        fn.schedules.put(f"s{number}", "cron(0 * * * ? *)", theirs)
    fn.registry._tasks.pop("theirs")
    fn.schedules.put("ours", "cron(30 * * * ? *)", note)
    clock.advance(minutes=30)
    assert ScheduleTicker(fn.runtime()).tick() == 1
    assert fn.schedules.get("ours").last_at == START + timedelta(minutes=30)


def test_a_thousand_schedules_cost_a_tick_no_more_than_a_query_per_shard(fn, note, clock):
    for number in range(1000):
        fn.schedules.put(f"s{number}", "cron(0 0 1 7 ? *)", note)
    runtime = fn.runtime()
    store = Failing(runtime.engine.store)
    queries = []
    store.on["query"] = lambda *args, **options: queries.append(args) or store.real.query(*args, **options)
    runtime.schedules._store = store
    ScheduleTicker(runtime).tick()
    assert len(queries) == 4


def test_a_schedule_of_the_far_future_is_not_looked_at_before(fn, note, advance):
    fn.schedules.put("far", "at(2300-01-01T00:00:00)", note)
    fn.schedules.put("farther", "at(9999-12-31T23:59:59)", note)
    kept = fn.runtime().schedules
    before = kept.get("far"), kept.get("farther")
    advance(seconds=5)
    assert (kept.get("far"), kept.get("farther")) == before
    assert list(kept.due(fn.runtime().clock.now())) == []
    assert kept.next_due() > fn.runtime().clock.now()


def test_after_a_key_rotation_schedules_go_on_and_a_fire_that_was_interrupted_by_it_keeps_its_id(
    fn, note, runs, drain, clock, monkeypatch
):
    runtime, old, new = fn.runtime(), new_key(), new_key()
    runtime.keys_override = None
    runtime.__dict__["keys"] = FixedKeys(old)
    fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
    dying = ScheduleTicker(runtime)
    monkeypatch.setattr(dying, "_advance", lambda *_: None)
    assert dying.tick() == 1
    runtime.__dict__["keys"] = FixedKeys(promote(add(old, new), make_record(parse_key(new)).key_id))
    clock.advance(seconds=61)
    drain()
    assert len(runs) == 1
    clock.advance(hours=2)
    drain()
    assert len(runs) == 2
