"""The same random operations at moto's EventBridge Scheduler and at ours: every difference is a row of the sheet.

Each outcome and each answer is compared as a client sees it. A difference is named in `EXPLAINED`, with the requests of
which it may be said; any other one fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.emulator.clients import client

pytest.importorskip("moto.server")

Members = dict[str, Any]
MISSING = "ResourceNotFoundException"
#: moto fails where a group is missing.
FAILED = "500"


def always(_: Members) -> bool:
    return True


def invalid(asked: Members) -> bool:
    return asked["Name"] == "a b" or "0 hours" in asked["ScheduleExpression"] or asked.get("Description") == "x" * 513


#: (operation, moto's answer, ours) -> the row that explains it, and of which requests it may be said
EXPLAINED: dict[tuple[str, str, str], tuple[str, Callable[[Members], bool]]] = {
    ("create", "ok", "ValidationException"): ("W10: moto checks nothing", invalid),
    ("create", "ConflictException", "ValidationException"): ("W10: ours looks at the request first", invalid),
    ("create", FAILED, "ValidationException"): ("W10: ours looks at the request first", invalid),
    ("create", FAILED, MISSING): ("the group is missing: section 1's table of errors", always),
    ("update", "ok", "ValidationException"): ("W10: moto checks nothing", invalid),
    ("update", MISSING, "ValidationException"): ("W10: ours looks at the request first", invalid),
    ("list", "ok", MISSING): ("the model: ListSchedules knows ResourceNotFoundException", always),
    ("create group", "ok", "ConflictException"): ("section 1: moto makes a group anew that is there", always),
    ("delete group", FAILED, MISSING): ("section 1: the group is missing", always),
    ("tags", "ok", MISSING): ("section 1: the group is missing", always),
    ("tag", "ok", MISSING): ("section 1: the group is missing", always),
    ("untag", "ok", MISSING): ("section 1: the group is missing", always),
}
#: Members that moto shows otherwise: it forgets ActionAfterCompletion in an update (W2), and half a policy stays half
#: (S12). Its default state after an update is none (W2).
NAMES = st.sampled_from(["a", "b.c", "d_e-f"])
GROUPS = st.sampled_from([None, "default", "g", "h"])
TAG_KEYS = ["k", "l/m", "é"]
REAL_GROUPS = st.sampled_from(["g", "h"])
EXPRESSIONS = st.sampled_from(
    ["rate(5 minutes)", "cron(0 9 ? * MON-FRI *)", "at(2040-01-01T00:00:00)", "rate(0 hours)"]
)


def outcome(call: Any, **members: Any) -> tuple[str, dict[str, Any]]:
    try:
        answer = call(**members)
    except ClientError as error:
        status = str(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return (FAILED if status == FAILED else error.response["Error"]["Code"]), {}
    answer.pop("ResponseMetadata")
    return "ok", {name: value for name, value in answer.items() if value is not None}


class Beside(RuleBasedStateMachine):
    endpoints: tuple[str, str]

    def __init__(self) -> None:
        super().__init__()
        self._accounts = ["123456789012", str(10**11 + secrets.randbelow(9 * 10**11))]
        region = self._region = "eu-north-1"  # moto has one account: nobody else is here
        self._servers = [
            client(endpoint, account, region, service="scheduler")
            for endpoint, account in zip(self.endpoints, self._accounts, strict=True)
        ]

    def both(self, operation: str, verb: str, members: Members) -> list[dict[str, Any]] | None:
        """Both answers where both did it. Fails at a difference that no row explains."""
        asked = [self._for(account, members) for account in self._accounts]
        pairs = zip(self._servers, asked, strict=True)
        (theirs, first), (mine, second) = [outcome(getattr(server, verb), **one) for server, one in pairs]
        if theirs != mine:
            _, may_be_said = EXPLAINED.get((operation, theirs, mine), ("", lambda _: False))
            assert may_be_said(members), (operation, theirs, mine, members)
        self._moto_only = theirs == "ok" != mine
        return [self._plain(each, account) for each, account in zip((first, second), self._accounts, strict=True)] if (
            theirs == mine == "ok"
        ) else None  # fmt: skip

    def _for(self, account: str, value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("ACCOUNT", account).replace("REGION", self._region)
        if isinstance(value, list):
            return [self._for(account, each) for each in value]
        return {key: self._for(account, each) for key, each in value.items()} if isinstance(value, dict) else value

    def _plain(self, value: Any, account: str) -> Any:
        if isinstance(value, str):
            return value.replace(account, "ACCOUNT")
        if isinstance(value, list):
            return [self._plain(each, account) for each in value]
        if isinstance(value, dict):
            return {
                key: self._plain(each, account)
                for key, each in value.items()
                if key not in ("CreationDate", "LastModificationDate") and each is not None
            }
        return value

    def same(self, operation: str, verb: str, members: Members) -> None:
        found = self.both(operation, verb, members)
        if found is not None:
            assert found[0] == found[1]

    @initialize()
    def make_group(self) -> None:
        self.same("create group", "create_schedule_group", {"Name": "g", "Tags": [{"Key": "k", "Value": "v"}]})

    @rule(
        name=NAMES | st.just("a b"),
        group=GROUPS,
        expression=EXPRESSIONS,
        options=st.fixed_dictionaries(
            {},
            optional={
                "Description": st.sampled_from(["text", "x" * 513]),
                "State": st.sampled_from(["ENABLED", "DISABLED"]),
                "ScheduleExpressionTimezone": st.sampled_from(["UTC", "Europe/Berlin"]),
                "ActionAfterCompletion": st.sampled_from(["NONE", "DELETE"]),
                "FlexibleTimeWindow": st.just({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}),
            },
        ),
        policy=st.none() | st.just({"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}),
        updates=st.booleans(),
    )
    def put(
        self, name: str, group: str | None, expression: str, options: Members, policy: Members | None, updates: bool
    ) -> None:
        target: Members = {
            "Arn": "arn:aws:sqs:REGION:ACCOUNT:q",
            "RoleArn": "arn:aws:iam::ACCOUNT:role/r",
            "Input": "x",
        }
        members: Members = {
            "Name": name,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {**target, "RetryPolicy": policy} if policy else target,
            **({"GroupName": group} if group else {}),
            **options,
        }
        if updates:  # W2: moto neither changes the one nor has a default for the other
            members |= {"State": members.get("State", "ENABLED")}
            members.pop("ActionAfterCompletion", None)
        self.same(*(("update", "update_schedule") if updates else ("create", "create_schedule")), members)
        if self._moto_only:  # the two differ now: both are without it
            named = {"Name": name, **({"GroupName": group} if group else {})}
            for server in self._servers:
                outcome(server.delete_schedule, **named)

    @rule(name=NAMES, group=GROUPS)
    def get(self, name: str, group: str | None) -> None:
        found = self.both("get", "get_schedule", {"Name": name, **({"GroupName": group} if group else {})})
        if found is not None:
            for each in found:
                each.pop("ActionAfterCompletion", None)  # moto: None where none was said (S12), kept by updates (W2)
            assert found[0] == found[1]

    @rule(name=NAMES, group=GROUPS)
    def delete(self, name: str, group: str | None) -> None:
        self.same("delete", "delete_schedule", {"Name": name, **({"GroupName": group} if group else {})})

    @rule(group=GROUPS, prefix=st.sampled_from([None, "a", "d_", "zz"]), state=st.sampled_from([None, "DISABLED"]))
    def list_all(self, group: str | None, prefix: str | None, state: str | None) -> None:
        given = {"GroupName": group, "NamePrefix": prefix, "State": state}
        members = {name: value for name, value in given.items() if value}
        found = self.both("list", "list_schedules", members)
        if found is not None:  # the order is nowhere said; moto's is that of making
            assert sorted(found[0]["Schedules"], key=str) == sorted(found[1]["Schedules"], key=str)

    @rule(name=REAL_GROUPS)
    def create_group(self, name: str) -> None:
        self.same("create group", "create_schedule_group", {"Name": name})
        if self._moto_only:
            self.drop_group(name)

    @rule(name=REAL_GROUPS)
    def drop_group(self, name: str) -> None:
        arn = self._for(self._accounts[0], f"arn:aws:scheduler:REGION:ACCOUNT:schedule-group/{name}")
        outcome(self._servers[0].untag_resource, ResourceArn=arn, TagKeys=TAG_KEYS)  # moto keeps a group's tags
        self.same("delete group", "delete_schedule_group", {"Name": name})

    @rule(name=st.sampled_from(["default", "g", "h"]))
    def get_group(self, name: str) -> None:
        self.same("get group", "get_schedule_group", {"Name": name})

    @rule()
    def list_groups(self) -> None:
        found = self.both("groups", "list_schedule_groups", {})
        assert found is not None
        assert sorted(found[0]["ScheduleGroups"], key=str) == sorted(found[1]["ScheduleGroups"], key=str)

    @rule(name=REAL_GROUPS, key=st.sampled_from(TAG_KEYS), untags=st.booleans())
    def tag(self, name: str, key: str, untags: bool) -> None:
        arn = {"ResourceArn": f"arn:aws:scheduler:REGION:ACCOUNT:schedule-group/{name}"}
        if outcome(self._servers[1].get_schedule_group, Name=name)[0] != "ok":
            return  # moto would keep the tags of what is not there
        if untags:
            self.same("untag", "untag_resource", {**arn, "TagKeys": [key]})
        else:
            self.same("tag", "tag_resource", {**arn, "Tags": [{"Key": key, "Value": "v"}]})
        found = self.both("tags", "list_tags_for_resource", arn)
        if found is not None:
            assert sorted(found[0]["Tags"], key=str) == sorted(found[1]["Tags"], key=str)

    def teardown(self) -> None:
        for server in self._servers:
            for group in outcome(server.list_schedule_groups)[1].get("ScheduleGroups", []):
                if group["Name"] != "default":
                    outcome(server.untag_resource, ResourceArn=group["Arn"], TagKeys=TAG_KEYS)
                    outcome(server.delete_schedule_group, Name=group["Name"])
            for each in outcome(server.list_schedules)[1].get("Schedules", []):
                outcome(server.delete_schedule, Name=each["Name"])
            server.close()


@pytest.mark.aws
@pytest.mark.timeout(600)
def test_every_difference_from_moto_is_a_row_of_the_sheet(moto_endpoint: str, emulator_endpoint: str) -> None:
    class Here(Beside):
        endpoints = (moto_endpoint, emulator_endpoint)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
