"""Schedule groups and their tags, over HTTP with boto3; deletions also without a server, where they can be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fnqueue.errors import BrokerRefused
from fnqueue.schedule.service import members as m
from tests.emulator.clients import client, http_call, refused, row, take
from tests.emulator.scheduler.words import Maker, rest
from tests.schedule.service.world import PLACE, World
from tests.servers import EmulatorProcess


@row("W6", "W12", "S2")
def test_a_group_is_made_shown_and_deleted_with_its_schedules(scheduler: Any, make: Maker, account: str) -> None:
    arn = scheduler.create_schedule_group(Name="g")["ScheduleGroupArn"]
    assert arn == f"arn:aws:scheduler:us-east-1:{account}:schedule-group/g"
    shown = scheduler.get_schedule_group(Name="g")
    assert (shown["Arn"], shown["Name"], shown["State"]) == (arn, "g", "ACTIVE")
    assert shown["CreationDate"] == shown["LastModificationDate"]
    make(GroupName="g")
    make(Name="other")
    scheduler.delete_schedule_group(Name="g")
    assert refused(scheduler.get_schedule_group, Name="g")[:3] == (
        "ResourceNotFoundException", "Schedule group g does not exist.", 404,
    )  # fmt: skip
    assert refused(scheduler.delete_schedule_group, Name="g").code == "ResourceNotFoundException"
    assert [each["Name"] for each in scheduler.list_schedules()["Schedules"]] == ["other"]
    scheduler.create_schedule_group(Name="g")


@row("S2")
def test_the_default_group_is_always_there_and_stays(scheduler: Any) -> None:
    assert scheduler.get_schedule_group(Name="default")["State"] == "ACTIVE"
    assert refused(scheduler.delete_schedule_group, Name="default").code == "ValidationException"
    assert refused(scheduler.create_schedule_group, Name="default").code == "ConflictException"
    scheduler.create_schedule_group(Name="g")
    assert refused(scheduler.create_schedule_group, Name="g").text == "Schedule group g already exists."


@row("W7")
def test_groups_are_listed_by_prefix_and_in_pages(scheduler: Any) -> None:
    for name in ("b2", "b1", "a"):
        scheduler.create_schedule_group(Name=name)
    names = [each["Name"] for each in scheduler.list_schedule_groups()["ScheduleGroups"]]
    assert names == ["a", "b1", "b2", "default"]
    narrowed = scheduler.list_schedule_groups(NamePrefix="b")["ScheduleGroups"]
    assert [each["Name"] for each in narrowed] == ["b1", "b2"]
    pages = scheduler.get_paginator("list_schedule_groups").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["ScheduleGroups"]) for page in pages] == [2, 2]


@row("W8")
def test_a_group_is_tagged_by_its_encoded_arn(scheduler: Any) -> None:
    arn = scheduler.create_schedule_group(Name="g", Tags=[{"Key": "a", "Value": "1"}])["ScheduleGroupArn"]
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "é &", "Value": "%2F+"}])
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    tags = {each["Key"]: each["Value"] for each in scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"]}
    assert tags == {"a": "3", "b": "2", "é &": "%2F+"}
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["a", "é &"])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["b", "never"])
    assert scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"] == []


@row("W8")
def test_a_path_whose_slash_is_not_encoded_is_read_too(emulator_endpoint: str, scheduler: Any, account: str) -> None:
    arn = scheduler.create_schedule_group(Name="g", Tags=[{"Key": "a", "Value": "1"}])["ScheduleGroupArn"]
    assert rest(emulator_endpoint, "GET", f"/tags/{arn}", account=account).json == {
        "Tags": [{"Key": "a", "Value": "1"}]
    }


@row("W8")
def test_only_groups_are_tagged(scheduler: Any, make: Maker, account: str) -> None:
    error = refused(scheduler.list_tags_for_resource, ResourceArn=make())
    assert (error.code, error.status) == ("ValidationException", 400)
    missing = f"arn:aws:scheduler:us-east-1:{account}:schedule-group/nope"
    assert refused(scheduler.list_tags_for_resource, ResourceArn=missing).code == "ResourceNotFoundException"
    assert refused(scheduler.tag_resource, ResourceArn=missing, Tags=[]).code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "k" * 129, "Value": "v"}],
        [{"Key": "k", "Value": "v" * 257}],
        [{"Key": str(number), "Value": "v"} for number in range(201)],
    ],
)
def test_tags_have_their_limits(scheduler: Any, tags: list[dict[str, str]]) -> None:
    assert "at 'tags" in refused(scheduler.create_schedule_group, Name="g", Tags=tags).text


@row("S15")
def test_a_group_that_is_being_deleted_says_so_and_takes_no_change(world: World) -> None:
    world.service.create_group(PLACE, m.CreateScheduleGroup(name="g"))
    for number in range(700):
        world.make(name=f"s{number}", group_name="g", state="DISABLED")
    world.service.begin_delete_group(PLACE, m.OfScheduleGroup(name="g"))
    assert world.service.delete_some()
    assert world.service.get_group(PLACE, m.OfScheduleGroup(name="g")).state == "DELETING"
    assert len(world.service.page(PLACE, m.ListSchedules(group_name="g", max_results=100)).found) == 100
    for verb in (
        lambda: world.make(name="new", group_name="g"),
        lambda: world.service.delete(PLACE, m.OfSchedule(name="s699", group_name="g")),
        lambda: world.service.begin_delete_group(PLACE, m.OfScheduleGroup(name="g")),
    ):
        with pytest.raises(BrokerRefused) as caught:
            verb()
        assert caught.value.code == "ConflictException"
    while world.service.delete_some():
        pass
    with pytest.raises(BrokerRefused, match="ResourceNotFoundException"):
        world.service.get_group(PLACE, m.OfScheduleGroup(name="g"))


def test_only_strict_counts_the_groups(tmp_path: Path) -> None:
    server = EmulatorProcess(":memory:", "--strict")
    scheduler = client(server.endpoint, "1" * 12, service="scheduler")
    scheduler.get_schedule_group(Name="default")
    for number in range(499):
        scheduler.create_schedule_group(Name=f"g{number}")
    error = refused(scheduler.create_schedule_group, Name="more")
    assert (error.code, error.status) == ("ServiceQuotaExceededException", 402)
    server.end()


def test_after_a_reset_no_schedule_is_there_and_new_ones_fire() -> None:
    server = EmulatorProcess(":memory:", "--test-clock")
    scheduler, sqs = (client(server.endpoint, "1" * 12, service=name) for name in ("scheduler", "sqs"))
    make = Maker(scheduler, "1" * 12)
    make(GroupName="default", Name="old")
    scheduler.create_schedule_group(Name="g")
    assert http_call(server.endpoint, "POST", "/_reset").status == 200
    assert scheduler.list_schedules()["Schedules"] == []
    assert [each["Name"] for each in scheduler.list_schedule_groups()["ScheduleGroups"]] == ["default"]
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    make(Name="new", Target={"Input": "new"})
    assert [each["Body"] for each in take(sqs, url, WaitTimeSeconds=10)] == ["new"]
    server.end()
