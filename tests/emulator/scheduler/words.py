"""Words for what is asked for often."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.emulator.clients import Answer, http_call, signed

ROLE = "arn:aws:iam::123456789012:role/fires"
OFF = {"Mode": "OFF"}


def queue_arn(account: str, name: str = "orders", region: str = "us-east-1") -> str:
    return f"arn:aws:sqs:{region}:{account}:{name}"


class Maker:
    """Makes schedules; what is not said is what most have."""

    def __init__(self, scheduler: Any, account: str) -> None:
        self.scheduler, self.account = scheduler, account

    def members(self, expression: str = "rate(1 hour)", **given: Any) -> dict[str, Any]:
        target = {"Arn": queue_arn(self.account), "RoleArn": ROLE, **given.pop("Target", {})}
        return {
            "Name": "s",
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": OFF,
            "Target": {name: value for name, value in target.items() if value is not None},
            **given,
        }

    def __call__(self, expression: str = "rate(1 hour)", **given: Any) -> str:
        return str(self.scheduler.create_schedule(**self.members(expression, **given))["ScheduleArn"])

    def update(self, expression: str = "rate(1 hour)", **given: Any) -> str:
        return str(self.scheduler.update_schedule(**self.members(expression, **given))["ScheduleArn"])


def rest(
    endpoint: str, method: str, path: str, body: Any = None, account: str = "123456789012", **headers: str
) -> Answer:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers.setdefault("Authorization", signed(account, service="scheduler"))
    return http_call(endpoint, method, path, data, **headers)


def written(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def at(unix_seconds: float) -> str:
    return f"at({written(unix_seconds)[:-1]})"
