"""What a run's exception means for its call: again, failed, to the dead-letter queue, or revoked."""

from __future__ import annotations

from fnqueue.codec.secret import masked
from fnqueue.errors import DeadLetter, RetryLater, TaskError, TaskRevoked
from fnqueue.execution.admitting import Run
from fnqueue.execution.powers import Powers
from fnqueue.execution.texts import error_text
from fnqueue.outcome import DeadLettered, Failed, Outcome, Refused, Rescheduled


def verdict(run: Run, error: BaseException, powers: Powers) -> Outcome:
    delivery, options = run.delivery, run.task.options
    if isinstance(error, RetryLater):
        return _later(run, error, powers)
    if isinstance(error, DeadLetter):
        return DeadLettered(masked(error.reason, run.secrets()))
    if isinstance(error, TaskRevoked) and delivery.revoked:
        return Refused("REVOKED")
    if isinstance(error, KeyboardInterrupt | SystemExit):
        # Told by user code or by a signal that hit a pool thread: the task did not finish its work.
        error = RuntimeError(f"the task raised {type(error).__name__}")
    text = error_text(error, run.secrets())
    # Crashes are counted apart (max_crashes): they use up no attempt.
    tried = delivery.attempt - (delivery.record.crashes if delivery.record is not None else 0)
    if run.retry.covers(error) and tried <= run.retry.attempts and not options.at_most_once:
        wait = run.retry.seconds(max(1, tried), error, powers.draw)
        if delivery.expires_at is None or powers.clock.now() + wait < delivery.expires_at:
            return Rescheduled(wait, text)
    return Failed(text, expected=isinstance(error, options.raises))


def _later(run: Run, error: RetryLater, powers: Powers) -> Outcome:
    delivery = run.delivery
    if run.task.options.at_most_once:
        return Failed(TaskError("RetryLater", "at_most_once=True: its message is deleted, so it cannot run again"))
    if delivery.expires_at is not None and powers.clock.now() + error.delay_seconds >= delivery.expires_at:
        return Failed(TaskError("RetryLater", f"due after the call expires ({error.delay_seconds:g} s)"))
    return Rescheduled(error.delay_seconds, None, counts=not error.snooze)
