from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fnqueue import quotas
from fnqueue.clock import ManualClock, to_datetime
from fnqueue.errors import TaskError
from fnqueue.state.results import KEEP_SECONDS_MIN, RESULT_TOO_LARGE, Results, TaskRecord
from fnqueue.store.base import Page, Record, Store

DAY = 86_400
ERROR = TaskError("shop.errors.CardDeclined", "card of Ada declined", ("File a, line 1", "File b, line 2"))


@pytest.fixture
def results(store: Store, clock: ManualClock, sealer: Any) -> Results:
    return Results(store, clock, sealer.seal, sealer.unseal)


def call(clock: ManualClock, id: str = "01aaaaaaaaaaaaaaaaaaaaaaaa", **known: Any) -> TaskRecord:
    given: dict[str, Any] = {
        "id": id,
        "task": "shop.tasks.send_invoice",
        "queue": "billing",
        "expires_at": clock.now() + 4 * DAY,
        "deferred_at": clock.now() - 5,
        "started_at": clock.now() - 1,
        "principal": "ada@example.org",
        "worker": "web-1:42",
        "fence": (0, 1),
    }
    return TaskRecord(**(given | known))


def settle(store: Store, *records: Record | None) -> list[bool]:
    """Whether each was written."""
    return [written is not None for written in store.put_many([each for each in records if each], fenced=True)]


def ids_of(index: int) -> str:
    return f"{index:026d}"


# ---------------------------------------------------------------- what is read is what was written


def test_a_success_is_read_with_its_value_and_its_times(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock, attempts=2, starts=1, crashes=1)
    settle(store, results.succeeded(task, b'{"pages":3}', keep_seconds=DAY))
    assert results.read(task.id) == task.changed(
        state="SUCCESS", value_json=b'{"pages":3}', finished_at=clock.now(), version=1
    )


def test_a_failure_is_read_with_its_error_and_its_reason(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock)
    settle(store, results.failed(task, ERROR, keep_seconds=DAY, reason="max_crashes"))
    found = results.read(task.id)
    assert found is not None
    assert (found.state, found.error, found.reason, found.final) == ("FAILURE", ERROR, "max_crashes", True)
    assert (found.value_json, found.finished_at) == (None, clock.now())


def test_progress_is_read_as_it_was_told(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock)
    settle(store, results.progressed(task, 3, 10.5, "page of Ada"))
    found = results.read(task.id)
    assert found is not None
    assert found.progress is not None
    assert dataclasses.astuple(found.progress) == (3, 10.5, "page of Ada", to_datetime(clock.now()))
    assert (found.state, found.starts) == ("STARTED", 1)
    settle(store, results.progressed(task, 4, None))
    assert results.read(task.id).progress.total is None  # type: ignore[union-attr]


def test_a_retry_keeps_the_error_that_caused_it(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock)
    settle(store, results.retrying(task, ERROR))
    found = results.read(task.id)
    assert found is not None
    assert (found.state, found.error, found.attempts, found.finished_at) == ("RETRY", ERROR, 1, None)


@pytest.mark.parametrize("state", ["REVOKED", "EXPIRED", "DENIED"])
def test_what_does_not_run_ends_in_its_state(results: Results, store: Store, clock: ManualClock, state: str) -> None:
    settle(store, results.ended(call(clock), state, keep_seconds=DAY, reason="not staff"))
    found = results.read(call(clock).id)
    assert found is not None
    assert (found.state, found.error, found.final) == (state, TaskError(state, "not staff"), True)


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED", "revoked"])
def test_other_states_are_no_end_of_what_does_not_run(results: Results, clock: ManualClock, state: str) -> None:
    with pytest.raises(ValueError, match="REVOKED, EXPIRED or DENIED"):
        results.ended(call(clock), state, keep_seconds=DAY)


def test_a_task_without_a_record_is_none(results: Results) -> None:
    assert results.read("nobody") is None


def test_many_are_read_at_once(results: Results, store: Store, clock: ManualClock) -> None:
    settle(store, *(results.succeeded(call(clock, ids_of(n)), b"%d" % n, keep_seconds=DAY) for n in range(20)))
    found = results.read_many([ids_of(n) for n in range(0, 40, 2)])
    assert {each.id: each.value_json for each in found.values()} == {ids_of(n): b"%d" % n for n in range(0, 20, 2)}


# ---------------------------------------------------------------- sealed


def test_nothing_about_people_is_in_clear(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock)
    records = [
        results.succeeded(task, b'"secret value"', keep_seconds=DAY),
        results.failed(task, ERROR, keep_seconds=DAY),
        results.progressed(task, 1, 2, "page of Ada"),
    ]
    for record in records:
        shown = repr({**record.fields, "sealed": bytes(record.fields["sealed"])})  # type: ignore[arg-type]
        for secret in ("secret value", "ada@example", "of Ada", "CardDeclined", "line 1"):
            assert secret not in shown


@pytest.mark.parametrize(
    "forged",
    [
        {"id": "02bbbbbbbbbbbbbbbbbbbbbbbb"},
        {"state": "FAILURE"},
        {"state": "RETRY"},
        {"attempts": 2},
        {"starts": 9},
        {"crashes": 9},
        {"task": "shop.tasks.delete_account"},
        {"fence": (0, 2)},
        {"sealed": b"x" * 100},
        {"sealed": b""},
        {"attempts": None},
        {"sealed": None},
    ],
    ids=str,
)
def test_a_record_that_was_altered_or_moved_proves_nothing(
    results: Results, store: Store, clock: ManualClock, forged: dict[str, Any]
) -> None:
    true = results.succeeded(call(clock), b"1", keep_seconds=DAY)
    aside = {name: forged[name] for name in ("id", "fence") if name in forged}
    changed = {name: value for name, value in forged.items() if name not in aside}
    fields = {name: value for name, value in {**true.fields, **changed}.items() if value is not None}
    store.put(msgspec.structs.replace(true, fields=fields, **aside))
    found = results.read(forged.get("id", true.id))
    assert found is not None
    assert found.readable is False
    assert (found.value_json, found.error, found.principal) == (None, None, None)


def test_a_record_sealed_by_other_keys_does_not_break_the_table(
    results: Results, store: Store, clock: ManualClock, other_sealer: Any
) -> None:
    others = Results(store, clock, other_sealer.seal, other_sealer.unseal)
    settle(store, results.succeeded(call(clock, ids_of(1)), b"1", keep_seconds=DAY))
    settle(store, others.succeeded(call(clock, ids_of(2)), b"2", keep_seconds=DAY))
    assert [(each.id, each.readable) for each in results.recent().records] == [(ids_of(2), False), (ids_of(1), True)]


def test_tables_are_read_without_any_key(results: Results, store: Store, clock: ManualClock, sealer: Any) -> None:
    settle(store, results.progressed(call(clock), 1, 2, "page of Ada"))
    blind = Results(store, clock, sealer.seal, None)
    (found,) = blind.recent().records
    assert (found.task, found.state, found.readable, found.principal) == (call(clock).task, "STARTED", False, None)
    assert found.progress is not None
    assert (found.progress.done, found.progress.total, found.progress.message) == (1, 2, "")


# ---------------------------------------------------------------- who may write


def test_an_ended_task_is_changed_by_no_delivery(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock)
    assert settle(store, results.succeeded(task, b"1", keep_seconds=DAY)) == [True]
    later = task.changed(fence=(1, 9))
    attempts = [
        results.started(later),
        results.progressed(later, 1, 1),
        results.retrying(later),
        results.failed(later, ERROR, keep_seconds=DAY),
        results.ended(later, "REVOKED", keep_seconds=DAY),
        results.succeeded(later, b"2", keep_seconds=DAY),
    ]
    assert settle(store, *attempts) == [False] * 6
    assert results.read(task.id).value_json == b"1"  # type: ignore[union-attr]


def test_a_worker_that_lost_its_lease_cannot_overwrite_its_twin(
    results: Results, store: Store, clock: ManualClock
) -> None:
    slow = call(clock, fence=(0, 1))
    twin = results.write_started(call(clock, fence=(0, 2)))
    assert twin is not None
    assert settle(store, results.succeeded(slow, b'"slow"', keep_seconds=DAY)) == [False]
    assert settle(store, results.succeeded(twin, b'"twin"', keep_seconds=DAY)) == [True]
    assert results.read(slow.id).value_json == b'"twin"'  # type: ignore[union-attr]


def test_of_many_that_settle_at_once_one_stands(
    results: Results, store: Store, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    def settle_as(count: int) -> bool:
        task = call(clock, fence=(0, count))
        return settle(store, results.succeeded(task, b"%d" % count, keep_seconds=DAY)) == [True]

    stood = race([lambda count=count: settle_as(count) for count in range(1, 9)])
    assert stood.count(True) == 1
    assert results.read(call(clock).id).value_json == b"%d" % (stood.index(True) + 1)  # type: ignore[union-attr]


def test_a_heartbeat_that_is_late_cannot_make_a_settled_task_look_crashed(
    results: Results, store: Store, clock: ManualClock
) -> None:
    task = call(clock)
    settle(store, results.retrying(task, ERROR))
    assert results.write_started(task) is None
    assert results.read(task.id).state == "RETRY"  # type: ignore[union-attr]


def test_of_a_heartbeat_and_a_settlement_the_settlement_stands(
    results: Results, store: Store, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    for n in range(20):
        task = call(clock, ids_of(n))
        race([lambda task=task: results.write_started(task), lambda task=task: settle(store, results.retrying(task))])
        assert results.read(task.id).state == "RETRY"  # type: ignore[union-attr]


def test_of_two_deliveries_that_take_a_task_up_one_may_run(
    results: Results, store: Store, clock: ManualClock, race: Callable[[Any], list[Any]]
) -> None:
    settle(store, results.retrying(call(clock)))
    known = results.read(call(clock).id)
    assert known is not None
    takers = [results.again(known, fence=(0, 2 + n), worker=f"w{n}") for n in range(6)]
    begun = race([lambda task=task: results.write_started(task) for task in takers])
    assert sum(each is not None for each in begun) == 1


# ---------------------------------------------------------------- attempts and crashes


def redeliver(results: Results, id: str, count: int) -> TaskRecord:
    known = results.read(id)
    assert known is not None
    begun = results.write_started(results.again(known, fence=(0, count), worker="w2"))
    assert begun is not None
    return begun


def test_a_start_without_an_outcome_is_a_crash(results: Results, clock: ManualClock) -> None:
    results.write_started(call(clock))
    for crashes in (1, 2, 3):
        task = redeliver(results, call(clock).id, crashes + 1)
        assert (task.crashes, task.starts, task.attempts) == (crashes, crashes + 1, crashes + 1)
        assert results.read(task.id) == task


def test_a_retry_is_no_crash_but_the_next_attempt(results: Results, store: Store, clock: ManualClock) -> None:
    settle(store, results.retrying(call(clock), ERROR))
    task = redeliver(results, call(clock).id, 2)
    assert (task.crashes, task.attempts) == (0, 2)
    settle(store, results.retrying(task, ERROR))
    assert (redeliver(results, task.id, 3).crashes, results.read(task.id).attempts) == (0, 3)  # type: ignore[union-attr]


def test_a_snooze_is_no_attempt(results: Results, store: Store, clock: ManualClock) -> None:
    settle(store, results.retrying(call(clock), counts=False))
    assert results.read(call(clock).id).attempts == 0  # type: ignore[union-attr]
    assert redeliver(results, call(clock).id, 2).attempts == 1


def test_a_message_given_back_is_neither_a_crash_nor_an_attempt(
    results: Results, store: Store, clock: ManualClock
) -> None:
    begun = results.write_started(call(clock))
    assert begun is not None
    settle(store, results.released(begun))
    known = results.read(begun.id)
    assert known is not None
    assert (known.state, known.attempts, known.final) == ("PENDING", 0, False)
    task = redeliver(results, begun.id, 2)
    assert (task.crashes, task.attempts) == (0, 1)


def test_a_first_delivery_given_back_leaves_no_record(results: Results, clock: ManualClock) -> None:
    assert results.released(call(clock)) is None


def test_a_task_given_back_before_its_next_start_stays_as_it_was(
    results: Results, store: Store, clock: ManualClock
) -> None:
    settle(store, results.retrying(call(clock), ERROR))
    known = results.read(call(clock).id)
    assert known is not None
    assert results.released(known) is None


def test_a_plain_task_costs_one_write(results: Results, store: Store, clock: ManualClock) -> None:
    settle(store, results.succeeded(call(clock), b"1", keep_seconds=DAY))
    assert results.read(call(clock).id).version == 1  # type: ignore[union-attr]


# ---------------------------------------------------------------- how long


def test_results_and_failures_are_kept_as_long_as_was_asked(results: Results, store: Store, clock: ManualClock) -> None:
    settle(store, results.succeeded(call(clock, ids_of(1)), b"1", keep_seconds=DAY))
    settle(store, results.failed(call(clock, ids_of(2)), ERROR, keep_seconds=7 * DAY))
    clock.advance(seconds=DAY - 1)
    assert sorted(results.read_many([ids_of(1), ids_of(2)])) == [ids_of(1), ids_of(2)]
    clock.advance(seconds=1)
    assert sorted(results.read_many([ids_of(1), ids_of(2)])) == [ids_of(2)]
    clock.advance(days=6)
    assert results.read_many([ids_of(1), ids_of(2)]) == {}


def test_a_result_that_nobody_wants_is_not_kept_but_its_end_is_known(
    results: Results, store: Store, clock: ManualClock
) -> None:
    settle(store, results.succeeded(call(clock), b'"unwanted"', keep_seconds=0))
    clock.advance(seconds=KEEP_SECONDS_MIN - 1)
    found = results.read(call(clock).id)
    assert found is not None
    assert (found.state, found.value_json) == ("SUCCESS", None)
    clock.advance(seconds=1)
    assert results.read(call(clock).id) is None


def test_a_running_task_is_known_for_as_long_as_it_may_run(results: Results, store: Store, clock: ManualClock) -> None:
    results.write_started(call(clock, expires_at=clock.now() + 1))
    clock.advance(seconds=quotas.RUN_SECONDS_MAX)
    assert results.read(call(clock).id) is not None


def test_a_task_that_waits_is_known_until_its_envelope_is_too_old(
    results: Results, store: Store, clock: ManualClock
) -> None:
    settle(store, results.retrying(call(clock, expires_at=clock.now() + 30 * DAY)))
    clock.advance(days=30)
    assert results.read(call(clock).id) is not None
    clock.advance(seconds=quotas.FUTURE_SKEW_SECONDS)
    assert results.read(call(clock).id) is None


# ---------------------------------------------------------------- how large


def test_the_largest_value_that_a_store_keeps_is_kept(results: Results, store: Store, clock: ManualClock) -> None:
    value = b"1" * (quotas.FIELD_BYTES_MAX - 200)
    settle(store, results.succeeded(call(clock), value, keep_seconds=DAY))
    found = results.read(call(clock).id)
    assert found is not None
    assert (found.value_json, found.reason) == (value, None)


@pytest.mark.parametrize("size", [quotas.FIELD_BYTES_MAX - 10, quotas.FIELD_BYTES_MAX + 1, 10_000_000])
def test_a_larger_value_is_dropped_and_the_task_has_still_succeeded(
    results: Results, store: Store, clock: ManualClock, size: int
) -> None:
    assert settle(store, results.succeeded(call(clock), b"1" * size, keep_seconds=DAY)) == [True]
    found = results.read(call(clock).id)
    assert found is not None
    assert (found.state, found.value_json, found.reason) == ("SUCCESS", None, RESULT_TOO_LARGE)
    assert (found.readable, found.principal) == (True, "ada@example.org")


def test_any_error_can_be_stored(results: Results, store: Store, clock: ManualClock) -> None:
    huge = TaskError("T" * 100_000, "é" * 1_000_000, tuple(f"{n} " + "😀" * 100_000 for n in range(1000)))
    task = call(clock, principal="p" * 1_000_000)
    records = (
        results.progressed(task, 1, None, "é" * 1_000_000),
        results.retrying(task, huge),
        results.failed(task, huge, keep_seconds=DAY, reason="r" * 1_000_000),
    )
    assert settle(store, *records) == [True, True, True]
    found = results.read(task.id)
    assert found is not None
    assert found.error is not None
    assert found.error.message.startswith("é" * 1000)
    assert found.error.frames[-1].startswith("999 ")  # the innermost are the telling ones


# ---------------------------------------------------------------- the table


def test_the_last_written_come_first(results: Results, store: Store, clock: ManualClock) -> None:
    for n in range(6):
        settle(store, results.started(call(clock, ids_of(n))))
        clock.advance(seconds=1)
    settle(store, results.succeeded(call(clock, ids_of(2)), b"1", keep_seconds=DAY))
    assert [each.id for each in results.recent().records] == [ids_of(n) for n in (2, 5, 4, 3, 1, 0)]


def test_a_task_is_in_the_table_once(results: Results, store: Store, clock: ManualClock) -> None:
    task = call(clock)
    for record in (results.started(task), results.progressed(task, 1, 2), results.retrying(task)):
        settle(store, record)
        clock.advance(hours=13)
    settle(store, results.succeeded(task, b"1", keep_seconds=DAY))
    assert [(each.id, each.state) for each in results.recent().records] == [(task.id, "SUCCESS")]


def test_a_group_is_a_table_of_its_own(results: Results, store: Store, clock: ManualClock) -> None:
    for n, record in enumerate(
        [
            results.started(call(clock, ids_of(0))),
            results.retrying(call(clock, ids_of(1))),
            results.succeeded(call(clock, ids_of(2)), b"1", keep_seconds=DAY),
            results.failed(call(clock, ids_of(3)), ERROR, keep_seconds=DAY),
            results.ended(call(clock, ids_of(4)), "DENIED", keep_seconds=DAY),
        ]
    ):
        settle(store, record)
        clock.advance(seconds=n)

    def states(*groups: str) -> list[str]:
        return [each.state for each in results.recent(groups=groups).records]

    assert states("live") == ["RETRY", "STARTED"]
    assert states("ok") == ["SUCCESS"]
    assert states("bad") == ["DENIED", "FAILURE"]
    assert states("ok", "bad") == ["DENIED", "FAILURE", "SUCCESS"]


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_go_back_over_days_and_give_everything_once(
    results: Results, store: Store, clock: ManualClock, limit: int
) -> None:
    for n in range(60):  # ten on one day, then a day with none
        settle(store, results.failed(call(clock, ids_of(n)), None, keep_seconds=30 * DAY))
        clock.advance(seconds=1)
        if n % 10 == 9:
            clock.advance(days=2)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = results.recent(limit, cursor, days=20)
        assert len(page.records) <= limit
        found += [each.id for each in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == [ids_of(n) for n in reversed(range(60))]


def test_the_table_ends_where_the_days_asked_for_end(results: Results, store: Store, clock: ManualClock) -> None:
    for n in range(5):
        settle(store, results.failed(call(clock, ids_of(n)), None, keep_seconds=30 * DAY))
        clock.advance(days=1)
    page = results.recent(days=3)
    assert ([each.id for each in page.records], page.cursor) == ([ids_of(4), ids_of(3)], None)  # and today: none


def test_pages_hold_while_tasks_go_on(results: Results, store: Store, clock: ManualClock) -> None:
    settle(store, *(results.started(call(clock, ids_of(n))) for n in range(30)))
    clock.advance(seconds=1)
    first = results.recent(10)
    seen = [each.id for each in first.records]
    moved = ids_of(3)  # of a later page: goes to the front, where the reader has been already
    settle(store, results.succeeded(call(clock, moved), b"1", keep_seconds=DAY))
    rest = results.recent(100, first.cursor)
    seen += [each.id for each in rest.records]
    assert sorted(seen) == [ids_of(n) for n in range(30) if ids_of(n) != moved]
    assert results.recent(1).records[0].id == moved


@pytest.mark.parametrize("cursor", ["", "x", "20454", "20454 ../..", "1 2 3", "٣ 1767225600000 a"])
def test_a_cursor_that_the_table_did_not_give_is_refused(results: Results, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        results.recent(cursor=cursor)


def test_a_cursor_of_days_to_come_begins_today_and_does_not_look_through_all_of_them(
    results: Results, store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(store, results.succeeded(call(clock), b"1", keep_seconds=60))
    left = iter(range(1_000))

    def query(*args: Any, **options: Any) -> Page:
        assert next(left, None) is not None, "it looks through all of them"
        return real(*args, **options)

    real = store.query
    monkeypatch.setattr(store, "query", query, raising=False)
    page = results.recent(cursor="9999999 9999999999999 x", days=2)
    assert [each.state for each in page.records] == ["SUCCESS"]


@pytest.mark.parametrize("limit", [0, 501])
def test_a_page_has_one_to_five_hundred(results: Results, limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        results.recent(limit)


def test_environments_that_share_a_store_have_tables_of_their_own(
    store: Store, clock: ManualClock, sealer: Any
) -> None:
    ours, theirs = (Results(store, clock, sealer.seal, sealer.unseal, each) for each in ("production", "staging"))
    settle(store, *[ours.ended(call(clock, ids_of(n)), "REVOKED", keep_seconds=DAY) for n in range(3)])
    page = ours.recent(2)
    assert [each.id for each in (*page.records, *ours.recent(2, page.cursor).records)] == [ids_of(n) for n in (2, 1, 0)]
    assert theirs.recent().records == []
