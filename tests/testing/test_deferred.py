"""`assert_deferred`: what was deferred, what waits for a commit, and what was dropped."""

from __future__ import annotations

import pytest

from fnqueue.errors import ArgumentError, NotATask
from tests.app.test_held_calls import Transactions


@pytest.fixture
def transactions(fn):
    found = Transactions()
    fn.hooks.transaction = found.current
    return found


@pytest.fixture
def mail(fn):
    @fn.task(name="shop.mail", queue="mail")
    def mail(to: int, subject: str = "hello") -> None: ...

    return mail


def said(callable, *args, **kwargs):
    with pytest.raises(AssertionError) as caught:
        callable(*args, **kwargs)
    return str(caught.value)


def test_a_deferred_call_is_found_by_its_arguments_with_defaults_filled_in(mail, assert_deferred):
    handle = mail.defer(7)
    (call,) = assert_deferred(mail, args=(7,), kwargs={"subject": "hello"}, queue="mail", count=1)
    assert (call.id, call.arguments, call.held) == (handle.id, {"to": 7, "subject": "hello"}, False)


def test_other_arguments_are_not_found_and_the_text_shows_what_was_deferred(mail, assert_deferred):
    mail.defer(7)
    text = said(assert_deferred, mail, args=(8,))
    assert "expected at least 1 call of shop.mail({'to': 8, 'subject': 'hello'}), found 0" in text
    assert "shop.mail({'to': 7, 'subject': 'hello'}) to mail" in text


def test_what_the_caller_changes_afterwards_is_not_what_was_deferred(fn, assert_deferred):
    @fn.task(name="shop.remind")
    def remind(numbers: list[int]) -> None: ...

    numbers = [1]
    remind.defer(numbers)
    numbers.append(2)
    remind.defer(numbers)
    numbers.clear()
    assert_deferred(remind, args=([1],), count=1)
    assert_deferred(remind, args=([1, 2],), count=1)


def test_what_is_no_task_and_arguments_that_are_no_tuple_are_told(mail, assert_deferred):
    mail.defer(7)
    with pytest.raises(ArgumentError, match=r"args=7: must be a tuple of arguments, as \(7,\)"):
        assert_deferred(mail, args=7)
    with pytest.raises(ArgumentError, match="args='7': must be a tuple"):
        assert_deferred.not_(mail, args="7")
    with pytest.raises(NotATask, match=r"assert_deferred\('shop.mail'\): the first argument must be a task, got str"):
        assert_deferred("shop.mail")


def test_a_call_that_waits_for_a_commit_counts_and_is_marked(transactions, mail, assert_deferred):
    transactions.begin()
    mail.defer(7)
    (call,) = assert_deferred(mail, held=True)
    assert call.held
    text = said(assert_deferred, mail, held=False)
    assert "to mail [held: waits for a commit]" in text
    assert "captureOnCommitCallbacks(execute=True)" in text
    transactions.commit()
    assert assert_deferred(mail, held=False) == [call]
    assert call.state == "sent"


def test_a_call_whose_transaction_was_rolled_back_does_not_count_and_the_text_says_why(
    transactions, mail, assert_deferred
):
    transactions.begin()
    mail.defer(7)
    transactions.rollback()
    assert_deferred.not_(mail)
    text = said(assert_deferred, mail)
    assert "Dropped, and never sent:\n  shop.mail({'to': 7, 'subject': 'hello'}) to mail [rolled back]" in text
    assert [call.arguments["to"] for call in assert_deferred.dropped] == [7]


def test_nothing_of_a_task_may_be_asked_for_and_a_held_call_is_something(transactions, mail, assert_not_deferred):
    assert_not_deferred(mail)
    transactions.begin()
    mail.defer(7)
    assert_not_deferred(mail, args=(8,))
    assert "expected 0 calls of shop.mail(...), found 1" in said(assert_not_deferred, mail)


def test_a_call_whose_dedupe_key_is_taken_was_not_deferred(transactions, mail, assert_deferred):
    mail.using(dedupe="k").defer(7)
    transactions.begin()
    mail.using(dedupe="k").defer(8)
    assert [call.arguments["to"] for call in assert_deferred(mail, count=1)] == [7]


def test_what_was_deferred_before_anybody_asked_is_not_counted(fn, mail, drain, request):
    mail.defer(7)
    request.getfixturevalue("assert_deferred").not_(mail)
