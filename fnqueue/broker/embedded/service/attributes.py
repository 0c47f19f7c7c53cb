"""A queue's attributes as SQS has them: texts with names, limits, defaults, and rules between them.

Kept is what was set, as a dict of texts; what a queue shows is the defaults with that over them (C7). Rows in
brackets are those of the specification sheet.
Knows nothing of tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from fnqueue import quotas
from fnqueue.broker.embedded.queues import Settings
from fnqueue.broker.embedded.service.address import Address, of_arn, refuse, refuse_value
from fnqueue.broker.names import is_fifo

INVALID_NAME = "InvalidAttributeName"
INVALID_ATTRIBUTE = "InvalidAttributeValue"

_NUMBERS = {
    "DelaySeconds": (0, quotas.DELAY_SECONDS_MAX),  # L5
    "MaximumMessageSize": (1024, quotas.BODY_BYTES_MAX),  # L2
    "MessageRetentionPeriod": (quotas.RETENTION_SECONDS_MIN, quotas.RETENTION_SECONDS_MAX),  # L8
    "ReceiveMessageWaitTimeSeconds": (0, quotas.WAIT_TIME_SECONDS_MAX),  # L7
    "VisibilityTimeout": (0, quotas.VISIBILITY_SECONDS_MAX),  # L6
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),  # L21
}
_CHOICES = {
    "SqsManagedSseEnabled": ("true", "false"),
    "FifoQueue": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_FIFO_ONLY = ("ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_TEXTS = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")
_COUNTERS = ("", "Delayed", "NotVisible")
READ_ONLY = {
    *("QueueArn", "CreatedTimestamp", "LastModifiedTimestamp"),
    *(f"ApproximateNumberOfMessages{which}" for which in _COUNTERS),
}
KNOWN = {"All", *_NUMBERS, *_CHOICES, *_TEXTS, *READ_ONLY}

_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": str(quotas.BODY_BYTES_MAX),
    "MessageRetentionPeriod": str(quotas.RETENTION_SECONDS_DEFAULT),
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
_FIFO_DEFAULTS = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_KMS = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")
_KMS_REUSE_DEFAULT = "300"
_DIGITS = re.compile(r"[0-9]{1,9}")
_POLICY_BYTES_MAX = 8192  # L19
_SOURCES_MAX = 10  # D7


def shown(options: Mapping[str, str], *, fifo: bool) -> dict[str, str]:
    """All that is set, without what is counted."""
    return {**_DEFAULTS, **(_FIFO_DEFAULTS if fifo else {}), **options}


def merged(options: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The options once these are set, which were checked. An empty text takes an attribute away (C8)."""
    after = {**options, **given}
    if given.get("SqsManagedSseEnabled") == "true":  # A5
        after = {name: value for name, value in after.items() if name not in _KMS}
    elif given.get("KmsMasterKeyId"):
        after["SqsManagedSseEnabled"] = "false"
    if after.get("KmsDataKeyReusePeriodSeconds") == _KMS_REUSE_DEFAULT:  # A6
        del after["KmsDataKeyReusePeriodSeconds"]
    return {name: value for name, value in after.items() if value != ""}


def settings(options: Mapping[str, str], *, fifo: bool) -> Settings:
    """What the engine's own columns are."""
    values = shown(options, fifo=fifo)
    target, most = redrive(options)
    return Settings(
        visibility_seconds=int(values["VisibilityTimeout"]),
        delay_seconds=int(values["DelaySeconds"]),
        retention_seconds=int(values["MessageRetentionPeriod"]),
        wait_time_seconds=int(values["ReceiveMessageWaitTimeSeconds"]),
        content_deduplication=values.get("ContentBasedDeduplication") == "true",
        dead_letter_queue=None if target is None else target.full,
        max_receive_count=most,
    )


def max_bytes(options: Mapping[str, str]) -> int:
    return int(options.get("MaximumMessageSize", quotas.BODY_BYTES_MAX))


# ------------------------------------------------------------------ checks


def check_given(address: Address, given: Mapping[str, str], *, creating: bool) -> None:
    """What can be said of the attributes without looking at other queues. Raises BrokerRefused."""
    fifo = is_fifo(address.name)
    for name, value in given.items():
        _check_name(name, value, fifo=fifo, creating=creating)
        if name in _NUMBERS:
            _check_number(name, value)
        elif name in _CHOICES and value not in _CHOICES[name]:
            refuse(f"Invalid value for the parameter {name}.", INVALID_ATTRIBUTE)
        elif name == "Policy" and value:
            _check_policy(value)
    if given.get("KmsMasterKeyId") and given.get("SqsManagedSseEnabled") == "true":  # A5
        refuse(
            "You can use one type of server-side encryption (SSE) at one time. "
            "You can either enable KMS SSE or SQS SSE.",
            INVALID_NAME,
        )
    if given.get("RedrivePolicy"):
        target, _ = redrive(given)
        assert target is not None
        _check_target(address, target, given["RedrivePolicy"])
    if given.get("RedriveAllowPolicy"):
        allowed(given["RedriveAllowPolicy"])


def check_together(options: Mapping[str, str], *, fifo: bool) -> None:
    """A12, of the attributes as they would be."""
    values = shown(options, fifo=fifo)
    if values.get("FifoThroughputLimit") == "perMessageGroupId" and values["DeduplicationScope"] != "messageGroup":
        refuse(
            "The perMessageGroupId value of FifoThroughputLimit is allowed only when the value of "
            "DeduplicationScope is messageGroup.",
            INVALID_NAME,
        )


def _check_name(name: str, value: str, *, fifo: bool, creating: bool) -> None:
    if name not in KNOWN or name in READ_ONLY or name == "All":  # A2
        refuse(f"Unknown Attribute {name}.", INVALID_NAME)
    if name == "FifoQueue":
        _check_fifo(value, fifo=fifo, creating=creating)
    if name in _FIFO_ONLY and not fifo:  # C4
        if name == "ContentBasedDeduplication":
            refuse(f"Unknown Attribute {name}.", INVALID_NAME)
        refuse(f"You can specify the {name} only when FifoQueue is set to true.", INVALID_NAME)


def _check_fifo(value: str, *, fifo: bool, creating: bool) -> None:
    if creating and fifo:
        return
    if fifo and value == "false":  # A3
        why = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
        refuse(why, INVALID_ATTRIBUTE)
    refuse("Unknown Attribute FifoQueue.", INVALID_NAME)


def _check_number(name: str, value: str) -> None:
    low, high = _NUMBERS[name]
    if not _DIGITS.fullmatch(value) or not low <= int(value) <= high:  # A4
        refuse(f"Invalid value for the parameter {name}.", INVALID_ATTRIBUTE)


def _check_policy(text: str) -> None:
    if len(text.encode()) > _POLICY_BYTES_MAX or _object(text) is None:
        refuse("Invalid value for the parameter Policy.", INVALID_ATTRIBUTE)


def _check_target(address: Address, target: Address, text: str) -> None:  # D6
    if (target.region, target.account) != (address.region, address.account):
        refuse_value(text, "RedrivePolicy", "Dead-letter target must be in the queue's own region and account.")
    if is_fifo(target.name) != is_fifo(address.name):
        refuse_value(text, "RedrivePolicy", "Dead-letter target must be of the same type, FIFO or standard.")


# ------------------------------------------------------------------ redrive policies


def redrive(options: Mapping[str, str]) -> tuple[Address | None, int | None]:
    """Where dead letters go, and after how many receives (D1). Raises BrokerRefused."""
    text = options.get("RedrivePolicy")
    if not text:
        return None, None
    policy = _object(text)
    if policy is None:
        refuse_value(text, "RedrivePolicy", "Redrive policy is not a valid JSON map.")
    for part in ("deadLetterTargetArn", "maxReceiveCount"):
        if part not in policy:
            refuse_value(text, "RedrivePolicy", f"Redrive policy does not contain mandatory attribute: {part}.")
    target = of_arn(str(policy["deadLetterTargetArn"]))
    if target is None:
        refuse_value(text, "RedrivePolicy", "Invalid value for deadLetterTargetArn.")
    most = policy["maxReceiveCount"]  # L20: a number, or the text of one
    count = most if isinstance(most, int) and not isinstance(most, bool) else _number(most)
    if count is None or not 1 <= count <= quotas.RECEIVE_COUNT_MAX:
        why = f"Invalid value for maxReceiveCount: {most}, valid values are from 1 to 1000 both inclusive."
        refuse_value(text, "RedrivePolicy", why)
    return target, count


def allowed(text: str) -> tuple[str, list[str]]:
    """Of a RedriveAllowPolicy, its permission and the sources it names (D7). Raises BrokerRefused."""
    policy = _object(text) or {}
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns", [])
    if permission not in ("allowAll", "denyAll", "byQueue"):
        refuse_value(text, "RedriveAllowPolicy", "redrivePermission must be allowAll, denyAll or byQueue.")
    if not isinstance(sources, list) or any(of_arn(str(source)) is None for source in sources):
        refuse_value(text, "RedriveAllowPolicy", "sourceQueueArns must be a list of ARNs of queues.")
    if (permission == "byQueue") != bool(sources) or len(sources) > _SOURCES_MAX:
        why = "sourceQueueArns has 1 to 10 entries with byQueue, and is absent otherwise."
        refuse_value(text, "RedriveAllowPolicy", why)
    return permission, sources


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else None


def _object(text: str) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
