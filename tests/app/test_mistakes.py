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
        ("countdown", "countdown= is no option; did you mean delay_seconds=?"),
        ("once", "once= is no option of a call; the task has it: @fn.task(once=...)"),
        (
            "headers",
            "headers= is no option; there are queue, delay_seconds, not_before, expires_seconds, priority, tenant, "
            "group, group_clear, dedupe, unique_for_seconds, retry",
        ),
    ],
)
def test_an_option_that_is_none_is_told_the_nearest_one_or_all(fn, option, said):
    with pytest.raises(OptionInvalid) as caught:
        fn.task(name="shop.add")(add).using(**{option: 60})
    assert str(caught.value) == said


def test_a_url_where_settings_are_taken_is_told_its_name():
    with pytest.raises(SettingsInvalid) as caught:
        FnQueue("sqlite:///shop.db")
    assert caught.value.faults == (
        'settings are a mapping of names to values, got str: write FnQueue(url="sqlite:///fnqueue.db"). '
        "In Flask: from flask_fnqueue import FnQueue",
    )


@pytest.mark.parametrize("seconds", ["5", None, -1, 31_536_001])
def test_a_delay_that_is_none_is_told_where_it_is_raised(seconds):
    with pytest.raises(OptionInvalid, match="must be 0 to 31,536,000"):
        RetryLater(seconds)


@pytest.mark.parametrize("url", ["sqlite:q.db", "sqlite:/q.db", "sqlite3:///q.db", "q.db"])
def test_a_url_of_a_file_that_is_none_makes_no_file_of_another_name(url, tmp_path, monkeypatch):
    """`sqlite:q.db` was once taken for the file `.db`."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsInvalid, match="for this file write sqlite:///"):
        FnQueue(url=url).runtime().check()
    assert list(tmp_path.iterdir()) == []


def test_words_of_other_queues_are_answered_with_ours(fn):
    task = fn.task(name="shop.add")(add)
    with pytest.raises(AttributeError, match=r"a task of fnqueue has no 'delay': write add\.defer\(\.\.\.\)"):
        task.delay(1)
    assert not hasattr(task, "no_such_thing")
    with pytest.raises(AttributeError, match="in Flask: from flask_fnqueue import FnQueue"):
        fn.init_app(None)
