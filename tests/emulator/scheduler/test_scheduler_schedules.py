"""CreateSchedule and its kin, over HTTP with boto3: what is taken, kept, shown and refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.emulator.clients import client, refused, row
from tests.emulator.scheduler.words import OFF, ROLE, Maker, at, queue_arn, rest

# ------------------------------------------------------------------ made, shown, changed, deleted


@row("W1", "W3", "W12", "S2", "S12")
def test_a_schedule_is_made_in_the_default_group_and_shown_with_its_defaults(
    scheduler: Any, make: Maker, account: str, now: Callable[[], float]
) -> None:
    arn = make("cron(0 9 ? * MON-FRI *)", Name="morning")
    assert arn == f"arn:aws:scheduler:us-east-1:{account}:schedule/default/morning"
    shown = scheduler.get_schedule(Name="morning")
    made = [shown.pop(name).timestamp() for name in ("CreationDate", "LastModificationDate")]
    assert all(abs(each - now()) < 60 for each in made)
    shown.pop("ResponseMetadata")
    assert shown == {
        "Arn": arn,
        "GroupName": "default",
        "Name": "morning",
        "ScheduleExpression": "cron(0 9 ? * MON-FRI *)",
        "ScheduleExpressionTimezone": "UTC",
        "State": "ENABLED",
        "ActionAfterCompletion": "NONE",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": queue_arn(account),
            "RoleArn": ROLE,
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
        },
    }


@row("S4", "W9", "G8", "S8")
def test_all_that_was_said_is_given_back(scheduler: Any, make: Maker, account: str, now: Callable[[], float]) -> None:
    start = datetime.fromtimestamp(int(now()) + 3600.25, UTC)
    said = {
        "Description": "é" * 512,
        "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "StartDate": start,
        "EndDate": start + timedelta(days=1),
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "State": "DISABLED",
        "ActionAfterCompletion": "DELETE",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440},
    }
    target = {
        "Arn": queue_arn(account),
        "RoleArn": ROLE,
        "Input": '{"n": 1}',
        "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0},
        "DeadLetterConfig": {"Arn": queue_arn(account, "dead")},
        "SqsParameters": {"MessageGroupId": "g"},
    }
    make("rate(5 minutes)", Target=target, **said)
    shown = scheduler.get_schedule(Name="s")
    assert {name: shown[name] for name in said} == said
    assert shown["Target"] == target


@row("G8")
def test_half_a_retry_policy_has_the_other_half_s_default(scheduler: Any, make: Maker) -> None:
    make(Target={"RetryPolicy": {"MaximumRetryAttempts": 3}})
    assert scheduler.get_schedule(Name="s")["Target"]["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": 86_400,
        "MaximumRetryAttempts": 3,
    }


@row("W2", "S1")
def test_an_update_replaces_the_whole_and_what_is_left_out_has_its_default_again(scheduler: Any, make: Maker) -> None:
    make(
        "rate(5 minutes)",
        Description="old",
        State="DISABLED",
        ScheduleExpressionTimezone="Asia/Tokyo",
        ActionAfterCompletion="DELETE",
        Target={"Input": "x", "RetryPolicy": {"MaximumRetryAttempts": 1}},
    )
    before = scheduler.get_schedule(Name="s")
    assert make.update("rate(2 hours)") == before["Arn"]
    after = scheduler.get_schedule(Name="s")
    assert after["ScheduleExpression"] == "rate(2 hours)"
    assert (after["State"], after["ScheduleExpressionTimezone"], after["ActionAfterCompletion"]) == (
        "ENABLED", "UTC", "NONE",
    )  # fmt: skip
    assert "Description" not in after
    assert "Input" not in after["Target"]
    assert after["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 185
    assert after["CreationDate"] == before["CreationDate"]
    assert after["LastModificationDate"] > before["LastModificationDate"]


@row("W4", "W13")
def test_a_deleted_one_is_gone_and_one_that_never_was_is_not_found(scheduler: Any, make: Maker) -> None:
    make()
    answer = scheduler.delete_schedule(Name="s")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    for verb in (scheduler.get_schedule, scheduler.delete_schedule):
        error = refused(verb, Name="s")
        assert error[:3] == ("ResourceNotFoundException", "Schedule s does not exist.", 404)
        assert error.kind == "ResourceNotFoundException"
    assert refused(scheduler.update_schedule, **make.members()).code == "ResourceNotFoundException"


@row("S2", "W13")
def test_a_name_is_unique_within_its_group_only(scheduler: Any, make: Maker) -> None:
    make()
    error = refused(make)
    assert (error.code, error.status, error.text) == ("ConflictException", 409, "Schedule s already exists.")
    scheduler.create_schedule_group(Name="g")
    make(GroupName="g")
    assert scheduler.get_schedule(Name="s", GroupName="g")["Arn"].endswith(":schedule/g/s")
    scheduler.delete_schedule(Name="s", GroupName="g")
    scheduler.get_schedule(Name="s")


@row("W12")
def test_regions_and_accounts_do_not_see_each_other_s(emulator_endpoint: str, make: Maker, account: str) -> None:
    make()
    for other in (
        client(emulator_endpoint, account, "eu-west-1", service="scheduler"),
        client(emulator_endpoint, "999999999999", service="scheduler"),
    ):
        assert other.list_schedules()["Schedules"] == []
        assert refused(other.get_schedule, Name="s").code == "ResourceNotFoundException"


def test_a_group_that_is_missing_is_told(scheduler: Any, make: Maker) -> None:
    error = refused(make, GroupName="nope")
    assert error[:3] == ("ResourceNotFoundException", "Schedule group nope does not exist.", 404)
    assert refused(scheduler.get_schedule, Name="s", GroupName="nope").text == error.text
    assert refused(scheduler.list_schedules, GroupName="nope").text == error.text


# ------------------------------------------------------------------ ClientToken


@row("S14", "W11")
def test_the_same_request_twice_has_one_answer_and_another_one_under_its_token_is_refused(
    scheduler: Any, make: Maker
) -> None:
    made = make(ClientToken="t-1")
    assert make(ClientToken="t-1") == made
    assert refused(make, Description="other", ClientToken="t-1").code == "ConflictException"
    assert refused(make, ClientToken="t-2").text == "Schedule s already exists."
    assert make.update("rate(2 hours)", ClientToken="t-3") == make.update("rate(2 hours)", ClientToken="t-3")
    scheduler.delete_schedule(Name="s", ClientToken="t-4")
    scheduler.delete_schedule(Name="s", ClientToken="t-4")
    group = scheduler.create_schedule_group(Name="g", ClientToken="t-5")["ScheduleGroupArn"]
    assert scheduler.create_schedule_group(Name="g", ClientToken="t-5")["ScheduleGroupArn"] == group
    scheduler.delete_schedule_group(Name="g", ClientToken="t-6")
    scheduler.delete_schedule_group(Name="g", ClientToken="t-6")


@row("S14")
def test_what_was_refused_may_be_mended_under_its_token(make: Maker) -> None:
    refused(make, "rate(0 hours)", ClientToken="t")
    make(ClientToken="t")


# ------------------------------------------------------------------ lists


@row("W5", "S13")
def test_a_list_shows_little_of_each_and_is_narrowed_by_group_prefix_and_state(
    scheduler: Any, make: Maker, account: str
) -> None:
    scheduler.create_schedule_group(Name="g")
    for name, group, state in (
        ("a1", "default", "ENABLED"), ("a2", "g", "DISABLED"), ("b1", "g", "ENABLED"), ("a_", "g", "ENABLED"),
    ):  # fmt: skip
        make(Name=name, GroupName=group, State=state, Target={"Input": "secret"})

    def names(**narrowed: Any) -> list[str]:
        return [each["Name"] for each in scheduler.list_schedules(**narrowed)["Schedules"]]

    assert names() == ["a1", "a2", "a_", "b1"]
    assert names(GroupName="g") == ["a2", "a_", "b1"]
    assert names(NamePrefix="a") == ["a1", "a2", "a_"]
    assert names(GroupName="g", NamePrefix="a", State="ENABLED") == ["a_"]
    assert names(State="DISABLED") == ["a2"]
    (shown,) = scheduler.list_schedules(NamePrefix="a1")["Schedules"]
    assert set(shown) == {"Arn", "Name", "GroupName", "State", "CreationDate", "LastModificationDate", "Target"}
    assert shown["Target"] == {"Arn": queue_arn(account)}


@row("S13")
def test_pages_have_each_once_and_a_token_that_is_none_is_refused(scheduler: Any, make: Maker) -> None:
    for number in range(7):
        make(Name=f"s{number}")
    seen: list[str] = []
    sizes = []
    for page in scheduler.get_paginator("list_schedules").paginate(PaginationConfig={"PageSize": 3}):
        seen += [each["Name"] for each in page["Schedules"]]
        sizes.append(len(page["Schedules"]))
    assert seen == [f"s{number}" for number in range(7)]
    assert sizes == [3, 3, 1]
    for token in ("x", "!!!", "W10=", "e30="):
        assert refused(scheduler.list_schedules, NextToken=token).code == "ValidationException"
    assert refused(scheduler.list_schedules, NextToken="x" * 2049).code == "ValidationException"
    assert "at 'maxResults' failed" in refused(scheduler.list_schedules, MaxResults=101).text


@row("W5", "S13")
def test_pages_go_through_all_groups(scheduler: Any, make: Maker) -> None:
    made = [("default", "z"), ("g", "a"), ("g", "m"), ("h", "a"), ("h", "b")]
    for group, name in reversed(made):
        if group != "default" and name in ("b", "m"):
            scheduler.create_schedule_group(Name=group)
        make(Name=name, GroupName=group)
    pages = scheduler.get_paginator("list_schedules").paginate(PaginationConfig={"PageSize": 2})
    assert [(each["GroupName"], each["Name"]) for page in pages for each in page["Schedules"]] == made
    pages = scheduler.get_paginator("list_schedules").paginate(GroupName="g", PaginationConfig={"PageSize": 1})
    assert [each["Name"] for page in pages for each in page["Schedules"]] == ["a", "m"]
    token = scheduler.list_schedules(MaxResults=3)["NextToken"]
    assert scheduler.list_schedules(GroupName="g", NextToken=token)["Schedules"] == []
    assert len(scheduler.list_schedules(GroupName="h", NextToken=token)["Schedules"]) == 2


# ------------------------------------------------------------------ what is refused


@row("S1", "W10")
@pytest.mark.parametrize("missing", ["ScheduleExpression", "Target", "FlexibleTimeWindow", "Target.Arn", "Mode"])
def test_what_must_be_there_is_asked_for(emulator_endpoint: str, make: Maker, account: str, missing: str) -> None:
    members = make.members()
    if missing == "Target.Arn":
        del members["Target"]["Arn"]
    elif missing == "Mode":
        members["FlexibleTimeWindow"] = {}
    else:
        del members[missing]
    answer = rest(emulator_endpoint, "POST", "/schedules/s", members, account)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert "failed to satisfy constraint: Member must not be null" in answer.json["Message"]


@row("W10", "S2", "S3", "S4", "S5", "G1", "G5", "G8", "G10", "W11")
@pytest.mark.parametrize(
    ("where", "given"),
    [
        ("name", {"Name": "a b"}),
        ("name", {"Name": "x" * 65}),
        ("groupName", {"GroupName": "a/b"}),
        ("scheduleExpression", {"ScheduleExpression": "x" * 257}),
        ("scheduleExpressionTimezone", {"ScheduleExpressionTimezone": "x" * 51}),
        ("description", {"Description": "x" * 513}),
        ("state", {"State": "PAUSED"}),
        ("kmsKeyArn", {"KmsKeyArn": "key"}),
        ("actionAfterCompletion", {"ActionAfterCompletion": "KEEP"}),
        ("clientToken", {"ClientToken": "a b"}),
        ("flexibleTimeWindow.mode", {"FlexibleTimeWindow": {"Mode": "ON"}}),
        (
            "flexibleTimeWindow.maximumWindowInMinutes",
            {"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1441}},
        ),
        ("target.roleArn", {"Target": {"RoleArn": "arn:aws:iam::1:role/x"}}),
        ("target.arn", {"Target": {"Arn": "x" * 1601}}),
        ("target.deadLetterConfig.arn", {"Target": {"DeadLetterConfig": {"Arn": queue_arn("1" * 12, "d.fifo")}}}),
        ("target.retryPolicy.maximumRetryAttempts", {"Target": {"RetryPolicy": {"MaximumRetryAttempts": 186}}}),
        (
            "target.retryPolicy.maximumEventAgeInSeconds",
            {"Target": {"RetryPolicy": {"MaximumEventAgeInSeconds": 99_999}}},
        ),
        ("target.sqsParameters.messageGroupId", {"Target": {"SqsParameters": {"MessageGroupId": "x" * 129}}}),
        ("target.kinesisParameters.partitionKey", {"Target": {"KinesisParameters": {"PartitionKey": "x" * 257}}}),
        (
            "target.ecsParameters.capacityProviderStrategy.1.member.weight",
            {
                "Target": {
                    "EcsParameters": {
                        "TaskDefinitionArn": "t",
                        "CapacityProviderStrategy": [{"capacityProvider": "c", "weight": 1001}],
                    }
                }
            },
        ),
    ],
)
def test_what_breaks_a_constraint_of_the_model_is_named(make: Maker, where: str, given: dict[str, Any]) -> None:
    error = refused(make, **given)
    assert (error.code, error.status) == ("ValidationException", 400)
    assert error.text.startswith("1 validation error detected: Value '")
    assert f"' at '{where}' failed to satisfy constraint: Member must " in error.text


@row("G8", "S8")
@pytest.mark.parametrize(
    "given",
    [
        {"Target": {"RetryPolicy": {"MaximumRetryAttempts": -1}}},
        {"Target": {"RetryPolicy": {"MaximumEventAgeInSeconds": 59}}},
        {"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 0}},
        {"Name": ""},
        {"ClientToken": ""},
    ],
)
def test_what_boto3_does_not_let_through_is_refused_here_too(
    emulator_endpoint: str, make: Maker, account: str, given: dict[str, Any]
) -> None:
    members = make.members(**given)
    answer = rest(emulator_endpoint, "POST", f"/schedules/{members['Name'] or '%20'}", members, account)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")


def test_all_faults_are_told_at_once(make: Maker) -> None:
    text = refused(make, Name="a b", State="PAUSED", Target={"RoleArn": "x"}).text
    assert text.startswith("3 validation errors detected: ")
    assert text.count("; Value '") == 2


@row("S3")
@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "CET+1 "])
def test_a_zone_that_is_none_is_refused(make: Maker, zone: str) -> None:
    assert refused(make, ScheduleExpressionTimezone=zone).code == "ValidationException"


@row("S8")
@pytest.mark.parametrize("window", [{"Mode": "FLEXIBLE"}, {"Mode": "OFF", "MaximumWindowInMinutes": 5}])
def test_a_flexible_window_has_its_minutes_and_another_has_none(make: Maker, window: dict[str, Any]) -> None:
    assert refused(make, FlexibleTimeWindow=window).code == "ValidationException"


@row("S7")
def test_dates_that_are_over_are_refused_and_those_of_a_one_time_schedule_ignored(
    scheduler: Any, make: Maker, now: Callable[[], float]
) -> None:
    past = now() - 400
    error = refused(make, StartDate=past)
    assert error.text == "The StartDate you specify cannot be earlier than 5 minutes ago."
    assert refused(make, "cron(0 9 * * ? *)", StartDate=past).code == "ValidationException"
    assert refused(make, EndDate=past).code == "ValidationException"
    error = refused(make, StartDate=now() + 100, EndDate=now() + 50)
    assert (error.code, error.text) == (
        "ValidationException", "The EndDate you specify cannot be earlier than the StartDate.",
    )  # fmt: skip
    make(StartDate=now() - 200, State="DISABLED")
    make(at(now() + 5000), Name="once", StartDate=past, EndDate=past)


@row("S7", "W2")
def test_a_schedule_older_than_its_start_can_be_changed_and_keep_it(
    scheduler: Any, make: Maker, now: Callable[[], float], turn: Callable[[float], None]
) -> None:
    start = int(now()) + 10
    make("rate(10 days)", StartDate=start, EndDate=start + 100)
    turn(500)
    make.update("rate(10 days)", StartDate=start, EndDate=start + 100, Description="new")
    assert scheduler.get_schedule(Name="s")["Description"] == "new"
    assert refused(make.update, "rate(10 days)", StartDate=start + 1).code == "ValidationException"


# ------------------------------------------------------------------ targets


@row("G2")
@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:lambda:us-east-1:123456789012:function:f:alias",
        "arn:aws:sns:us-east-1:123456789012:topic",
        "arn:aws:states:us-east-1:123456789012:stateMachine:m",
        "arn:aws:events:us-east-1:123456789012:event-bus/b",
        "arn:aws:kinesis:us-east-1:123456789012:stream/s",
        "arn:aws:firehose:us-east-1:123456789012:deliverystream/s",
        "arn:aws:ecs:us-east-1:123456789012:cluster/c",
        "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p",
        "arn:aws:codebuild:us-east-1:123456789012:project/p",
        "arn:aws:codepipeline:us-east-1:123456789012:p",
        "arn:aws:inspector:us-east-1:123456789012:target/0-x/template/0-y",
        "arn:aws-cn:lambda:cn-north-1:123456789012:function:f",
        "arn:aws:scheduler:::aws-sdk:dynamodb:putItem",
    ],
)
def test_targets_of_other_services_are_kept(scheduler: Any, make: Maker, arn: str) -> None:
    make(Target={"Arn": arn, "Input": "{}"})
    assert scheduler.get_schedule(Name="s")["Target"]["Arn"] == arn


@row("G1")
@pytest.mark.parametrize(
    "arn", ["orders", "arn:aws:s3:::bucket", "arn:aws:sqs:us-east-1:1:q", "arn:aws:scheduler:::aws-sdk:sqs"]
)
def test_what_is_no_target_is_refused(make: Maker, arn: str) -> None:
    assert refused(make, Target={"Arn": arn}).text == "Provided Arn is not in correct format."


@row("G7")
@pytest.mark.parametrize(
    "action",
    [
        *("getQueueUrl", "describeX", "listQueues", "pollX", "receiveMessage", "searchX", "scanX", "queryX", "selectX"),
        *("readX", "lookupX", "discoverX", "validateX", "batchGetX", "batchDescribeX", "batchReadX", "transactGetX"),
        *("adminGetX", "adminListX", "testMigrationX", "retrieveX", "testConnectionX", "translateDocument"),
        *("isAuthorized", "invokeModel"),
    ],
)
def test_a_universal_target_that_reads_is_refused(make: Maker, action: str) -> None:
    error = refused(make, Target={"Arn": f"arn:aws:scheduler:::aws-sdk:sqs:{action}"})
    assert error.code == "ValidationException"
    assert action in error.text


@row("G6")
@pytest.mark.parametrize(
    "given",
    [None, "text", '{"queueUrl": "q", "messageBody": "b"}', '{"QueueUrl": "q"}', '{"QueueUrl": "q", "MessageBody": 1}'],
)
def test_a_universal_target_s_input_is_the_request_in_pascal_case(make: Maker, given: str | None) -> None:
    error = refused(make, Target={"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "Input": given})
    assert error.text.startswith("Invalid RequestJson provided. Reason: ")


@row("G5")
@pytest.mark.parametrize("service", ["lambda", "states", "events"])
def test_input_is_json_where_the_target_wants_it(make: Maker, service: str) -> None:
    arn = {"lambda": "function:f", "states": "stateMachine:m", "events": "event-bus/b"}[service]
    target = {"Arn": f"arn:aws:{service}:us-east-1:123456789012:{arn}"}
    assert refused(make, Target={**target, "Input": "plain"}).code == "ValidationException"
    make(Target={**target, "Input": '{"n": <aws.scheduler.attempt-number>}'})


@row("G5")
def test_input_is_as_long_as_256_kb(make: Maker) -> None:
    assert refused(make, Target={"Input": "é" * 131_073}).code == "ValidationException"
    make(Target={"Input": "é" * 131_072})


@row("G3")
def test_a_fifo_queue_needs_a_message_group(make: Maker, account: str) -> None:
    fifo = queue_arn(account, "orders.fifo")
    assert "MessageGroupId" in refused(make, Target={"Arn": fifo}).text
    assert "MessageGroupId" in refused(make, Target={"Arn": fifo, "SqsParameters": {}}).text
    make(Target={"Arn": fifo, "SqsParameters": {"MessageGroupId": "g"}})


@row("G10")
def test_a_dead_letter_queue_is_in_the_schedule_s_region(make: Maker, account: str) -> None:
    elsewhere = queue_arn(account, "dead", "eu-west-1")
    assert "us-east-1" in refused(make, Target={"DeadLetterConfig": {"Arn": elsewhere}}).text


def test_what_is_beyond_the_calendar_is_refused(emulator_endpoint: str, make: Maker, account: str) -> None:
    for value in (-1, 1e300, 253_402_300_800):
        members = {**make.members(), "FlexibleTimeWindow": OFF, "StartDate": value}
        assert rest(emulator_endpoint, "POST", "/schedules/s", members, account).status == 400
