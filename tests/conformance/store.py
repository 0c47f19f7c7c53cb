"""The store's contract. Every engine passes these same tests; where they differ from a page of ours, they are right.

A test takes

    store    one Store; it may stand for several connections to the same records
    clock    the ManualClock that the store was given

An engine whose `query` shows a write late hands in a store that waits for it. Order is asserted for ASCII
`sort` only, and bytes, numbers and text must come back as what they were: 1.0 is not 1, b"1" is not "1".
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, TypeVar

import pytest

from fnqueue import quotas
from fnqueue.clock import ManualClock
from fnqueue.errors import Fenced, FieldTooLarge, VersionConflict
from fnqueue.store.base import Record, Store, Value

T = TypeVar("T")

KIND = "thing"
THREADS = 8
ODD_IDS = [
    "a/b//c",
    "../../etc/passwd",
    "spaces and\ttabs",
    "quotes'\"`;--",
    "percent%20_%",
    "#hash:colon|pipe",
    "日本語-ключ-😀",
    "é",  # and the same letter in two code points: not the same id
    "e\u0301",
    "UPPER",
    "upper",
    "x" * 1000,
]
VALUES: Sequence[Value] = [
    None,
    "",
    "text",
    "日本語 😀 \u0000 \n\r\t\x7f",
    '{"json": [1, 2]}',
    "42",
    b"",
    b"bytes",
    bytes(range(256)),
    b"\xff\xfe not utf-8",
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.0,
    1.0,
    -1.5,
    0.1,
    1e-300,
    1.7976931348623157e308,
    1_767_225_600.123456,
]


def record(id: str = "one", fields: Mapping[str, Value] | None = None, **rest: Any) -> Record:
    return Record(kind=rest.pop("kind", KIND), id=id, fields={"a": 1} if fields is None else fields, **rest)


def at_once(works: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """What each returned or raised, all let go at the same moment, each in a thread of its own."""
    gate = threading.Barrier(len(works))

    def let_go(work: Callable[[], T]) -> T | Exception:
        gate.wait(10)
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(let_go, works))


def ids(records: Sequence[Record]) -> list[str]:
    return [each.id for each in records]


def all_ids(store: Store, bucket: str, *, limit: int, **rest: Any) -> list[str]:
    """Of all pages."""
    found: list[str] = []
    cursor = None
    while True:
        page = store.query(KIND, bucket, limit=limit, cursor=cursor, **rest)
        assert len(page.records) <= limit
        found += ids(page.records)
        cursor = page.cursor
        if cursor is None:
            return found


class StoreContract:
    # ---------------------------------------------------------------- put and get

    def test_a_record_that_was_never_put_is_none(self, store: Store) -> None:
        assert store.get(KIND, "one") is None

    def test_a_record_comes_back_whole(self, store: Store, clock: ManualClock) -> None:
        put = record(
            fields={"text": "x", "number": 7},
            bucket="b",
            sort="0001",
            expires_at=clock.now() + 60.5,
            fence=(3, 9),
            final=True,
        )
        written = store.put(put)
        assert written == store.get(KIND, "one")
        assert (written.bucket, written.sort, written.fence, written.final) == ("b", "0001", (3, 9), True)
        assert written.expires_at == pytest.approx(clock.now() + 60.5)
        assert dict(written.fields) == {"text": "x", "number": 7}

    def test_a_bare_record_keeps_its_defaults(self, store: Store) -> None:
        store.put(Record(kind=KIND, id="bare"))
        found = store.get(KIND, "bare")
        assert found == Record(kind=KIND, id="bare", version=1)

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:24])
    def test_a_value_comes_back_as_what_it_was(self, store: Store, value: Value) -> None:
        store.put(record(fields={"v": value}))
        found = store.get(KIND, "one")
        assert found is not None
        assert found.fields["v"] == value
        assert type(found.fields["v"]) is type(value)

    def test_field_names_may_be_any_text(self, store: Store) -> None:
        fields = {"": 1, "with space": 2, "日本": 3, "a.b": 4, "select": 5, "version": 6, "id": 7}
        store.put(record(fields=fields))
        found = store.get(KIND, "one")
        assert found is not None
        assert dict(found.fields) == fields

    def test_fields_may_be_any_mapping_and_are_not_changed(self, store: Store) -> None:
        fields: Mapping[str, Value] = MappingProxyType({"a": 1, "b": b"2"})
        store.put(record(fields=fields))
        found = store.get(KIND, "one")
        assert found is not None
        assert dict(found.fields) == dict(fields) == {"a": 1, "b": b"2"}

    @pytest.mark.parametrize("key", ODD_IDS, ids=lambda key: ascii(key)[:24])
    def test_an_id_may_be_any_text(self, store: Store, key: str) -> None:
        store.put(record(key, {"mine": key}))
        found = store.get(KIND, key)
        assert found is not None
        assert (found.id, found.fields["mine"]) == (key, key)

    def test_ids_that_look_alike_are_different_records(self, store: Store) -> None:
        for key in ODD_IDS:
            store.put(record(key, {"mine": key}))
        assert {key: found.fields["mine"] for key, found in store.get_many(KIND, ODD_IDS).items()} == {
            key: key for key in ODD_IDS
        }

    def test_the_same_id_in_another_kind_is_another_record(self, store: Store) -> None:
        store.put(record("one", {"a": 1}, kind="first"))
        store.put(record("one", {"a": 2}, kind="second"))
        store.delete("first", "one")
        assert store.get("first", "one") is None
        assert dict(store.get("second", "one").fields) == {"a": 2}  # type: ignore[union-attr]

    def test_a_put_replaces_the_whole_record(self, store: Store, clock: ManualClock) -> None:
        first = record(fields={"a": 1, "b": 2}, bucket="x", sort="1", expires_at=clock.now() + 9, fence=(0, 1))
        store.put(first)
        store.put(record(fields={"c": 3}))
        assert store.get(KIND, "one") == Record(kind=KIND, id="one", fields={"c": 3}, version=2)

    def test_versions_count_from_one(self, store: Store) -> None:
        assert [store.put(record()).version for _ in range(3)] == [1, 2, 3]
        assert store.get(KIND, "one").version == 3  # type: ignore[union-attr]

    def test_the_version_of_what_is_put_does_not_count(self, store: Store) -> None:
        assert store.put(record(version=41)).version == 1
        assert store.put(record(version=41)).version == 2

    def test_what_put_returns_is_what_is_stored_and_the_given_record_is_as_it_was(self, store: Store) -> None:
        given = record()
        store.put(given)
        written = store.put(given)
        assert (given.version, written.version) == (0, 2)
        assert store.get(KIND, "one") == written

    # ---------------------------------------------------------------- if_version

    def test_if_version_zero_writes_only_what_is_not_there(self, store: Store) -> None:
        assert store.put(record(fields={"a": 1}), if_version=0).version == 1
        with pytest.raises(VersionConflict):
            store.put(record(fields={"a": 2}), if_version=0)
        assert dict(store.get(KIND, "one").fields) == {"a": 1}  # type: ignore[union-attr]

    def test_if_version_n_writes_only_over_version_n(self, store: Store) -> None:
        store.put(record(fields={"a": 1}))
        assert store.put(record(fields={"a": 2}), if_version=1).version == 2
        for stale in (1, 3):
            with pytest.raises(VersionConflict):
                store.put(record(fields={"a": 9}), if_version=stale)
        assert store.get(KIND, "one") == Record(kind=KIND, id="one", fields={"a": 2}, version=2)

    def test_if_version_n_does_not_write_where_there_is_nothing(self, store: Store) -> None:
        with pytest.raises(VersionConflict):
            store.put(record(), if_version=1)
        assert store.get(KIND, "one") is None

    def test_of_threads_that_create_the_same_record_one_wins(self, store: Store) -> None:
        for turn in range(5):
            works = [
                lambda who=who, key=f"r{turn}": store.put(record(key, {"who": who}), if_version=0)
                for who in range(THREADS)
            ]
            ended = at_once(works)
            winners = [each for each in ended if isinstance(each, Record)]
            assert len(winners) == 1
            assert sum(isinstance(each, VersionConflict) for each in ended) == THREADS - 1
            assert store.get(KIND, f"r{turn}") == winners[0]

    def test_of_threads_that_change_the_same_version_one_wins(self, store: Store) -> None:
        version = store.put(record()).version
        for _ in range(5):
            works = [
                lambda who=who, at=version: store.put(record(fields={"who": who}), if_version=at)
                for who in range(THREADS)
            ]
            winners = [each for each in at_once(works) if isinstance(each, Record)]
            assert len(winners) == 1
            assert store.get(KIND, "one") == winners[0]
            version = winners[0].version

    def test_no_change_is_lost_when_every_writer_reads_and_compares(self, store: Store) -> None:
        store.put(record(fields={"sum": 0}))

        def add_five() -> int:
            done = 0
            while done < 5:
                found = store.get(KIND, "one")
                assert found is not None
                total = found.fields["sum"]
                assert isinstance(total, int)
                try:
                    store.put(record(fields={"sum": total + 1}), if_version=found.version)
                except VersionConflict:
                    continue
                done += 1
            return done

        assert at_once([add_five] * 4) == [5] * 4
        assert store.get(KIND, "one") == Record(kind=KIND, id="one", fields={"sum": 20}, version=21)

    # ---------------------------------------------------------------- fences

    @pytest.mark.parametrize("late", [(0, 1), (1, 1), (1, 2), (0, 2**20 - 1)])
    def test_a_lower_fence_is_refused(self, store: Store, late: tuple[int, int]) -> None:
        store.put(record(fields={"a": "newer"}, fence=(1, 3)), fenced=True)
        with pytest.raises(Fenced):
            store.put(record(fields={"a": "late"}, fence=late), fenced=True)
        found = store.get(KIND, "one")
        assert found is not None
        assert (found.fields["a"], found.fence, found.version) == ("newer", (1, 3), 1)

    @pytest.mark.parametrize("fence", [(1, 3), (1, 4), (2, 0), (2**20 - 1, 2**20 - 1)])
    def test_an_equal_or_higher_fence_is_taken(self, store: Store, fence: tuple[int, int]) -> None:
        store.put(record(fields={"a": "first"}, fence=(1, 3)), fenced=True)
        store.put(record(fields={"a": "next"}, fence=fence), fenced=True)
        found = store.get(KIND, "one")
        assert found is not None
        assert (found.fields["a"], found.fence, found.version) == ("next", fence, 2)

    def test_the_first_fenced_write_finds_no_fence_to_mind(self, store: Store) -> None:
        assert store.put(record(fence=(0, 0)), fenced=True).version == 1
        store.put(record("two"))
        assert store.put(record("two", fence=(0, 0)), fenced=True).fence == (0, 0)

    def test_a_final_record_is_overwritten_by_no_fence(self, store: Store) -> None:
        store.put(record(fields={"a": "end"}, fence=(0, 1), final=True), fenced=True)
        for fence in ((0, 1), (0, 2), (9, 9)):
            with pytest.raises(Fenced):
                store.put(record(fields={"a": "after"}, fence=fence), fenced=True)
        assert store.get(KIND, "one").fields["a"] == "end"  # type: ignore[union-attr]

    def test_a_final_record_without_a_fence_is_overwritten_by_none_either(self, store: Store) -> None:
        store.put(record(final=True))
        with pytest.raises(Fenced):
            store.put(record(fence=(9, 9)), fenced=True)

    def test_an_unfenced_put_is_an_operators_and_minds_neither(self, store: Store) -> None:
        store.put(record(fence=(5, 5), final=True), fenced=True)
        written = store.put(record(fields={"a": "reset"}, fence=(0, 0)))
        assert (written.version, written.final) == (2, False)
        assert store.put(record(fence=(0, 1)), fenced=True).version == 3

    def test_a_fenced_put_without_a_fence_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(ValueError, match="fence"):
            store.put(record(), fenced=True)
        with pytest.raises(ValueError, match="fence"):
            store.put_many([record(fence=(0, 1)), record("two")], fenced=True)
        assert store.get_many(KIND, ["one", "two"]) == {}

    @pytest.mark.parametrize("fence", [(-1, 0), (0, -1), (2**20, 0), (0, 2**20)])
    def test_a_fence_out_of_its_range_is_a_mistake(self, store: Store, fence: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="fence"):
            store.put(record(fence=fence), fenced=True)

    def test_fence_and_version_may_both_be_asked_for(self, store: Store) -> None:
        assert store.put(record(fence=(0, 2)), if_version=0, fenced=True).version == 1
        with pytest.raises(Fenced):
            store.put(record(fence=(0, 1)), if_version=1, fenced=True)
        with pytest.raises(VersionConflict):
            store.put(record(fence=(0, 3)), if_version=7, fenced=True)
        with pytest.raises(VersionConflict):
            store.put(record(fence=(0, 3)), if_version=0, fenced=True)
        assert store.put(record(fence=(0, 3)), if_version=1, fenced=True).version == 2

    def test_of_racing_deliveries_the_newest_stands(self, store: Store) -> None:
        fences = [(generation, count) for generation in range(2) for count in range(1, 5)]
        works = [
            lambda fence=fence: store.put(record(fields={"by": f"{fence}"}, fence=fence), fenced=True)
            for fence in fences
        ]
        ended = at_once(works)
        assert all(isinstance(each, Record | Fenced) for each in ended)
        found = store.get(KIND, "one")
        assert found is not None
        assert (found.fence, found.fields["by"]) == ((1, 4), "(1, 4)")

    def test_of_racing_final_writes_one_stands(self, store: Store) -> None:
        works = [
            lambda count=count: store.put(record(fields={"by": count}, fence=(0, count), final=True), fenced=True)
            for count in range(1, THREADS + 1)
        ]
        ended = at_once(works)
        winners = [each for each in ended if isinstance(each, Record)]
        assert len(winners) == 1
        assert sum(isinstance(each, Fenced) for each in ended) == THREADS - 1
        assert store.get(KIND, "one") == winners[0]

    # ---------------------------------------------------------------- many

    def test_put_many_writes_all_in_order(self, store: Store) -> None:
        many = [record(f"{index:04d}", {"n": index}) for index in range(300)]
        written = store.put_many(many)
        assert [each.id for each in written if each] == ids(many)
        assert {each.version for each in written if each} == {1}
        found = store.get_many(KIND, ids(many))
        assert [found[each.id].fields["n"] for each in many] == list(range(300))

    def test_put_many_of_nothing_is_nothing(self, store: Store) -> None:
        assert store.put_many([]) == []
        assert store.put_many([], fenced=True) == []

    def test_put_many_says_none_where_the_fence_refused_and_writes_the_others(self, store: Store) -> None:
        store.put(record("late", {"a": "newer"}, fence=(0, 5)))
        store.put(record("over", {"a": "end"}, fence=(0, 1), final=True))
        names = ("new", "late", "over", "new too")
        written = store.put_many([record(key, {"a": "mine"}, fence=(0, 2)) for key in names], fenced=True)
        assert [each and each.id for each in written] == ["new", None, None, "new too"]
        stored = {key: found.fields["a"] for key, found in store.get_many(KIND, names).items()}
        assert stored == {"new": "mine", "late": "newer", "over": "end", "new too": "mine"}

    def test_put_many_unfenced_overwrites_whatever_is_there(self, store: Store) -> None:
        store.put(record("over", fence=(9, 9), final=True))
        written = store.put_many([record("over", {"a": 2}), record("new", {"a": 3})])
        assert [each and each.version for each in written] == [2, 1]

    def test_put_many_may_hold_one_record_twice(self, store: Store) -> None:
        written = store.put_many(
            [record(fields={"a": 1}, fence=(0, 1)), record(fields={"a": 2}, fence=(0, 1))], fenced=True
        )
        assert [each and each.version for each in written] == [1, 2]
        assert store.get(KIND, "one").fields["a"] == 2  # type: ignore[union-attr]

    def test_get_many_leaves_out_what_is_not_there(self, store: Store) -> None:
        store.put_many([record("a"), record("b")])
        assert sorted(store.get_many(KIND, ["a", "no", "b", "a"])) == ["a", "b"]
        assert store.get_many(KIND, []) == {}
        assert store.get_many("other", ["a", "b"]) == {}

    def test_get_many_takes_any_number_of_ids(self, store: Store) -> None:
        names = [f"{index:05d}" for index in range(2500)]
        store.put_many([record(key) for key in names[::2]])
        assert sorted(store.get_many(KIND, names)) == names[::2]

    # ---------------------------------------------------------------- sizes

    @pytest.mark.parametrize("value", ["x" * quotas.FIELD_BYTES_MAX, b"x" * quotas.FIELD_BYTES_MAX])
    def test_the_largest_field_fits(self, store: Store, value: str | bytes) -> None:
        store.put(record(fields={"v": value, "more": "beside it"}))
        assert store.get(KIND, "one").fields["v"] == value  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "value",
        [
            "x" * (quotas.FIELD_BYTES_MAX + 1),
            b"x" * (quotas.FIELD_BYTES_MAX + 1),
            "é" * (quotas.FIELD_BYTES_MAX // 2 + 1),
        ],
        ids=["text", "bytes", "text that is larger in UTF-8"],
    )
    def test_a_larger_field_is_refused_before_anything_is_written(self, store: Store, value: str | bytes) -> None:
        with pytest.raises(FieldTooLarge, match="'v'"):
            store.put(record(fields={"v": value}))
        with pytest.raises(FieldTooLarge):
            store.put_many([record("before"), record("large", {"v": value}), record("after")])
        assert store.get_many(KIND, ["one", "before", "large", "after"]) == {}

    # ---------------------------------------------------------------- delete

    def test_delete_says_whether_it_was_there(self, store: Store) -> None:
        store.put(record())
        assert store.delete(KIND, "one") is True
        assert store.delete(KIND, "one") is False
        assert store.get(KIND, "one") is None

    def test_a_record_after_a_delete_is_a_new_one(self, store: Store) -> None:
        store.put(record(fence=(5, 5), final=True))
        store.delete(KIND, "one")
        assert store.put(record(fence=(0, 1)), if_version=0, fenced=True).version == 1

    def test_delete_at_another_version_is_a_conflict(self, store: Store) -> None:
        store.put(record())
        store.put(record())
        with pytest.raises(VersionConflict):
            store.delete(KIND, "one", if_version=1)
        assert store.get(KIND, "one") is not None
        assert store.delete(KIND, "one", if_version=2) is True
        assert store.delete(KIND, "one", if_version=2) is False

    def test_of_threads_that_delete_one_was_first(self, store: Store) -> None:
        store.put(record())
        assert sorted(at_once([lambda: store.delete(KIND, "one")] * THREADS)) == [False] * (THREADS - 1) + [True]  # type: ignore[type-var]

    # ---------------------------------------------------------------- expiry

    def test_a_record_is_there_until_the_moment_it_expires(self, store: Store, clock: ManualClock) -> None:
        store.put(record(expires_at=clock.now() + 10))
        clock.advance(seconds=9.999)
        assert store.get(KIND, "one") is not None
        clock.advance(seconds=0.001)
        assert store.get(KIND, "one") is None

    def test_an_expired_record_is_not_there_for_any_verb(self, store: Store, clock: ManualClock) -> None:
        expired = record(bucket="b", sort="1", expires_at=clock.now() + 10, fence=(7, 7), final=True)
        store.put_many([expired, record("two", bucket="b", sort="2")])
        clock.advance(seconds=10)
        assert sorted(store.get_many(KIND, ["one", "two"])) == ["two"]
        assert ids(store.query(KIND, "b").records) == ["two"]
        assert ids(store.query(KIND, "b", newest_first=True).records) == ["two"]
        assert store.delete(KIND, "one", if_version=9) is False
        with pytest.raises(VersionConflict):
            store.put(record(), if_version=1)

    def test_a_write_over_an_expired_record_begins_a_new_one(self, store: Store, clock: ManualClock) -> None:
        for key in ("plain", "new", "fenced", "many"):
            for _ in range(3):
                store.put(record(key, expires_at=clock.now() + 10, fence=(7, 7), final=True))
        clock.advance(seconds=10)
        assert store.put(record("plain")).version == 1
        assert store.put(record("new"), if_version=0).version == 1
        assert store.put(record("fenced", fence=(0, 1)), fenced=True).version == 1
        assert [each and each.version for each in store.put_many([record("many", fence=(0, 1))], fenced=True)] == [1]

    def test_a_record_without_expiry_stays(self, store: Store, clock: ManualClock) -> None:
        store.put(record())
        clock.advance(days=36_500)
        store.sweep()
        assert store.get(KIND, "one") is not None

    def test_a_put_gives_a_new_expiry_or_none(self, store: Store, clock: ManualClock) -> None:
        store.put(record("longer", expires_at=clock.now() + 10))
        store.put(record("for ever", expires_at=clock.now() + 10))
        store.put(record("longer", expires_at=clock.now() + 20))
        store.put(record("for ever"))
        clock.advance(seconds=15)
        assert sorted(store.get_many(KIND, ["longer", "for ever"])) == ["for ever", "longer"]
        clock.advance(seconds=5)
        assert sorted(store.get_many(KIND, ["longer", "for ever"])) == ["for ever"]

    def test_a_sweep_removes_nothing_that_is_there(self, store: Store, clock: ManualClock) -> None:
        store.put_many([record(f"{n}", expires_at=clock.now() + n) for n in range(1, 11)])
        clock.advance(seconds=5)
        store.sweep()
        assert sorted(store.get_many(KIND, [f"{n}" for n in range(1, 11)]), key=int) == ["6", "7", "8", "9", "10"]

    def test_a_sweep_takes_at_most_its_limit_and_ends(self, store: Store, clock: ManualClock) -> None:
        store.put_many([record(f"{n}", expires_at=clock.now() + 1) for n in range(25)])
        clock.advance(seconds=1)
        swept = [store.sweep(limit=10) for _ in range(4)]
        assert swept in ([10, 10, 5, 0], [0, 0, 0, 0])  # by hand, or the engine does it by itself
        assert store.get_many(KIND, [f"{n}" for n in range(25)]) == {}

    # ---------------------------------------------------------------- counters

    def test_a_counter_begins_at_nothing_and_returns_its_sum(self, store: Store) -> None:
        assert store.increment(KIND, "c", "n", 5, token="a") == 5
        assert store.increment(KIND, "c", "n", -7, token="b") == -2
        assert store.increment(KIND, "c", "n", 0, token="c") == -2

    def test_a_token_adds_once_and_returns_the_sum_as_it_is_now(self, store: Store) -> None:
        assert store.increment(KIND, "c", "n", 5, token="a") == 5
        assert store.increment(KIND, "c", "n", 1, token="b") == 6
        assert store.increment(KIND, "c", "n", 5, token="a") == 6

    def test_tokens_of_one_counter_are_not_those_of_another(self, store: Store) -> None:
        assert store.increment(KIND, "c", "n", 1, token="a") == 1
        assert store.increment(KIND, "d", "n", 1, token="a") == 1
        assert store.increment("other", "c", "n", 1, token="a") == 1

    def test_a_counter_is_a_field_of_a_record(self, store: Store) -> None:
        store.put(record("c", {"name": "x", "n": 40}, bucket="b", sort="1"))
        assert store.increment(KIND, "c", "n", 2, token="a") == 42
        found = store.get(KIND, "c")
        assert found is not None
        assert dict(found.fields) == {"name": "x", "n": 42}
        assert (found.bucket, found.sort) == ("b", "1")
        assert found.version > 1

    def test_a_counter_holds_large_counts(self, store: Store) -> None:
        assert store.increment(KIND, "c", "n", 2**62, token="a") == 2**62
        assert store.increment(KIND, "c", "n", 2**62 - 1, token="b") == 2**63 - 1
        assert store.get(KIND, "c").fields["n"] == 2**63 - 1  # type: ignore[union-attr]

    def test_no_increment_is_lost_and_none_counts_twice(self, store: Store) -> None:
        works = [
            lambda who=who: [store.increment(KIND, "c", "n", 1, token=f"{who // 2}.{n}") for n in range(10)]
            for who in range(THREADS)  # every token comes from two threads
        ]
        sums = [each for each in at_once(works) if isinstance(each, list)]
        assert len(sums) == THREADS
        assert store.increment(KIND, "c", "n", 0, token="end") == THREADS // 2 * 10
        assert all(sorted(each) == each for each in sums)

    def test_a_counters_expiry_is_given_with_an_increment(self, store: Store, clock: ManualClock) -> None:
        store.increment(KIND, "c", "n", 5, token="a", expires_at=clock.now() + 10)
        store.increment(KIND, "c", "n", 1, token="b", expires_at=clock.now() + 20)
        store.increment(KIND, "c", "n", 1, token="c")  # says nothing about it
        clock.advance(seconds=15)
        assert store.get(KIND, "c").fields["n"] == 7  # type: ignore[union-attr]
        clock.advance(seconds=5)
        assert store.get(KIND, "c") is None
        assert store.increment(KIND, "c", "n", 3, token="a") == 3  # the token went with its record

    # ---------------------------------------------------------------- sets

    def test_a_member_is_new_once(self, store: Store) -> None:
        assert store.add_member(KIND, "s", "a") == (True, 1)
        assert store.add_member(KIND, "s", "b") == (True, 2)
        assert store.add_member(KIND, "s", "a") == (False, 2)

    def test_members_of_one_set_are_not_those_of_another(self, store: Store) -> None:
        store.add_member(KIND, "s", "a")
        assert store.add_member(KIND, "t", "a") == (True, 1)
        assert store.add_member("other", "s", "a") == (True, 1)

    def test_a_member_may_be_any_text(self, store: Store) -> None:
        sizes = [store.add_member(KIND, "s", member) for member in ODD_IDS]
        assert sizes == [(True, size) for size in range(1, len(ODD_IDS) + 1)]
        assert all(store.add_member(KIND, "s", member) == (False, len(ODD_IDS)) for member in ODD_IDS)

    def test_exactly_one_of_racing_members_sees_the_set_complete_first(self, store: Store) -> None:
        members = [f"{n}" for n in range(THREADS * 3)]
        works = [
            lambda mine=mine: [store.add_member(KIND, "s", member) for member in mine]
            for mine in (members[n::4] + members[(n + 1) % 4 :: 4] for n in range(4))  # every member comes twice
        ]
        answers = [answer for each in at_once(works) if isinstance(each, list) for answer in each]
        assert len(answers) == 2 * len(members)
        assert sum(new for new, _ in answers) == len(members)
        # Whoever adds the last one reads the full size: a join is never left undone.
        assert any(new and size == len(members) for new, size in answers)
        assert store.add_member(KIND, "s", members[0]) == (False, len(members))

    def test_a_large_set_is_counted_exactly(self, store: Store) -> None:
        for n in range(500):
            assert store.add_member(KIND, "s", f"{n}") == (True, n + 1)

    def test_a_set_expires_with_all_its_members(self, store: Store, clock: ManualClock) -> None:
        store.add_member(KIND, "s", "a", expires_at=clock.now() + 10)
        store.add_member(KIND, "s", "b", expires_at=clock.now() + 10)
        clock.advance(seconds=10)
        assert store.add_member(KIND, "s", "a") == (True, 1)

    def test_what_is_put_over_an_expired_set_has_no_members(self, store: Store, clock: ManualClock) -> None:
        store.add_member(KIND, "s", "a", expires_at=clock.now() + 10)
        clock.advance(seconds=10)
        store.put(record("s"))
        assert store.add_member(KIND, "s", "a") == (True, 1)

    # ---------------------------------------------------------------- query

    def test_a_bucket_is_read_in_order_of_sort_and_id(self, store: Store) -> None:
        for key, sort in [("c", "2"), ("b", "1"), ("a", "2"), ("d", "10"), ("e", "")]:
            store.put(record(key, bucket="b", sort=sort))
        assert ids(store.query(KIND, "b").records) == ["e", "b", "d", "a", "c"]
        assert ids(store.query(KIND, "b", newest_first=True).records) == ["c", "a", "d", "b", "e"]

    def test_a_query_gives_whole_records(self, store: Store, clock: ManualClock) -> None:
        written = store.put(
            record(bucket="b", sort="1", fields={"v": b"\x00"}, expires_at=clock.now() + 9, fence=(1, 2))
        )
        page = store.query(KIND, "b")
        assert (page.records, page.cursor) == ([written], None)

    def test_a_query_sees_its_bucket_and_kind_only(self, store: Store) -> None:
        store.put(record("a", bucket="b", sort="1"))
        store.put(record("b", bucket="bb", sort="1"))
        store.put(record("c", bucket="B", sort="1"))
        store.put(record("d", bucket="b", sort="1", kind="other"))
        assert ids(store.query(KIND, "b").records) == ["a"]
        assert store.query(KIND, "nothing").records == []

    def test_a_record_without_a_bucket_is_in_no_query(self, store: Store) -> None:
        store.put(record(sort="1"))
        assert store.query(KIND, "").records == []

    def test_a_record_is_where_it_was_put_last(self, store: Store) -> None:
        store.put(record(bucket="old", sort="1"))
        store.put(record(bucket="new", sort="2"))
        assert store.query(KIND, "old").records == []
        assert ids(store.query(KIND, "new").records) == ["one"]
        store.put(record())
        assert store.query(KIND, "new").records == []
        store.put(record(bucket="new", sort="3"))
        store.delete(KIND, "one")
        assert store.query(KIND, "new").records == []

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_a_range_is_from_its_start_to_before_its_end(self, store: Store, newest_first: bool) -> None:
        store.put_many([record(f"id{n}", bucket="b", sort=f"{n}") for n in range(10)])

        def found(sort_from: str | None, sort_to: str | None) -> list[str]:
            page = store.query(KIND, "b", sort_from=sort_from, sort_to=sort_to, newest_first=newest_first)
            return [each.sort for each in (reversed(page.records) if newest_first else page.records)]

        assert found("3", "6") == ["3", "4", "5"]
        assert found("7", None) == ["7", "8", "9"]
        assert found(None, "2") == ["0", "1"]
        assert found("4", "4") == []
        assert found("6", "3") == []
        assert found("45", "55") == ["5"]

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [1, 3, 7, 1000])
    def test_pages_give_everything_once(self, store: Store, limit: int, newest_first: bool) -> None:
        # Several records share a sort: a page may end in the middle of them.
        store.put_many([record(f"id{n:02d}", bucket="b", sort=f"{n // 4}") for n in range(21)])
        expected = [f"id{n:02d}" for n in range(21)]
        found = all_ids(store, "b", limit=limit, newest_first=newest_first)
        assert found == (expected[::-1] if newest_first else expected)

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_pages_of_a_range_stay_in_it(self, store: Store, newest_first: bool) -> None:
        store.put_many([record(f"id{n:02d}", bucket="b", sort=f"{n // 4}") for n in range(21)])
        found = all_ids(store, "b", limit=3, sort_from="1", sort_to="3", newest_first=newest_first)
        expected = [f"id{n:02d}" for n in range(4, 12)]
        assert found == (expected[::-1] if newest_first else expected)

    @pytest.mark.parametrize("key", ODD_IDS, ids=lambda key: ascii(key)[:24])
    def test_a_page_may_end_at_any_id(self, store: Store, key: str) -> None:
        store.put_many([record(key, bucket="b", sort="1"), record("z" * 1001, bucket="b", sort="2")])
        assert all_ids(store, "b", limit=1) == [key, "z" * 1001]
        assert all_ids(store, "b", limit=1, newest_first=True) == ["z" * 1001, key]

    def test_pages_turned_while_others_write_miss_nothing_that_stayed(self, store: Store, clock: ManualClock) -> None:
        stay = [f"id{n:03d}" for n in range(0, 60, 2)]
        store.put_many([record(key, bucket="b", sort=key) for key in stay])
        store.put_many([record(f"id{n:03d}", bucket="b", sort=f"id{n:03d}") for n in range(1, 60, 4)])
        found: list[str] = []
        cursor: str | None = None
        turn = 0
        while turn == 0 or cursor is not None:
            page = store.query(KIND, "b", limit=7, cursor=cursor)
            found += ids(page.records)
            cursor = page.cursor
            turn += 1
            store.delete(KIND, f"id{1 + 4 * (turn % 15):03d}")  # before, at and behind the page's end
            store.put(record(f"id{turn:03d}x", bucket="b", sort=f"id{turn:03d}x"))
            store.put(record(stay[turn], {"touched": turn}, bucket="b", sort=stay[turn]))
        assert [key for key in found if key in stay] == stay
        assert len(set(found)) == len(found)

    def test_a_query_reads_a_hundred_unless_told(self, store: Store) -> None:
        store.put_many([record(f"{n:04d}", bucket="b", sort=f"{n:04d}") for n in range(1001)])
        assert len(store.query(KIND, "b").records) == 100
        page = store.query(KIND, "b", limit=1000)
        assert len(page.records) == 1000
        assert page.cursor is not None
        assert ids(store.query(KIND, "b", limit=1000, cursor=page.cursor).records) == ["1000"]

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_limit_out_of_its_range_is_a_mistake(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            store.query(KIND, "b", limit=limit)

    @pytest.mark.parametrize("cursor", ["", "nonsense", "[]", '["a"]', "{}"])
    def test_a_cursor_that_no_query_gave_is_a_mistake(self, store: Store, cursor: str) -> None:
        with pytest.raises(ValueError, match="cursor"):
            store.query(KIND, "b", cursor=cursor)

    # ---------------------------------------------------------------- all together

    @pytest.mark.parametrize("seed", range(4))
    def test_a_random_walk_ends_where_the_rules_say(self, store: Store, clock: ManualClock, seed: int) -> None:
        chance, rules = random.Random(seed), Rules(clock)
        for step in range(300):
            key = chance.choice(["a", "b", "c"])
            expires_at = chance.choice([None, clock.now() + chance.randint(1, 5)])
            given = record(
                key, {"step": step}, fence=(chance.randint(0, 1), chance.randint(0, 3)), expires_at=expires_at
            )
            given = record(key, given.fields, fence=given.fence, expires_at=expires_at, final=chance.random() < 0.2)
            if_version, fenced = chance.choice([None, None, 0, 1, 2, 3]), chance.random() < 0.5
            what = chance.random()
            if what < 0.1:
                clock.advance(seconds=chance.randint(0, 3))
            elif what < 0.2:
                assert store.delete(KIND, key) == rules.delete(key), f"seed {seed}, step {step}"
            else:
                expected = rules.put(given, if_version, fenced)
                try:
                    written: Record | type[Exception] = store.put(given, if_version=if_version, fenced=fenced)
                except (VersionConflict, Fenced) as error:
                    written = type(error)
                assert written == expected or {written, expected} == {VersionConflict, Fenced}, (
                    f"seed {seed}, step {step}"
                )
            assert store.get_many(KIND, ["a", "b", "c"]) == rules.live(), f"seed {seed}, step {step}"

    def test_closing_twice_is_no_error(self, store: Store) -> None:
        store.close()
        store.close()


class Rules:
    """The contract's conditions in a dictionary, for the random walk."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}

    def live(self) -> dict[str, Record]:
        now = self._clock.now()
        return {key: each for key, each in self._records.items() if each.expires_at is None or each.expires_at > now}

    def put(self, given: Record, if_version: int | None, fenced: bool) -> Record | type[Exception]:
        there = self.live().get(given.id)
        version = there.version if there else 0
        if if_version is not None and if_version != version:
            return VersionConflict
        if fenced and there and (there.final or (there.fence is not None and there.fence > (given.fence or (0, 0)))):
            return Fenced
        fields = {name: getattr(given, name) for name in ("kind", "id", "fields", "expires_at", "fence", "final")}
        written = Record(version=version + 1, **fields)
        self._records[given.id] = written
        return written

    def delete(self, key: str) -> bool:
        there = key in self.live()
        self._records.pop(key, None)
        return there
