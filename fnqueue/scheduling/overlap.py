"""Whether the call of an earlier time of a schedule still runs: what `overlap="skip"` asks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fnqueue.runtime import Runtime
from fnqueue.schedule.schedule import Schedule
from fnqueue.security.ids import milliseconds
from fnqueue.state.results import TERMINAL
from fnqueue.task.task import Task


def runs_still(runtime: Runtime, task: Task[Any, Any, Any], schedule: Schedule, last_id: str, now: datetime) -> bool:
    results = runtime.results
    if not last_id or results is None:
        return False
    record = results.read(last_id)
    if record is not None and record.readable:
        return record.state not in TERMINAL
    # Nothing is recorded of a call before it ends, or has run for a while: it is in the queue, until it expires.
    expires = schedule.options.get("expires_seconds") or task.options.expires_seconds
    return now.timestamp() < milliseconds(last_id) / 1000 + float(expires)
