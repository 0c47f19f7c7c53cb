"""What SQS refuses in an entry or a receipt, with its codes and its words.

Source: SQS API Reference; the rows of the specification sheet are named (M3, L14, ...).
Knows nothing of tables.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.bodies import ILLEGAL, is_plain

INVALID = "InvalidParameterValue"
_TOKEN = re.compile(r"""[A-Za-z0-9!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}""")  # L15
ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)[\w.-]{1,256}(?<!\.)")  # L14
ATTRIBUTES_MAX = 10  # L13
_DATA_TYPE_BYTES = len("String")


class Fault(NamedTuple):
    code: str
    text: str


def entry_fault(entry: Entry, *, fifo: bool, content_deduplication: bool) -> Fault | None:
    """Why the queue would not take this entry; None when it does."""
    body = entry.body
    if not body:
        return Fault("MissingParameter", "The request must contain the parameter MessageBody.")  # M2
    plain = is_plain(body)  # as a sealed one is: its length is its size
    if not plain and ILLEGAL.search(body):
        return Fault("InvalidMessageContents", "Invalid characters found: the body must be characters that XML allows.")
    size = len(body) if plain else len(body.encode())
    if entry.attributes:
        fault, more = _attributes_fault(entry)
        if fault is not None:
            return fault
        size += more
    if size > quotas.BODY_BYTES_MAX:  # M3
        return _invalid(
            f"One or more parameters are invalid. Reason: Message must be shorter than {quotas.BODY_BYTES_MAX} bytes."
        )
    if fifo:
        return fifo_fault(entry, content_deduplication)
    return standard_fault(entry)


def standard_fault(entry: Entry) -> Fault | None:
    if entry.delay_seconds == 0 and entry.dedupe is None and entry.group is None:
        return None
    if not 0 <= entry.delay_seconds <= quotas.DELAY_SECONDS_MAX:  # M5
        return value_fault(entry.delay_seconds, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
    if entry.dedupe is not None:  # M10
        why = "The request includes a parameter that is not valid for this queue type."
        return value_fault(entry.dedupe, "MessageDeduplicationId", why)
    return token_fault(entry.group, "MessageGroupId")


def fifo_fault(entry: Entry, content_deduplication: bool) -> Fault | None:
    if entry.dedupe is None and not content_deduplication:  # M8: before the group
        return _invalid(
            "The queue should either have ContentBasedDeduplication enabled or "
            "MessageDeduplicationId provided explicitly"
        )
    if entry.group is None:  # M7
        return _invalid("The request must contain the parameter MessageGroupId.")
    if entry.delay_seconds:  # M6
        why = "The request include parameter that is not valid for this queue type."
        return value_fault(entry.delay_seconds, "DelaySeconds", why)
    return token_fault(entry.group, "MessageGroupId") or token_fault(entry.dedupe, "MessageDeduplicationId")


def token_fault(value: str | None, parameter: str) -> Fault | None:  # M11
    if value is None or _TOKEN.fullmatch(value):
        return None
    why = f"{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    return value_fault(value, parameter, why)


def _attributes_fault(entry: Entry) -> tuple[Fault | None, int]:
    """A fault, and the bytes that the attributes count."""
    if len(entry.attributes) > ATTRIBUTES_MAX:
        return _invalid(f"Number of message attributes [{len(entry.attributes)}] exceeds the allowed maximum [10]."), 0
    size = 0
    for name, value in entry.attributes.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            return _invalid(f"Message (user) attribute name '{name}' is invalid."), 0
        if not value:  # M12
            return _invalid(f"Message (user) attribute '{name}' must contain a non-empty value of type 'String'."), 0
        if ILLEGAL.search(value):  # M4
            return _invalid(f"Message (user) attribute '{name}' has characters that are not allowed."), 0
        size += len(name.encode()) + _DATA_TYPE_BYTES + len(value.encode())
    return None, size


def _invalid(text: str) -> Fault:
    return Fault(INVALID, text)


def value_fault(value: object, parameter: str, why: str) -> Fault:
    return _invalid(f"Value {value} for parameter {parameter} is invalid. Reason: {why}")


# ------------------------------------------------------------------ receipts


Delivery = tuple[int, int, int]
"""A queue's number, a row's, and the receive count. Written with dots it is a receipt's handle."""


def handle(delivery: Delivery) -> str:
    queue, row, receives = delivery
    return f"{queue}.{row}.{receives}"


def parse(text: str, queue: int) -> Delivery | None:
    """None for what is no handle of this queue (V1)."""
    try:
        of, row, receives = text.split(".")
        return (queue, int(row), int(receives)) if int(of) == queue else None
    except ValueError:
        return None


def not_a_handle(text: str) -> Fault:
    return Fault("ReceiptHandleIsInvalid", f'The input receipt handle "{text}" is not a valid receipt handle.')


def handle_expired(text: str) -> Fault:  # V6
    return value_fault(text, "ReceiptHandle", "The receipt handle has expired.")


def not_available(text: str) -> Fault:  # V3
    why = "Message does not exist or is not available for visibility timeout change."
    return value_fault(text, "ReceiptHandle", why)


def visibility_fault(seconds: int) -> Fault | None:  # V10
    if 0 <= seconds <= quotas.VISIBILITY_SECONDS_MAX:
        return None
    return value_fault(seconds, "VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200.")


def beyond_total(seconds: int) -> Fault:  # V10
    why = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]."
    return value_fault(seconds, "VisibilityTimeout", why)
