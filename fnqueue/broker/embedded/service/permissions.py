"""Policies of queues, built label by label: kept and shown, and never enforced (Y3 to Y5 of the specification sheet).

Pure: from a policy's text to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fnqueue.broker.embedded.service.address import Address, refuse, refuse_missing, refuse_value

_ACTIONS = {
    *("*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"),
    *("GetQueueUrl", "ListDeadLetterSourceQueues", "PurgeQueue"),
}
_ACTIONS_MAX = 7
_STATEMENTS_MAX = 20


def with_permission(
    policy: str | None, address: Address, label: str, accounts: Sequence[str], actions: Sequence[str]
) -> str:
    """Raises BrokerRefused."""
    if not label:
        refuse_missing("Label")
    for parameter, values in (("AWSAccountIds", accounts), ("Actions", actions)):
        if not values:
            refuse_missing(parameter)
    if len(actions) > _ACTIONS_MAX:  # L19
        refuse(f"{len(actions)} actions were found, maximum allowed is {_ACTIONS_MAX}.", "OverLimit")
    for action in actions:
        if action not in _ACTIONS:
            why = "Please refer to the appropriate WSDL for a list of valid actions. "
            refuse_value(f"SQS:{action}", "ActionName", why)
    document = _document(policy, address)
    statements = document["Statement"]
    if any(statement.get("Sid") == label for statement in statements):
        refuse_value(label, "Label", "Already exists.")
    if len(statements) >= _STATEMENTS_MAX:
        refuse(f"{_STATEMENTS_MAX + 1} statements were found, maximum allowed is {_STATEMENTS_MAX}.", "OverLimit")
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
            "Action": _one_or_all([f"SQS:{action}" for action in actions]),
            "Resource": address.arn,
        }
    )
    return msgspec.json.encode(document).decode()


def without_permission(policy: str | None, address: Address, label: str) -> str:
    """Empty once the last statement is gone. Raises BrokerRefused."""
    document = _document(policy, address)
    left = [statement for statement in document["Statement"] if statement.get("Sid") != label]
    if len(left) == len(document["Statement"]):
        refuse_value(label, "Label", "can't find label.")
    document["Statement"] = left
    return msgspec.json.encode(document).decode() if left else ""


def _document(policy: str | None, address: Address) -> dict[str, Any]:
    if not policy:
        return {"Version": "2008-10-17", "Id": f"{address.arn}/SQSDefaultPolicy", "Statement": []}
    document: dict[str, Any] = msgspec.json.decode(policy)  # it was checked when it was set
    statements = document.get("Statement", [])
    found = statements if isinstance(statements, list) else [statements]
    document["Statement"] = [one for one in found if isinstance(one, dict)]
    return document


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
