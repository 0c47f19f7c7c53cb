"""Errors as SQS's clients see them: a shape, the code of the old protocol, an HTTP status.

Source: sections 1.1 and 1.2 of the specification sheet (E1 to E7). Knows neither protocol.
"""

from __future__ import annotations

from typing import NamedTuple

from fnqueue.errors import BrokerError, BrokerRefused, DatabaseBusy, DatabaseError

_LEGACY = "AWS.SimpleQueueService."
#: shape -> its code in the old protocol, and its status. What is not here has its own name for a code, and 400.
_SHAPES: dict[str, tuple[str, int]] = {
    "QueueDoesNotExist": (f"{_LEGACY}NonExistentQueue", 400),
    "QueueNameExists": ("QueueAlreadyExists", 400),
    "QueueDeletedRecently": (f"{_LEGACY}QueueDeletedRecently", 400),
    "PurgeQueueInProgress": (f"{_LEGACY}PurgeQueueInProgress", 403),
    "OverLimit": ("OverLimit", 403),
    "AccessDenied": ("AccessDenied", 403),
    "RequestThrottled": ("RequestThrottled", 403),
    "EmptyBatchRequest": (f"{_LEGACY}EmptyBatchRequest", 400),
    "TooManyEntriesInBatchRequest": (f"{_LEGACY}TooManyEntriesInBatchRequest", 400),
    "BatchEntryIdsNotDistinct": (f"{_LEGACY}BatchEntryIdsNotDistinct", 400),
    "InvalidBatchEntryId": (f"{_LEGACY}InvalidBatchEntryId", 400),
    "BatchRequestTooLong": (f"{_LEGACY}BatchRequestTooLong", 400),
    "MessageNotInflight": (f"{_LEGACY}MessageNotInflight", 400),
    "UnsupportedOperation": (f"{_LEGACY}UnsupportedOperation", 400),
    "ResourceNotFoundException": ("ResourceNotFoundException", 404),
    "InvalidParameterValueException": ("InvalidParameterValue", 400),
    "MissingRequiredParameterException": ("MissingParameter", 400),
    "InternalFailure": ("InternalFailure", 500),
    "ServiceUnavailable": ("ServiceUnavailable", 503),
    "RequestEntityTooLarge": ("RequestEntityTooLarge", 413),
}
_NOT_MODELLED = {
    *("InvalidParameterValueException", "MissingRequiredParameterException", "UnknownOperationException"),
    *("SerializationException", "InternalFailure", "ServiceUnavailable", "RequestEntityTooLarge"),
    *("InvalidAction", "MissingAction"),
}
_WSDL = "The specified queue does not exist for this wsdl version."


class Refusal(NamedTuple):
    shape: str
    text: str

    @property
    def type(self) -> str:
        """The `__type` of the JSON protocol."""
        space = "com.amazon.coral.service" if self.shape in _NOT_MODELLED else "com.amazonaws.sqs"
        return f"{space}#{self.shape}"

    @property
    def code(self) -> str:
        return _SHAPES.get(self.shape, (self.shape, 400))[0]

    @property
    def status(self) -> int:
        return _SHAPES.get(self.shape, (self.shape, 400))[1]

    @property
    def fault(self) -> str:
        return "Sender" if self.status < 500 else "Receiver"

    @property
    def old_text(self) -> str:
        """What the old protocol says."""
        return _WSDL if self.shape == "QueueDoesNotExist" else self.text


def of_error(error: Exception) -> Refusal | None:
    """None for what is no answer but a mistake of ours."""
    if isinstance(error, BrokerRefused):
        return Refusal(error.code, error.text)
    if isinstance(error, DatabaseBusy):
        return Refusal("ServiceUnavailable", str(error))
    if isinstance(error, (DatabaseError, BrokerError)):
        return Refusal("InternalFailure", str(error))
    return None
