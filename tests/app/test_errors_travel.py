"""Errors between processes: pools of them copy errors, and what arrives must be what was raised."""

from __future__ import annotations

import copy
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from fnqueue import DeadLetter, RetryLater, errors
from fnqueue.errors import FnQueueError

ERRORS = [
    errors.AuditUnwritable("/var/audit", "No space left on device"),
    errors.SettingsInvalid(["the url is wrong", "so are the keys"]),
    errors.ExtraMissing("SQS", "aws"),
    errors.ArgumentsDoNotFit("x is missing", task="shop.pay", parameter="x"),
    errors.ArgumentNotSerializable("x is a lock", task="shop.pay", path="args[0]", parameter="x"),
    errors.MessageTooLarge(task="shop.pay", size=7, limit=6, largest="x"),
    errors.UnknownTask("shop.pai", nearest=["shop.pay"]),
    errors.UnknownSchedule("nightly", ["daily"]),
    errors.ExpressionInvalid("cron()", "minutes", "missing"),
    errors.PolicyDenied("shop.pay needs a user", task="shop.pay", reason="needs a user"),
    errors.PolicyUndecided("shop.pay: no database", task="shop.pay", reason="no database"),
    errors.SendAfterCommitFailed([("01m828dwht", errors.SendRefused("Busy", "later", sender_fault=False))]),
    errors.TaskFailed("01m828dwht", "FAILURE", errors.TaskError("ValueError", "no")),
    errors.ResultTimeout("no result after 3 s"),
    errors.StoreMissing("dedupe="),
    errors.EnvelopeError("BAD_TAG", "detail"),
    errors.TokenInvalid(),
    errors.EventInvalid("it has no Records"),
    errors.BrokerRefused("Busy", "later"),
    errors.QueueMissing("mail"),
    errors.SendRefused("Busy", "later", sender_fault=True),
    errors.KmsUnavailable("no answer", retry_seconds=5),
    RetryLater(30, snooze=True),
    DeadLetter("no such account"),
]


def described(error: Exception) -> tuple[str, str, dict[str, str]]:
    return type(error).__name__, str(error), {name: repr(value) for name, value in vars(error).items()}


def raise_it(at: int) -> None:
    raise ERRORS[at]


@pytest.fixture(scope="module")
def other_process():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_whole_out_of_another_process(other_process, error):
    arrived = other_process.submit(raise_it, ERRORS.index(error)).exception(60)
    vars(arrived).pop("__notes__", None)
    assert described(arrived) == described(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_of_an_error_says_the_same(error):
    assert described(copy.copy(error)) == described(error)


def test_every_error_with_a_form_of_its_own_is_tried_here():
    #: Its handles hold the queue that they were sent to, which is of one process.
    bound = {errors.SomeNotSent, errors.ArgumentError}
    own = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, FnQueueError | errors.TaskSignal) and "__init__" in vars(kind)
    }
    assert own - {type(error) for error in ERRORS} <= bound
