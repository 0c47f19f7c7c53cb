"""Mistakes of a first hour, each with the text that ends it."""

from __future__ import annotations

import pytest

from fnqueue import FnQueue, RetryLater
from fnqueue.errors import OptionInvalid, SettingsInvalid
from fnqueue.policies import public


def add(a: int, b: int = 2) -> int:
    return a + b


class Invoice: ...


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (public, "@fn.task is for functions, got _Public; options have names, as @fn.task(policy=...)"),
        ("shop.add", "@fn.task is for functions, got str; options have names, as @fn.task(policy=...)"),
        (Invoice, "@fn.task is for functions, and Invoice is a class: make it of a function"),
    ],
)
def test_what_is_no_function_becomes_no_task(fn, given, said):
    with pytest.raises(OptionInvalid) as caught:
        fn.task(given)
    assert str(caught.value) == said


def test_a_task_is_not_decorated_twice(fn):
    with pytest.raises(OptionInvalid, match="shop.add is a task already: @fn.task stands on it twice"):
        fn.task(fn.task(name="shop.add")(add))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("dely_seconds", "dely_seconds= is no option; did you mean delay_seconds=?"),
        ("delay", "delay= is no option; did you mean delay_seconds=?"),
        (
            "countdown",
            "countdown= is no option; there are queue, delay_seconds, not_before, expires_seconds, priority, tenant, "
            "group, group_clear, dedupe, retry",
        ),
    ],
)
def test_an_option_that_is_none_is_told_the_nearest_one_or_all(fn, option, said):
    with pytest.raises(OptionInvalid) as caught:
        fn.task(name="shop.add")(add).using(**{option: 60})
    assert str(caught.value) == said


def test_a_url_where_settings_are_taken_is_told_its_name():
    task = FnQueue("sqlite:///shop.db").task(name="shop.add", policy=public)(add)
    with pytest.raises(SettingsInvalid) as caught:
        task.defer(1)
    assert caught.value.faults == (
        'settings are a mapping of names to values, got str: write FnQueue(url="sqlite:///fnqueue.db"). '
        "In Flask: from flask_fnqueue import FnQueue",
    )


@pytest.mark.parametrize("seconds", ["5", None, -1, 31_536_001])
def test_a_delay_that_is_none_is_told_where_it_is_raised(seconds):
    with pytest.raises(OptionInvalid, match="must be 0 to 31,536,000"):
        RetryLater(seconds)
