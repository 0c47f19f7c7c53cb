"""When a schedule fires: its first time, the one after a time, and the moment that a time is fired at.

A time is nominal: the next one is counted from it and not from when it fired [N2], so a tick that is late loses none.
After a time without any server recurring schedules do not catch up (`resumed`) [N1].
Pure: knows no clock and no tables. Unix seconds go in and come out.
"""

from __future__ import annotations

import functools
import hashlib
from datetime import timedelta
from typing import Final

from fnqueue.clock import to_datetime
from fnqueue.errors import ExpressionInvalid
from fnqueue.schedule.expression import At, Expression, Rate, parse
from fnqueue.schedule.service.members import Schedule
from fnqueue.schedule.service.names import refuse

#: EventBridge fires within the minute [G17]: what came up in the last one is not over yet.
GRACE_SECONDS: Final = 60.0
#: Of the calendar: 9999-12-31T23:59:59Z.
LAST: Final = 253_402_300_799
_MOMENT: Final = timedelta(microseconds=1)


def expression_of(schedule: Schedule, anchor: float | None = None) -> Expression:
    """`anchor`: what `rate()` counts from where there is no StartDate. Raises BrokerRefused."""
    text, zone = schedule.schedule_expression or "", schedule.schedule_expression_timezone or "UTC"
    start = anchor if is_counted(schedule) else schedule.start_date
    end = schedule.end_date
    if text.startswith("at("):  # [S6]
        start = end = None
    bounds = [None if each is None else to_datetime(each) for each in (start, end)]
    try:
        return _parsed(text, zone, *bounds)
    except ExpressionInvalid as error:
        if error.field == "timezone":
            refuse(f"Invalid Schedule Expression Timezone {zone}.")
        refuse(f"Invalid Schedule Expression {text}.")


def check_dates(schedule: Schedule) -> None:
    """Raises BrokerRefused for what is in no calendar."""
    for name, value in (("startDate", schedule.start_date), ("endDate", schedule.end_date)):
        if value is not None and not 0 <= value <= LAST:
            refuse(
                f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
                "Member must be a time from 1970 to 9999"
            )


def is_counted(schedule: Schedule) -> bool:
    """Whether it is a rate that counts from no StartDate."""
    return schedule.start_date is None and (schedule.schedule_expression or "").startswith("rate(")


def anchor_of(expression: Expression, now: float, *, made: bool) -> int:
    """What a rate without StartDate counts from: it fires at once when it is made [S16], and a changed or enabled one
    when its time has passed [X6, X7]."""
    later = 0.0 if made or not isinstance(expression, Rate) else expression.every.total_seconds()
    return min(int(now + later), LAST)


def first(schedule: Schedule, expression: Expression, now: float, *, pending: float | None, last: float | None) -> (
    float | None
):  # fmt: skip
    """From now on [N5]. `pending`: a time that is due and has not fired yet. `last`: the last one that has.

    A one-time schedule and a StartDate may name what came up in the last minute: it still fires.
    """
    if schedule.state == "DISABLED":  # [S5]
        return None
    since = now if pending is None else min(now, pending)
    if is_counted(schedule):
        since = min(since, expression.start.timestamp() if expression.start else now)
    elif isinstance(expression, At | Rate):
        since = min(since, now - GRACE_SECONDS)
    found = _from(expression, since)
    return following(expression, last) if found is not None and last is not None and found <= last else found


def following(expression: Expression, time: float) -> float | None:
    found = next(expression.after(to_datetime(time)), None)
    return None if found is None else found.timestamp()


def resumed(schedule: Schedule, expression: Expression, time: float, now: float) -> float | None:
    """The next time after none was looked at until `now`: of a recurring schedule, what is over is skipped [N1]."""
    if isinstance(expression, At) or not is_over(schedule, time, now):
        return time
    return _from(expression, now - GRACE_SECONDS - _window_seconds(schedule))


def is_over(schedule: Schedule, time: float, now: float) -> bool:
    return time + _window_seconds(schedule) + GRACE_SECONDS < now


def due_at(arn: str, schedule: Schedule, time: float) -> float:
    """When the fire of `time` is to happen: in its flexible window always at the same moment, whoever asks [S8]."""
    window = _window_seconds(schedule)
    if not window:
        return time
    digest = hashlib.sha256(f"{arn} {time}".encode()).digest()
    return time + int.from_bytes(digest[:8], "big") % window


def completes(schedule: Schedule, expression: Expression) -> bool:
    """Whether it is to be deleted after its last time [S9]."""
    ends = isinstance(expression, At) or schedule.end_date is not None
    return ends and schedule.action_after_completion == "DELETE"


def written(time: float) -> str:
    """As in `<aws.scheduler.scheduled-time>` [G12]."""
    return to_datetime(time).strftime("%Y-%m-%dT%H:%M:%SZ")


#: Many schedules have few expressions. One of each minute holds 70 KB of times, so these are 9 MB at most.
_parsed: Final = functools.lru_cache(maxsize=128)(parse)


def _from(expression: Expression, since: float) -> float | None:
    found = next(expression.after(to_datetime(max(0.0, since)) - _MOMENT), None)
    return None if found is None else found.timestamp()


def _window_seconds(schedule: Schedule) -> int:
    window = schedule.flexible_time_window
    return 60 * (window.minutes or 0) if window is not None and window.mode == "FLEXIBLE" else 0
