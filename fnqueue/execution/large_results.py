"""A result that no record has room for is put where large contents are, before the record that leads to it.

By the thread that ran the task, not by the one that settles: a slow bucket keeps nobody else waiting. The work is done
whatever becomes of its value, so a place that fails ends no task and has none run again.
"""

from __future__ import annotations

import logging

from fnqueue import quotas
from fnqueue.errors import BlobsUnavailable
from fnqueue.execution.admitting import Run
from fnqueue.execution.powers import Powers
from fnqueue.outcome import Outcome, Succeeded
from fnqueue.state.results import KEEP_SECONDS_MIN

#: Beside it in its record are the principal, the digest of the call, and what the seal adds.
LARGE = quotas.FIELD_BYTES_MAX - 8192
_DAY_SECONDS = 86_400
_log = logging.getLogger("fnqueue.blobs")


def is_large(outcome: Outcome, powers: Powers) -> bool:
    if not isinstance(outcome, Succeeded) or len(outcome.value) <= LARGE:
        return False
    # `apply` writes no record, and gives back the value itself.
    return powers.blobs is not None and powers.results is not None and powers.write is not None


def kept(outcome: Outcome, run: Run, powers: Powers) -> Outcome:
    """The same with a reference in the value's place, if it can be had."""
    seconds = run.task.options.keep_result_seconds
    assert isinstance(outcome, Succeeded)
    if powers.blobs is None or seconds <= 0 or len(outcome.value) > quotas.BLOB_BYTES_MAX:
        return outcome
    try:
        reference = powers.blobs.keep(outcome.value, seconds=max(seconds, KEEP_SECONDS_MIN) + _DAY_SECONDS)
    except BlobsUnavailable as error:
        _log.warning("%s %s succeeded, and its large result is lost: %s", run.task.name, run.delivery.id, error)
        return outcome
    return Succeeded(b"", reference)
