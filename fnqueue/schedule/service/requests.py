"""What goes over more than one member of a schedule that is to be made or changed, and what is kept of it.

Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fnqueue.schedule.service import targets, times
from fnqueue.schedule.service.invocation import filled
from fnqueue.schedule.service.members import PutSchedule, Schedule
from fnqueue.schedule.service.names import Place, refuse

_START_BACK_SECONDS: Final = 300.0
_KEPT: Final = tuple(field.name for field in msgspec.structs.fields(Schedule))


def checked(place: Place, asked: PutSchedule, now: float, *, before: Schedule | None) -> Schedule:
    """`before`: the schedule that it takes the place of; its dates may stay. Raises BrokerRefused."""
    times.check_dates(asked)
    _check_dates(asked, now, before)  # first: an expression that ends before it starts is none
    times.expression_of(asked)
    _check_window(asked)
    assert asked.target is not None  # it was looked at member by member
    targets.check(place, asked.target, _sample(asked, place))
    return Schedule(**{name: getattr(asked, name) for name in _KEPT})


def _check_dates(asked: PutSchedule, now: float, before: Schedule | None) -> None:
    """[S7]. A schedule that is as old as its StartDate can be changed and keep it."""
    start, end = asked.start_date, asked.end_date
    if (asked.schedule_expression or "").startswith("at("):  # [S6]
        return
    if start is not None and start < now - _START_BACK_SECONDS and (before is None or start != before.start_date):
        refuse("The StartDate you specify cannot be earlier than 5 minutes ago.")
    if end is not None and start is not None and end < start:
        refuse("The EndDate you specify cannot be earlier than the StartDate.")
    if end is not None and end < now and (before is None or end != before.end_date):
        refuse("The EndDate you specify cannot be in the past.")


def _check_window(asked: PutSchedule) -> None:
    """[S8]"""
    window = asked.flexible_time_window
    assert window is not None
    if window.mode == "FLEXIBLE" and window.minutes is None:
        refuse("A FlexibleTimeWindow that is FLEXIBLE needs MaximumWindowInMinutes.")
    if window.mode == "OFF" and window.minutes is not None:
        refuse("A FlexibleTimeWindow that is OFF has no MaximumWindowInMinutes.")


def _sample(asked: PutSchedule, place: Place) -> str:
    """An Input as it might be sent."""
    assert asked.target is not None
    arn = place.schedule_arn(asked.group_name or "default", asked.name or "")
    return filled(asked.target.input or "{}", arn, times.written(0), "0" * 16, 1)
