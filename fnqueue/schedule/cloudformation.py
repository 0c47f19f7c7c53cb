"""Schedules as a CloudFormation template, for those who let nothing but stacks change their account.

What differs by account is a parameter: the role, the ARN of each queue, a dead-letter queue. The tickets are sealed and
in the template, which may lie in a repository: without a key nobody learns more from it than names and times.
AWS::Scheduler::Schedule knows no ActionAfterCompletion, so a schedule stays there when it is over.
Pure: members come in as `published` makes them, text goes out.
Source: AWS CloudFormation Template Reference, AWS::Scheduler::Schedule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

RESOURCES_MAX: Final = 500
_GROUP: Final = "ScheduleGroup"
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:::[A-Za-z0-9]+)*\Z")
#: What YAML would take for something else than a text.
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def queue_reference(queue: str) -> dict[str, str]:
    """Where a template says the ARN of a physical queue."""
    return {"Ref": queue_parameter(queue)}


def queue_parameter(queue: str) -> str:
    return f"QueueArn{_logical(queue)}"


ROLE: Final[dict[str, str]] = {"Ref": "RoleArn"}
DEAD_LETTER: Final[dict[str, Any]] = {
    "Fn::If": ["HasDeadLetterQueue", {"Ref": "DeadLetterArn"}, {"Ref": "AWS::NoValue"}]
}


def template(schedules: Sequence[Mapping[str, Any]], *, group: str, queues: Iterable[str]) -> dict[str, Any]:
    """`schedules`: members of CreateSchedule whose target has `ROLE`, `DEAD_LETTER` and `queue_reference`s."""
    parameters = {
        "RoleArn": _arn("What EventBridge sends as: it needs sqs:SendMessage on the queues.", "iam"),
        "DeadLetterArn": {**_arn("A standard queue for what cannot be sent; empty: none.", None), "Default": ""},
    }
    for queue in queues:
        parameters[queue_parameter(queue)] = _arn(f"The SQS queue {queue}.", "sqs")
    resources: dict[str, Any] = {_GROUP: {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": group}}}
    for members in schedules:
        resources[_unused(f"Schedule{_logical(members['Name'])}", members["Name"], resources)] = _resource(members)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Schedules of fnqueue, made by fnqueue schedule export.",
        "Parameters": parameters,
        "Conditions": {"HasDeadLetterQueue": {"Fn::Not": [{"Fn::Equals": [{"Ref": "DeadLetterArn"}, ""]}]}},
        "Resources": resources,
    }


def to_json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def to_yaml(document: Mapping[str, Any]) -> str:
    """Block style, texts in JSON's quotes, which are YAML's too."""
    return "\n".join(_lines(document, 0)) + "\n"


# ------------------------------------------------------------------ the template


def _resource(members: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: _value(value) for name, value in members.items() if name != "ActionAfterCompletion"}
    return {"Type": "AWS::Scheduler::Schedule", "Properties": {**said, "GroupName": {"Ref": _GROUP}}}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def _arn(description: str, service: str | None) -> dict[str, Any]:
    pattern = {
        None: "(arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?",
        "iam": "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+",
        "sqs": r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?",
    }[service]
    return {"Type": "String", "Description": description, "AllowedPattern": pattern}


def _logical(name: str) -> str:
    """Letters and digits only, as logical ids must be: `orders__high.fifo` is OrdersHighFifo."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _unused(wanted: str, name: str, taken: Mapping[str, Any]) -> str:
    return wanted if wanted not in taken else f"{wanted}{sha256(name.encode()).hexdigest()[:8]}"


# ------------------------------------------------------------------ YAML


def _lines(value: Any, depth: int) -> list[str]:
    indent = "  " * depth
    if isinstance(value, Mapping):
        found = []
        for name, each in value.items():
            found += _under(f"{indent}{_text(name)}:", each, depth + 1)
        return found
    return [line for each in value for line in _under(f"{indent}-", each, depth + 1)]


def _under(head: str, value: Any, depth: int) -> list[str]:
    if isinstance(value, Mapping | list) and value:
        return [head, *_lines(value, depth)]
    return [f"{head} {_text(value) if isinstance(value, str) else json.dumps(value)}"]


def _text(text: str) -> str:
    return text if _PLAIN.match(text) and text.lower() not in _WORDS else json.dumps(text)
