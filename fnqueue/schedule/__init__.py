"""When: EventBridge Scheduler's expressions, and the schedules that use them.

Here for users: the marks that stand in a schedule's arguments for what is known when it fires, and `parse`.
"""

from fnqueue.schedule.expression import Expression, parse
from fnqueue.schedule.schedule import SCHEDULE_NAME, SCHEDULED_TIME, Schedule

__all__ = ["SCHEDULED_TIME", "SCHEDULE_NAME", "Expression", "Schedule", "parse"]
