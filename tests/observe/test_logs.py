"""One line per task end: what it says, in which form, and what it never says."""

from __future__ import annotations

import io
import json
import logging

import pytest

from fnqueue.events import (
    EngineRecovered,
    EngineTrouble,
    Events,
    LeaseLost,
    MessageRefused,
    TaskDeadLettered,
    TaskFailed,
    TaskReleased,
    TaskRescheduled,
    TaskSucceeded,
    WorkerStopped,
    WorkerStopping,
)
from fnqueue.observe import logs

RUN = {
    "id": "01a",
    "task": "shop.pay",
    "queue": "billing",
    "attempt": 2,
    "wait_seconds": 0.031,
    "duration_seconds": 1.25,
}
ENDED = "shop.pay 1.2 s, waited 31 ms, attempt 2, 01a"

#: event, level, line
LINES = [
    (TaskSucceeded(**RUN), "info", f"SUCCESS {ENDED}"),
    (
        TaskRescheduled(**RUN, delay_seconds=3, error_type="OSError", error_message="disk\nfull"),
        "warning",
        f"RETRY in 3.0 s {ENDED}: OSError: disk\\nfull",
    ),
    (
        TaskRescheduled(
            **{**RUN, "attempt": 0, "wait_seconds": None, "duration_seconds": None},
            delay_seconds=1,
            error_type="OperationalError",
            error_message="no such table: auth_user",
        ),
        "warning",
        "RETRY in 1.0 s shop.pay, no attempt yet, 01a: OperationalError: no such table: auth_user",
    ),
    (TaskRescheduled(**RUN, delay_seconds=0.5, error_type=None), "warning", f"RETRY in 500 ms {ENDED}"),
    (
        TaskFailed(**RUN, error_type="ValueError", error_message="no\nway", dead_letter=True, expected=True),
        "warning",
        f"FAILURE {ENDED}: ValueError: no\\nway, kept in the dead-letter queue",
    ),
    (TaskDeadLettered(**RUN, reason="nobody wants it"), "error", f"DEAD-LETTERED {ENDED}: nobody wants it"),
    (TaskReleased(**RUN), "info", f"GIVEN BACK {ENDED}: the worker stops"),
    (
        MessageRefused(code="DENIED", fate="deleted", queue="billing", detail="needs x", id="01a", task="shop.pay"),
        "warning",
        "REFUSED DENIED, deleted: shop.pay 01a in billing: needs x",
    ),
    (
        MessageRefused(code="BAD_TAG", fate="dead-lettered", queue="billing", detail=""),
        "warning",
        "REFUSED BAD_TAG, dead-lettered: a message in billing",
    ),
    (
        MessageRefused(code="BAD_TAG", fate="deleted", queue="billing", detail="", body_sha256="ab" * 32),
        "warning",
        f"REFUSED BAD_TAG, deleted: a message in billing; its body had SHA-256 {'ab' * 32}",
    ),
    (
        LeaseLost(id="01a", task="shop.pay", queue="billing"),
        "warning",
        "LEASE LOST shop.pay 01a in billing: its visibility is over, so it may run elsewhere; nothing is stored",
    ),
    (
        EngineTrouble(what="receive", queue="billing", error="no route", retry_seconds=2),
        "warning",
        "receive billing: no route; again in 2.0 s",
    ),
    (EngineRecovered(what="receive", queue="billing"), "info", "receive billing: works again"),
    (WorkerStopping(worker="w", running=2, waiting=0), "info", "stopping: 2 tasks run"),
    (WorkerStopped(worker="w", released=1), "info", "stopped; 1 given back"),
]


@pytest.fixture
def logger(monkeypatch):
    """Gives the logger `fnqueue` as in a process whose application configured nothing.

    A function, to be called in the test itself: pytest puts its own handlers there at the beginning of each phase.
    """
    made = logging.getLogger("fnqueue")

    def bare():
        monkeypatch.setattr(made, "handlers", [])
        monkeypatch.setattr(made, "propagate", False)
        return made

    yield bare
    made.setLevel(logging.NOTSET)


@pytest.fixture
def logged(logger):
    """Publish events and get the text that was logged."""

    def log(*published, format="text", level="info"):
        stream, events = io.StringIO(), Events()
        logger()
        logs.configure(format=format, level=level, stream=stream)
        off = logs.subscribe(events, format=format)
        for event in published:
            events.publish(event)
        off()
        return stream.getvalue()

    return log


@pytest.mark.parametrize(("event", "level", "line"), LINES, ids=[line[:20] for _, _, line in LINES])
def test_each_event_has_its_line(logged, event, level, line):
    text = logged(event)
    assert text[9:] == line + "\n"  # after the time of day
    record = json.loads(logged(event, format="json"))
    assert (record["level"], record["event"], record["text"]) == (level, type(event).__name__, line)


def test_refusals_have_a_logger_of_their_own_that_an_application_can_keep(logged, logger):
    kept = []
    audit = logging.getLogger("fnqueue.audit")
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    audit.addHandler(handler)
    gone = {"code": "ID_CONFLICT", "queue": "billing", "detail": "", "id": "01a", "body_sha256": "ab" * 32}
    try:
        logged(
            MessageRefused(fate="deleted", **gone),
            MessageRefused(fate="dead-lettered", **gone),
            MessageRefused(code="NOT_YET", fate="hidden", queue="billing", detail=""),
            MessageRefused(code="DENIED", fate="deleted", queue="billing", detail=""),
        )
    finally:
        audit.removeHandler(handler)
    record = kept[0]
    assert [each.fnqueue["code"] for each in kept] == ["ID_CONFLICT", "ID_CONFLICT", "DENIED"]
    assert record.levelno == logging.WARNING
    said = json.loads(json.dumps(record.fnqueue))
    assert said == {"event": "MessageRefused", "fate": "deleted", **gone}


def test_a_failure_is_followed_by_its_frames_in_text_and_has_them_as_a_field_in_json(logged):
    failed = TaskFailed(**RUN, error_type="E", error_message="m", frames=('  File "a.py", line 1\n    pay()',))
    assert logged(failed).splitlines()[1:] == ['  File "a.py", line 1', "    pay()"]
    lines = logged(failed, format="json").splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["frames"] == ['  File "a.py", line 1\n    pay()']


def test_a_failure_that_is_part_of_the_job_has_no_frames(logged):
    failed = TaskFailed(**RUN, error_type="E", error_message="m", frames=("  File",), expected=True)
    assert len(logged(failed).splitlines()) == 1


def test_a_stranger_cannot_forge_a_line_or_steer_a_terminal(logged):
    forged = "x\n12:00:00 SUCCESS shop.pay\x1b[2J\x9b"
    text = logged(
        MessageRefused(code="TASK_NOT_SERVED", fate="hidden", queue="q", detail=forged, id="01a", task="shop.pay"),
        TaskFailed(**RUN, error_type="E", error_message=forged),
        TaskDeadLettered(**RUN, reason=forged),
        EngineTrouble(what="receive", queue="q", error=forged, retry_seconds=1),
    )
    assert len(text.splitlines()) == 4
    assert "\x1b" not in text
    assert "\x9b" not in text


def test_the_level_decides_what_is_said(logged):
    assert logged(TaskSucceeded(**RUN), level="warning") == ""
    assert logged(TaskReleased(**RUN), level="info") != ""


@pytest.mark.parametrize("name", ["fnqueue", None])
def test_handlers_of_the_application_are_enough(logger, monkeypatch, name):
    monkeypatch.setattr(logger(), "propagate", True)
    monkeypatch.setattr(logging.getLogger(name), "handlers", [logging.NullHandler()])
    assert logs.configure(format="text", level="info") is None


def test_after_the_end_of_the_subscription_nothing_is_logged(logger):
    stream, events = io.StringIO(), Events()
    logger()
    logs.configure(format="text", level="info", stream=stream)
    logs.subscribe(events, format="text")()
    events.publish(TaskSucceeded(**RUN))
    assert stream.getvalue() == ""
    assert not events.wanted(TaskSucceeded)


def test_nobody_makes_an_event_of_a_success_that_no_level_lets_through(logger):
    events = Events()
    logger()
    logs.configure(format="text", level="warning", stream=io.StringIO())
    logs.subscribe(events, format="text")
    assert not events.wanted(TaskSucceeded)
    assert events.wanted(TaskFailed)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_on_a_terminal_the_word_is_coloured_unless_no_color(logger, monkeypatch, no_color, coloured):
    monkeypatch.setenv("NO_COLOR", no_color)
    stream, events = Terminal(), Events()
    logger()
    logs.configure(format="auto", level="info", stream=stream)
    logs.subscribe(events, format="auto")
    events.publish(TaskSucceeded(**RUN))
    assert ("\033[32mSUCCESS\033[0m shop.pay" in stream.getvalue()) is coloured
    assert ("SUCCESS shop.pay" in stream.getvalue()) is not coloured


def test_auto_is_text_on_a_terminal_and_json_elsewhere():
    assert logs.chosen("auto", Terminal()) == "text"
    assert logs.chosen("auto", io.StringIO()) == "json"
    assert logs.chosen("text", io.StringIO()) == "text"


def test_other_records_of_fnqueue_name_their_logger(logger):
    stream = io.StringIO()
    logger()
    logs.configure(format="text", level="info", stream=stream)
    logging.getLogger("fnqueue.keys").warning("the keys of before stay in use")
    assert stream.getvalue()[9:] == "fnqueue.keys: the keys of before stay in use\n"


def test_a_logger_that_the_applications_dict_config_disabled_speaks_again(logger, monkeypatch):
    stream = io.StringIO()
    logger()
    # As dictConfig does to all that are there, unless it is told disable_existing_loggers=False.
    monkeypatch.setattr(logging.getLogger("fnqueue.task"), "disabled", True)
    logs.configure(format="text", level="info", stream=stream)
    logging.getLogger("fnqueue.task").warning("heard")
    assert "heard" in stream.getvalue()
