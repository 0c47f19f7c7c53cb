"""One log line per task end, and one per trouble: a subscriber of events.

    12:04:31 SUCCESS shop.tasks.thumbnail 212 ms, waited 31 ms, attempt 1, 06f2...
    {"at": "...", "level": "info", "event": "TaskSucceeded", "task": ..., "duration_seconds": 0.212, ...}

The records go to the loggers `fnqueue.task`, `fnqueue.message` and `fnqueue.worker`, each with the event's fields as
`record.fnqueue`. Refusals, but for those of time and of repetition, go to `fnqueue.audit`, as all that the audit tells
(audit/telling.py), and what was deleted for being hostile with the SHA-256 of its body: give that logger a handler of
its own to keep these. Handlers are added only where the application
configured none (`configure`). Never an argument, never a result; of an exception its type, its text and its frames,
without locals.
Knows events; knows nothing of who runs tasks.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from typing import IO, Any, Literal

from fnqueue.audit.telling import ROUTINE
from fnqueue.clock import to_datetime
from fnqueue.events import (
    EngineRecovered,
    EngineTrouble,
    Events,
    LeaseLost,
    MessageRefused,
    ScheduleFired,
    ScheduleSkipped,
    TaskDeadLettered,
    TaskEnded,
    TaskFailed,
    TaskReleased,
    TaskRescheduled,
    TaskSucceeded,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from fnqueue.outcome import HOSTILE
from fnqueue.settings import foreign_environment

Format = Literal["auto", "text", "json"]
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_COLOURS = {logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31"}
_task = logging.getLogger("fnqueue.task")
_message = logging.getLogger("fnqueue.message")
_audit = logging.getLogger("fnqueue.audit")
_worker = logging.getLogger("fnqueue.worker")
_schedule = logging.getLogger("fnqueue.schedule")


# ---------------------------------------------------------------- subscribing


def subscribe(events: Events, *, format: str) -> Callable[[], None]:
    """Log every event that an operator reads, down to the loggers' levels of now. Returns a function that ends it.

    `format`: in "json" the frames of a failure stay a field; in text they follow the line.
    """
    inline = chosen(format, sys.stderr) == "text"
    # What no level lets through is not listened to, so that nobody makes an event of every success for nothing.
    told = [
        (event, _teller(logger, level, text, inline))
        for event, logger, level, text in _TABLE
        if event is not TaskSucceeded or logger.isEnabledFor(logging.INFO)
    ]
    offs = [events.on(event, tell) for event, tell in told]
    return lambda: _all_off(offs)


def configure(*, format: str, level: str, stream: IO[str] | None = None) -> logging.Handler | None:
    """A handler for the logger `fnqueue`, and its level. None when the application has handlers: they are enough."""
    logger, out = logging.getLogger("fnqueue"), stream or sys.stderr
    _enable_all()
    logger.setLevel(LEVELS[level])
    if logger.hasHandlers():
        return None
    handler = logging.StreamHandler(out)
    coloured = bool(getattr(out, "isatty", lambda: False)()) and not foreign_environment("NO_COLOR")
    handler.setFormatter(JsonFormatter() if chosen(format, out) == "json" else TextFormatter(coloured=coloured))
    logger.addHandler(handler)
    return handler


def _enable_all() -> None:
    """`dictConfig` disables every logger that is there and that it does not name, unless it is told not to. An
    application that configures its logs after it imported us would have a worker that says nothing, of failures too."""
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.partition(".")[0] == "fnqueue" and isinstance(logger, logging.Logger):
            logger.disabled = False


def chosen(format: str, stream: Any) -> Literal["text", "json"]:
    """ "auto" is text on a terminal and JSON elsewhere."""
    if format == "auto":
        return "text" if getattr(stream, "isatty", lambda: False)() else "json"
    return "json" if format == "json" else "text"


def _all_off(offs: Iterable[Callable[[], None]]) -> None:
    for off in offs:
        off()


def _teller(
    usual: logging.Logger, level: Callable[[Any], int], text: Callable[[Any], str], inline: bool
) -> Callable[[Any], None]:
    def tell(event: Any) -> None:
        number, logger = level(event), _audit if _is_for_audit(event) else usual
        if logger.isEnabledFor(number):
            line = text(event) + (_frames(event) if inline else "")
            logger.log(number, "%s", line, extra={"fnqueue": _fields(event)})

    return tell


# ---------------------------------------------------------------- texts


def _succeeded(event: TaskSucceeded) -> str:
    return f"SUCCESS {_run(event)}"


def _rescheduled(event: TaskRescheduled) -> str:
    why = f": {event.error_type}: {one_line(event.error_message or '')}" if event.error_type else ""
    return f"RETRY in {_seconds(event.delay_seconds)} {_run(event)}{why}"


def _failed(event: TaskFailed) -> str:
    kept = ", kept in the dead-letter queue" if event.dead_letter else ""
    return f"FAILURE {_run(event)}: {event.error_type}: {one_line(event.error_message)}{kept}"


def _dead_lettered(event: TaskDeadLettered) -> str:
    return f"DEAD-LETTERED {_run(event)}: {one_line(event.reason)}"


def _released(event: TaskReleased) -> str:
    return f"GIVEN BACK {_run(event)}: the worker stops"


#: What to do about a refusal that is most likely nobody's malice: web and worker do not agree.
_ADVICE = {
    "TASK_NOT_SERVED": "deploy workers before the web, or name the module with the task in FNQUEUE_IMPORTS",
    "DECODE": "the caller has another version of the function: deploy workers before the web, and give new parameters "
    "a default",
    "UNKNOWN_KEY": "give web and worker the same keys (fnqueue keys list)",
    "CONTEXT": "give web and worker the same FNQUEUE_ENVIRONMENT, or queues of their own",
}


def _refused(event: MessageRefused) -> str:
    who = " ".join(part for part in (event.task, event.id) if part) or "a message"
    detail = f": {one_line(event.detail)}" if event.detail else ""
    if event.code in _ADVICE:
        detail = f"{detail.removesuffix('.')}; {_ADVICE[event.code]}"
    lost = event.fate == "deleted" and event.code in HOSTILE
    gone = f"; its body had SHA-256 {event.body_sha256}" if lost else ""
    return f"REFUSED {event.code}, {event.fate}: {who} in {event.queue}{detail}{gone}"


def _is_for_audit(event: Any) -> bool:
    return isinstance(event, MessageRefused) and event.code not in ROUTINE


def _tasks_run(running: int) -> str:
    return "1 task runs" if running == 1 else f"{running} tasks run"


def _lease_lost(event: LeaseLost) -> str:
    who = " ".join(part for part in (event.task, event.id) if part) or "a message"
    return f"LEASE LOST {who} in {event.queue}: its visibility is over, so it may run elsewhere; nothing is stored"


def _fired(event: ScheduleFired) -> str:
    return f"{event.schedule} of {event.time} fired {event.task} {event.id}, {_seconds(event.late_seconds)} later"


def _skipped(event: ScheduleSkipped) -> str:
    return f"{event.schedule} of {event.time} does not call {event.task}: {one_line(event.reason)}"


def _trouble(event: EngineTrouble) -> str:
    where = f" {event.queue}" if event.queue else ""
    return f"{event.what}{where}: {one_line(event.error)}; again in {_seconds(event.retry_seconds)}"


def _recovered(event: EngineRecovered) -> str:
    return f"{event.what}{f' {event.queue}' if event.queue else ''}: works again"


def _run(event: TaskEnded) -> str:
    """Task, duration, wait, attempt, id: what every end of a run has."""
    parts = [f"{event.task} {_seconds(event.duration_seconds)}" if event.duration_seconds is not None else event.task]
    if event.wait_seconds is not None:
        parts.append(f"waited {_seconds(event.wait_seconds)}")
    # None began where the user could not be loaded, or the policy not be asked: neither is an attempt.
    return ", ".join([*parts, f"attempt {event.attempt}" if event.attempt else "no attempt yet", event.id])


def _frames(event: Any) -> str:
    if not isinstance(event, TaskFailed) or event.expected or not event.frames:
        return ""
    return "\n" + "\n".join(event.frames)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def one_line(text: str) -> str:
    """Without control characters: what a stranger, or an exception, says must not forge a line or steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


# ---------------------------------------------------------------- the table


def _always(level: int) -> Callable[[Any], int]:
    return lambda event: level


def _failure_level(event: TaskFailed) -> int:
    return logging.WARNING if event.expected else logging.ERROR


_TABLE: tuple[tuple[type[Any], logging.Logger, Callable[[Any], int], Callable[[Any], str]], ...] = (
    (TaskSucceeded, _task, _always(logging.INFO), _succeeded),
    (TaskRescheduled, _task, _always(logging.WARNING), _rescheduled),
    (TaskFailed, _task, _failure_level, _failed),
    (TaskDeadLettered, _task, _always(logging.ERROR), _dead_lettered),
    (TaskReleased, _task, _always(logging.INFO), _released),
    (MessageRefused, _message, _always(logging.WARNING), _refused),
    (LeaseLost, _message, _always(logging.WARNING), _lease_lost),
    (WorkerStarted, _worker, _always(logging.DEBUG), lambda event: f"started, on {', '.join(event.queues)}"),
    (WorkerStopping, _worker, _always(logging.INFO), lambda event: f"stopping: {_tasks_run(event.running)}"),
    (WorkerStopped, _worker, _always(logging.INFO), lambda event: f"stopped; {event.released} given back"),
    (ScheduleFired, _schedule, _always(logging.INFO), _fired),
    (ScheduleSkipped, _schedule, _always(logging.WARNING), _skipped),
    (EngineTrouble, _worker, _always(logging.WARNING), _trouble),
    (EngineRecovered, _worker, _always(logging.INFO), _recovered),
)


# ---------------------------------------------------------------- formats


def _fields(event: Any) -> dict[str, Any]:
    named = {name: getattr(event, name) for name in event.__struct_fields__}
    return {"event": type(event).__name__, **{name: value for name, value in named.items() if value is not None}}


class TextFormatter(logging.Formatter):
    """Time of day and text. `coloured`: by level, for a terminal."""

    def __init__(self, *, coloured: bool = False) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if not hasattr(record, "fnqueue"):
            return line.replace(record.message, f"{record.name}: {record.message}", 1)
        word = record.message.partition(" ")[0]
        if self._coloured and word.isupper():
            return line.replace(word, f"\033[{_COLOURS.get(record.levelno, '0')}m{word}\033[0m", 1)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at (ISO 8601, UTC), level, logger, text, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        made: dict[str, Any] = {
            "at": to_datetime(record.created).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
            **getattr(record, "fnqueue", {}),
        }
        if record.exc_info:
            made["traceback"] = self.formatException(record.exc_info)
        return json.dumps(made, ensure_ascii=False, default=str)
