"""What a schedule may send to, and what its Input becomes there.

SQS is served: by the ARN of a queue (SendMessage with the Input as its body, verbatim) and as the universal target
`aws-sdk:sqs:sendMessage`, whose Input is the request. All other services that EventBridge Scheduler knows are taken and
kept, because a template that names them should deploy here too; when they fire, that is told as a failure.
Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from fnqueue.broker.embedded.service.address import Address, of_arn, of_url
from fnqueue.broker.embedded.service.entries import Outgoing, Value
from fnqueue.broker.names import is_fifo
from fnqueue.schedule.service.members import Target
from fnqueue.schedule.service.names import Place, refuse

INPUT_BYTES_MAX: Final = 262_144  # [G5]
_ARN: Final = re.compile(r"arn:aws[a-z-]*:([a-z0-9-]+):[a-z0-9-]*:([0-9]{12})?:.+", re.DOTALL)
_UNIVERSAL: Final = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-zA-Z0-9-]+):([a-zA-Z0-9]+)")
#: [G2]
_TEMPLATED: Final = frozenset(
    {
        *("sqs", "lambda", "sns", "states", "events", "kinesis", "firehose", "ecs", "sagemaker", "codebuild"),
        *("codepipeline", "inspector"),
    }
)
_WANT_JSON: Final = frozenset({"lambda", "states", "events"})  # [G5]
_READS: Final = (  # [G7]
    *("get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read", "lookup", "discover"),
    *("validate", "batchGet", "batchDescribe", "batchRead", "transactGet", "adminGet", "adminList", "testMigration"),
    *("retrieve", "testConnection", "translateDocument", "isAuthorized", "invokeModel"),
)
_SEND: Final = ("sqs", "sendMessage")


class NotServed(Exception):
    """The target is of a service that is not here."""


class _Value(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


class _SendMessage(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, kw_only=True):
    """SendMessage's request, in PascalCase [G6]."""

    queue_url: str
    message_body: str
    delay_seconds: int | None = None
    message_group_id: str | None = None
    message_deduplication_id: str | None = None
    message_attributes: dict[str, _Value] = {}
    message_system_attributes: dict[str, _Value] = {}


_decode: Final = msgspec.json.Decoder(_SendMessage).decode


def check(place: Place, target: Target, sample: str) -> None:
    """`sample`: an Input as it might be sent. Raises BrokerRefused, ValidationException."""
    arn, given = target.arn or "", target.input
    if given is not None and len(given.encode(errors="replace")) > INPUT_BYTES_MAX:
        refuse(f"The Input of the target is longer than {INPUT_BYTES_MAX} bytes.")
    universal = _UNIVERSAL.fullmatch(arn)
    if universal:
        _check_universal(universal[1], universal[2], sample)
    else:
        _check_templated(target, given, sample)
    dead = target.dead_letter_config
    if dead is not None and dead.arn is not None:
        queue = of_arn(dead.arn)
        if queue is None or queue.region != place.region:  # [G10]
            refuse(f"The dead-letter queue {dead.arn} must be a standard queue in {place.region}, as the schedule is.")


def _check_universal(service: str, action: str, sample: str) -> None:
    if action.startswith(_READS):
        refuse(f"The action {service}:{action} reads, and is not supported as a target.")
    if (service, action) == _SEND:
        try:
            _decode(sample)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            refuse(f"Invalid RequestJson provided. Reason: {error}")


def _check_templated(target: Target, given: str | None, sample: str) -> None:
    arn = target.arn or ""
    found = _ARN.fullmatch(arn)
    service = found[1] if found else ""
    if service not in _TEMPLATED or (service == "sqs" and of_arn(arn) is None):
        refuse("Provided Arn is not in correct format.")
    if given is not None and service in _WANT_JSON and not _is_json(sample):
        refuse(f"The Input of a target of {service} must be JSON.")
    parameters = target.sqs_parameters
    if service == "sqs" and is_fifo(arn) and (parameters is None or parameters.message_group_id is None):  # [G3]
        refuse("A FIFO queue as a target needs SqsParameters with a MessageGroupId.")


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


# ------------------------------------------------------------------ what is sent


def message(place: Place, target: Target, payload: str) -> tuple[Address, Outgoing]:
    """Where to, and what. Raises NotServed, and BrokerRefused for an Input that is no request any more."""
    arn = target.arn or ""
    queue = of_arn(arn)
    if queue is not None:
        group = target.sqs_parameters.message_group_id if target.sqs_parameters else None
        return queue, Outgoing(body=payload, group=group)
    universal = _UNIVERSAL.fullmatch(arn)
    if universal is None or universal.groups() != _SEND:
        raise NotServed(f"the emulator serves only SQS as a target, and not {arn}")
    try:
        asked = _decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        refuse(f"Invalid RequestJson provided. Reason: {error}")
    address = of_url(asked.queue_url, place.region, place.account)
    if address is None:
        refuse("The specified queue does not exist.", "QueueDoesNotExist")
    return address, Outgoing(
        body=asked.message_body,
        delay_seconds=asked.delay_seconds,
        group=asked.message_group_id,
        dedupe=asked.message_deduplication_id,
        attributes=_values(asked.message_attributes),
        system=_values(asked.message_system_attributes),
    )


def _values(given: dict[str, _Value]) -> dict[str, Any]:
    return {name: Value(each.data_type, each.string_value, each.binary_value) for name, each in given.items()}
