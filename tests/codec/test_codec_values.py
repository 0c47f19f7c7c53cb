"""What travels as JSON and comes back: the same value, of the same type."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fnqueue import quotas
from fnqueue.codec import from_json, to_json
from fnqueue.errors import ArgumentNotSerializable, ArgumentsDoNotFit

BERLIN = ZoneInfo("Europe/Berlin")
LARGEST = 2**quotas.ARGUMENT_INTEGER_BITS_MAX - 1


def travel(value: Any) -> Any:
    wire = to_json(value, task="shop.f", path="args[0]")
    return from_json(msgspec.json.decode(msgspec.json.encode(wire)), task="shop.f", path="args[0]")


def picture(value: Any) -> Any:
    """A value with its types written out, so that 1, True and 1.0 differ, and -0.0 from 0.0."""
    kind = type(value)
    if kind is dict:
        return {key: picture(inner) for key, inner in value.items()}
    if kind in (list, tuple):
        return (kind.__name__, [picture(inner) for inner in value])
    if kind in (set, frozenset):
        return (kind.__name__, sorted((picture(inner) for inner in value), key=repr))
    zone = getattr(getattr(value, "tzinfo", None), "key", "")
    offset = value.utcoffset() if kind is datetime else None
    return (
        kind.__name__,
        repr(value) if kind in (float, Decimal) else value if zone == "" else None,
        str(value),
        zone,
        offset,
    )


# ---------------------------------------------------------------- any value

moments = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.datetimes(timezones=st.just(UTC)),
    st.builds(
        lambda moment, minutes: moment.replace(tzinfo=timezone(timedelta(minutes=minutes))),
        st.datetimes(),
        st.integers(-1439, 1439),
    ),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-LARGEST, LARGEST),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    moments,
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
)
members = st.recursive(leaves, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)))
tags = st.sampled_from(["$", "$dict", "$datetime", "$date", "$set", "$tuple", "$decimal", "$unknown", "$fields", "a"])
keys = st.one_of(st.text(max_size=8), tags)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(members, max_size=4),
        st.frozensets(members, max_size=4),
    ),
    max_leaves=25,
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of the strategy itself
@settings(deadline=None, max_examples=400)
@given(values)
@example({"$date": "2026-01-01"})
@example({"$dict": {"$dict": {}}})
@example([{"$set": [[1]]}, {"$": None}])
@example(list(range(20)))
@example([LARGEST] * 10)
@example(["plain"] * 10 + ["naïve"])
@example([1] * 10 + [True])
def test_any_nested_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    assert picture(travel(value)) == picture(value)


@settings(deadline=None, max_examples=200)
@given(
    st.recursive(st.one_of(st.integers(), st.text(max_size=5)), lambda inner: st.dictionaries(tags, inner, max_size=2))
)
def test_a_users_object_is_never_taken_for_a_tag(value: Any) -> None:
    assert travel(value) == value


@settings(deadline=None, max_examples=200)
@given(st.datetimes(timezones=st.timezones()))
def test_an_aware_datetime_is_equal_on_arrival(moment: datetime) -> None:
    arrived = travel(moment)
    assert arrived == moment or moment.fold  # Python holds times in a fold equal to nothing of another zone
    assert (arrived.utcoffset(), arrived.replace(tzinfo=None)) == (
        moment.utcoffset(),
        moment.replace(tzinfo=None, fold=0),
    )


# ---------------------------------------------------------------- the form on the wire


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (datetime(2026, 11, 1, 9), {"$datetime": "2026-11-01T09:00:00"}),
        (datetime(2026, 11, 1, 9, tzinfo=UTC), {"$datetime": "2026-11-01T09:00:00+00:00"}),
        (datetime(2026, 11, 1, 9, tzinfo=BERLIN), {"$datetime": "2026-11-01T09:00:00+01:00[Europe/Berlin]"}),
        (date(2026, 11, 1), {"$date": "2026-11-01"}),
        (time(9, 30), {"$time": "09:30:00"}),
        (timedelta(seconds=1.5), {"$timedelta": 1_500_000}),
        (Decimal("19.90"), {"$decimal": "19.90"}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        (b"\x00\xff", {"$bytes": "AP8="}),
        ((1, "a"), {"$tuple": [1, "a"]}),
        ({2, 1}, {"$set": [1, 2]}),
        (frozenset({"b", "a"}), {"$frozenset": ["a", "b"]}),
        ({"$date": 1}, {"$dict": {"$date": 1}}),
        ({"$date": 1, "b": 2}, {"$date": 1, "b": 2}),
        ([1, 2.5, None, True, "x", {}], [1, 2.5, None, True, "x", {}]),
    ],
)
def test_the_wire_form_is_pinned(value: Any, wire: Any) -> None:
    """Messages outlive deploys: a change here needs a reader of the old form."""
    assert to_json(value, task="shop.f", path="args[0]") == wire


def test_a_zone_keeps_its_rules_across_summer_time() -> None:
    arrived = travel(datetime(2026, 10, 24, 12, tzinfo=BERLIN))
    assert (arrived + timedelta(days=1)).utcoffset() == timedelta(hours=1)


def test_both_times_of_a_repeated_hour_stay_apart() -> None:
    early = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=0)
    late = early.replace(fold=1)
    assert [travel(moment).astimezone(UTC) for moment in (early, late)] == [m.astimezone(UTC) for m in (early, late)]


def test_where_this_machines_zone_rules_differ_the_instant_stays() -> None:
    arrived = from_json({"$datetime": "2026-07-01T12:00:00+05:00[Europe/Berlin]"}, task="f", path="x")
    assert arrived.astimezone(UTC) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert arrived.tzinfo == BERLIN


def test_a_time_of_a_zone_keeps_the_zone() -> None:
    assert travel(time(9, tzinfo=BERLIN)).tzinfo == BERLIN


def test_a_set_has_one_form_whatever_the_hash_seed() -> None:
    forwards, backwards = {f"name{n}" for n in range(50)}, {f"name{n}" for n in reversed(range(50))}
    assert to_json(forwards, task="f", path="x") == to_json(backwards, task="f", path="x")


def test_the_wire_shares_nothing_with_what_was_given() -> None:
    lines = [[1] * 10, [{"a": []}]]
    wire = to_json(lines, task="f", path="x")
    lines[0].append(2)
    lines[1][0]["a"].append(3)
    assert wire == [[1] * 10, [{"a": []}]]


# ---------------------------------------------------------------- subclasses of plain values


class Word(str):
    def __str__(self) -> str:
        return "not this"


class Count(int):
    def __int__(self) -> int:
        return -1


class Moment(datetime):
    def isoformat(self, *args: Any) -> str:
        return "not this"


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Word("hello"), "hello"),
        (Word("naïve"), "naïve"),
        (Count(7), 7),
        (Moment(2026, 1, 2), datetime(2026, 1, 2)),
        ({Word("k"): Word("v")}, {"k": "v"}),
    ],
)
def test_a_subclass_of_a_plain_value_arrives_as_the_plain_value(value: Any, arrives: Any) -> None:
    assert picture(travel(value)) == picture(arrives)


def test_an_ordered_dict_without_annotation_is_refused_and_not_changed() -> None:
    with pytest.raises(ArgumentNotSerializable, match="would arrive as a plain dict"):
        travel(OrderedDict(a=1))


# ---------------------------------------------------------------- limits, the same on both sides


def deep(levels: int, leaf: Any = 1) -> Any:
    for _ in range(levels):
        leaf = [leaf]
    return leaf


def test_thirty_two_levels_travel_and_thirty_three_do_not() -> None:
    assert travel(deep(32)) == deep(32)
    with pytest.raises(ArgumentNotSerializable, match="nested deeper than 32"):
        travel(deep(33))
    with pytest.raises(ArgumentsDoNotFit, match="nested deeper than 32"):
        from_json(deep(33), task="f", path="x")


def test_ten_thousand_values_travel_and_one_more_does_not() -> None:
    many = [list(range(99)) for _ in range(100)]  # 100 lists and 9,900 numbers
    assert travel(many) == many
    many[0].append(99)
    with pytest.raises(ArgumentNotSerializable, match="more than 10,000 values"):
        travel(many)
    with pytest.raises(ArgumentsDoNotFit, match="more than 10,000 values"):
        from_json(many, task="f", path="x")


def test_a_list_that_doubles_at_each_level_is_refused_before_it_fills_the_memory() -> None:
    bomb: Any = [1] * 10
    for _ in range(20):
        bomb = [bomb, bomb]
    with pytest.raises(ArgumentNotSerializable, match="more than 10,000 values"):
        travel(bomb)


def test_integers_of_256_bits_travel_and_larger_ones_do_not() -> None:
    assert travel([LARGEST, -LARGEST]) == [LARGEST, -LARGEST]
    for value in (LARGEST + 1, -LARGEST - 1, [LARGEST + 1], [LARGEST + 1] * 10, {"a": LARGEST + 1}):
        with pytest.raises(ArgumentNotSerializable, match="integer of 257 bits"):
            travel(value)
        with pytest.raises(ArgumentsDoNotFit, match="integer of 257 bits"):
            from_json(value, task="f", path="x")


def test_values_that_hold_themselves_are_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    knot: dict[str, Any] = {"a": 1}
    knot["self"] = (knot, [knot])
    for value in (ring, knot):
        with pytest.raises(ArgumentNotSerializable, match="or contains itself"):
            travel(value)


# ---------------------------------------------------------------- hostile wires


@pytest.mark.parametrize(
    "wire",
    [
        {"$unknown": 1},
        {"$": 1},
        {"$fields": {}},
        {"$dict": [1]},
        {"$tuple": {}},
        {"$tuple": "ab"},
        {"$set": [[1]]},
        {"$set": [{}]},
        {"$frozenset": [{"$set": []}]},
        {"$datetime": 1},
        {"$datetime": "yesterday"},
        {"$datetime": "2026-11-01T09:00:00+01:00[Nowhere/Land]"},
        {"$datetime": "2026-11-01T09:00:00+01:00[../../etc/passwd]"},
        {"$datetime": "2026-11-01T09:00:00+01:00[" + "A" * 5000 + "]"},
        {"$datetime": "2026-11-01T09:00:00+01:00[]"},
        {"$datetime": "]"},
        {"$date": "2026-13-01"},
        {"$date": None},
        {"$time": "25:00"},
        {"$timedelta": 1.5},
        {"$timedelta": True},
        {"$timedelta": 10**30},
        {"$decimal": "NaN"},
        {"$decimal": "Infinity"},
        {"$decimal": "one"},
        {"$decimal": 1.5},
        {"$uuid": "00"},
        {"$uuid": 5},
        {"$bytes": "a"},
        {"$bytes": "ä==="},
        {"$bytes": 5},
    ],
)
def test_a_tag_that_is_unknown_or_malformed_is_refused_with_its_place(wire: Any) -> None:
    with pytest.raises(ArgumentsDoNotFit) as caught:
        from_json({"lines": [0, wire]}, task="shop.f", path="args[0]")
    assert "args[0].lines[1]" in str(caught.value)
