"""One fire of a schedule: what it sends, when it is tried again, and what is told of it when it is given up.

It is kept as it was when it fired: a change of the schedule does not reach what is already on its way.
Pure: time, ids and outcomes come in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from fnqueue.broker.bodies import ILLEGAL
from fnqueue.broker.embedded.service import entries
from fnqueue.broker.embedded.service.entries import Outgoing, Value
from fnqueue.schedule.service import times
from fnqueue.schedule.service.members import Target
from fnqueue.schedule.service.names import Place

_AGE_SECONDS, _ATTEMPTS = 86_400, 185  # [G8]
#: Doubling up to here, 185 tries again and 24 hours end at about the same time.
_PAUSE_SECONDS_MAX: Final = 480.0
_ATTEMPTS_SPENT, _AGE_SPENT = "MaximumRetryAttempts", "MaximumEventAgeInSeconds"
#: What may be otherwise a moment later. All else is permanent, and is not tried again [G9].
_PASSING: Final = frozenset({"OverLimit", "RequestThrottled", "ServiceUnavailable", "InternalFailure"})
_ERROR_TEXT_MAX: Final = 1000

_encode: Final = msgspec.json.Encoder().encode


class Invocation(msgspec.Struct, kw_only=True):
    """`time`: the nominal one [G14]. `begun_at`: when it was first tried. `attempts`: how often it was tried.
    `completes`: with its end the schedule is deleted [S10]."""

    region: str
    account: str
    arn: str
    time: float
    begun_at: float
    target: Target
    attempts: int = 0
    completes: bool = False

    @property
    def place(self) -> Place:
        return Place(self.region, self.account)


class Failure(NamedTuple):
    code: str
    text: str

    @property
    def is_passing(self) -> bool:
        return self.code in _PASSING


def payload(invocation: Invocation, execution_id: str, event_id: str) -> str:
    """The Input of the try that is under way, or the notification that stands for it."""
    given = invocation.target.input
    if given is None:
        return _notification(invocation, event_id)
    return filled(given, invocation.arn, times.written(invocation.time), execution_id, invocation.attempts + 1)


def filled(text: str, arn: str, time: str, execution_id: str, attempt: int) -> str:
    """Context attributes are replaced wherever they stand, and nothing else is [G12]."""
    if "<aws.scheduler." not in text:
        return text
    known = {"schedule-arn": arn, "scheduled-time": time, "execution-id": execution_id, "attempt-number": str(attempt)}
    for name, value in known.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _notification(invocation: Invocation, event_id: str) -> str:
    """[G4]: `detail` is a text."""
    said = {
        "version": "0",
        "id": event_id,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": invocation.account,
        "time": times.written(invocation.time),
        "region": invocation.region,
        "resources": [invocation.arn],
        "detail": "{}",
    }
    return _encode(said).decode()


def again_at(invocation: Invocation, tried_at: float) -> float | str:
    """When to try again after the try of `tried_at`; or the condition that ends it [G8, G9]."""
    policy = invocation.target.retry_policy
    age = _AGE_SECONDS if policy is None or policy.age is None else policy.age
    most = _ATTEMPTS if policy is None or policy.attempts is None else policy.attempts
    retries = invocation.attempts - 1
    if retries >= most:
        return _ATTEMPTS_SPENT
    pause = min(_PAUSE_SECONDS_MAX, 2.0**retries)
    return _AGE_SPENT if tried_at + pause > invocation.begun_at + age else tried_at + pause


def dead_letter(
    invocation: Invocation, body: str, failure: Failure, exhausted: str | None, execution_id: str, bytes_max: int
) -> Outgoing:
    """[G11]"""
    said = {
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": _legal(failure.text[:_ERROR_TEXT_MAX]) or failure.code,
        "EXECUTION_ID": execution_id,
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": str(invocation.attempts - 1),
        "SCHEDULED_TIME": times.written(invocation.time),
        "SCHEDULE_ARN": invocation.arn,
        "TARGET_ARN": _legal(invocation.target.arn or ""),
    }
    if exhausted is not None:
        said["EXHAUSTED_RETRY_CONDITION"] = exhausted
    left = bytes_max - entries.size_of(_outgoing("", said))
    data = body.encode()
    if len(data) > left:
        said["IS_PAYLOAD_TRUNCATED"] = "true"  # one byte less
        body = data[: max(0, left)].decode(errors="ignore")
    return _outgoing(body, said)


def _outgoing(body: str, said: dict[str, str]) -> Outgoing:
    return Outgoing(body=body, attributes={name: Value("String", text) for name, text in said.items()})


def _legal(text: str) -> str:
    return ILLEGAL.sub("\ufffd", text)
