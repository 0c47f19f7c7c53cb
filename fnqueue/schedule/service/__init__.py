"""EventBridge Scheduler as AWS has it, whole, in the tables of one file beside the queues that it sends to."""

from fnqueue.schedule.service.names import Place
from fnqueue.schedule.service.service import ScheduleService

__all__ = ["Place", "ScheduleService"]
