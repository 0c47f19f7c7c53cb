"""A schedule as EventBridge Scheduler is asked for it: the members of CreateSchedule, and what it must not be asked.

Published is only what AWS documents. It has never said how it reads a range round the end (`FRI-MON`), `LW`, a lone
`L` among weekdays or `31W` in a shorter month: those are refused, with what to write instead, because a schedule that
AWS reads otherwise fires at times which our workers then refuse. `rate(1 minutes)` is published as `rate(1 minute)`.
Pure: knows no clock and no network.
Sources: EventBridge Scheduler API Reference, CreateSchedule; User Guide, "Schedule types"; the project's sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from fnqueue.schedule.expression import At, Cron, Expression, Rate
from fnqueue.schedule.fields import DAYS_OF_MONTH, DAYS_OF_WEEK, HOURS, MINUTES, MONTHS, YEARS, FieldKind
from fnqueue.schedule.schedule import Schedule

DESCRIPTION: Final = "Made by fnqueue schedule sync. What is changed here is changed back there."
EVENT_AGE_SECONDS: Final = (60, 86_400)
RETRY_ATTEMPTS_MAX: Final = 185
#: A start may lie so far back when a schedule is made (five minutes are AWS's limit): a time that has just come, and
#: that EventBridge has not fired yet, is not left out by an update.
START_BACK_SECONDS: Final = 240.0
#: So long after its last time nothing of a schedule is on its way any more.
OVER_SECONDS: Final = 300.0
_KINDS: Final[tuple[FieldKind, ...]] = (MINUTES, HOURS, DAYS_OF_MONTH, MONTHS, DAYS_OF_WEEK, YEARS)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where it sends, and as whom. `queue_arn`, `role_arn` may be references of a template."""

    queue_arn: Any
    role_arn: Any
    dead_letter_arn: Any = None
    message_group: str | None = None  # on a FIFO queue
    retry_attempts: int = RETRY_ATTEMPTS_MAX


def members(
    schedule: Schedule,
    expression: Expression,
    target: Target,
    *,
    text: str,
    paused: bool,
    now: datetime,
    start: datetime,
) -> dict[str, Any] | None:
    """CreateSchedule's members but for the group. `text`: the Input. None: it is over.

    `start`: a `rate()` starts with its first time from then on.
    """
    if is_over(schedule, expression, now):
        return None
    found: dict[str, Any] = {
        "Name": schedule.name,
        "Description": DESCRIPTION,
        "ScheduleExpression": written(expression),
        "ScheduleExpressionTimezone": schedule.timezone,
        "FlexibleTimeWindow": _window(schedule),
        "State": "DISABLED" if paused else "ENABLED",
        "ActionAfterCompletion": "DELETE" if schedule.delete_after_completion else "NONE",
        "Target": _target(schedule, target, text),
    }
    begins = starts(schedule, expression, now, start)
    if begins is not None:
        found["StartDate"] = begins
    if schedule.end is not None and not isinstance(expression, At):
        found["EndDate"] = schedule.end
    return found


def is_over(schedule: Schedule, expression: Expression, now: datetime) -> bool:
    since = now - timedelta(minutes=schedule.flexible_minutes, seconds=OVER_SECONDS)
    return next(expression.after(since), None) is None


def starts(schedule: Schedule, expression: Expression, now: datetime, start: datetime) -> datetime | None:
    """A `rate()` always has a start, which is one of its times: else AWS would count from whenever it was told."""
    if isinstance(expression, Rate):
        first = next(expression.after(start), None)
        return None if first is None else first.replace(microsecond=0)
    if isinstance(expression, At) or schedule.start is None or schedule.start <= now:
        return None
    return schedule.start


def written(expression: Expression) -> str:
    """The expression's text; of a rate, with its unit in the number that AWS asks for."""
    if isinstance(expression, Rate):
        return f"rate({expression.count} {expression.unit}{'' if expression.count == 1 else 's'})"
    return expression.text


def _window(schedule: Schedule) -> dict[str, Any]:
    if not schedule.flexible_minutes:
        return {"Mode": "OFF"}
    return {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": schedule.flexible_minutes}


def _target(schedule: Schedule, target: Target, text: str) -> dict[str, Any]:
    low, high = EVENT_AGE_SECONDS
    age = low if schedule.misfire == "skip" else min(high, max(low, int(schedule.misfire_within_seconds)))
    found: dict[str, Any] = {
        "Arn": target.queue_arn,
        "RoleArn": target.role_arn,
        "Input": text,
        "RetryPolicy": {"MaximumEventAgeInSeconds": age, "MaximumRetryAttempts": target.retry_attempts},
    }
    if target.dead_letter_arn is not None:
        found["DeadLetterConfig"] = {"Arn": target.dead_letter_arn}
    if target.message_group is not None:
        found["SqsParameters"] = {"MessageGroupId": target.message_group}
    return found


# ------------------------------------------------------------------ what AWS has not said


def unconfirmed(expression: Expression) -> list[str]:
    """What AWS might read otherwise than we do, each with what to write instead. Not to be published."""
    if not isinstance(expression, Cron):
        return []
    texts = expression.text[len("cron(") : -1].split(" ")
    found = [fault for kind, text in zip(_KINDS, texts, strict=True) if (fault := _round_the_end(kind, text))]
    of_month, of_week = texts[2], texts[4]
    if of_month == "LW":
        found.append("day-of-month LW: AWS does not name it; write L, or a weekday of the last week, as ? and 6L")
    if of_month.endswith("W") and of_month[:-1].isdigit() and int(of_month[:-1]) > 28:
        found.append(f"day-of-month {of_month}: AWS does not say what it is in a shorter month; write 28W, or L")
    if of_week == "L":
        found.append("day-of-week L: AWS does not say which day it is; write SAT")
    return found


def doubtful(expression: Expression) -> list[str]:
    """What AWS does not say either, and what costs at most the repeated hour of a clock change."""
    if isinstance(expression, Cron) and expression.timezone != "UTC" and len(expression.fields.times) > 1:
        hours = {each.hour for each in expression.fields.times}
        if len(hours) > 12:
            return [
                f"{expression.text} in {expression.timezone}: AWS does not say whether it fires in the hour that a "
                "clock change repeats. Our workers let it through once; use UTC, or rate(), where that matters"
            ]
    return []


def _round_the_end(kind: FieldKind, text: str) -> str | None:
    if "-" not in text or text == "?":
        return None
    parts = kind.parts(text)
    if all(part.first <= part.last for part in parts):
        return None
    names = {number: name for name, number in kind.names.items()}
    listed = ",".join(names.get(number, str(number)) for number in kind.numbers(parts))
    return f"{kind.name} {text}: AWS does not say that a range may go round the end; write {listed}"
