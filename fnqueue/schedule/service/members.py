"""What EventBridge Scheduler's operations take, by AWS's names, types and constraints. Absent and null are None.

A schedule is kept as it was asked for, so these are also what is in the file.
Source: AWS's model of the API, 2021-06-30. Knows no rule that goes over more than one member.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from fnqueue.schedule.service.constraints import Many, Number, OneOf, Required, Text

_NAME = Text(1, 64, "[0-9a-zA-Z-_.]+")  # [S2]
_TOKEN = Text(1, 64, "[a-zA-Z0-9-_]+")  # [W11]
_PAGE = Number(1, 100)  # [S13]
_PAGE_TOKEN = Text(1, 2048)
_STATE = OneOf("ENABLED", "DISABLED")
_GROUP_ARN = Text(1, 1011, r"arn:aws[a-z-]*:scheduler:[a-z0-9\-]+:\d{12}:schedule-group\/[0-9a-zA-Z-_.]+")


class Members(msgspec.Struct, rename="pascal", kw_only=True, omit_defaults=True):
    pass


# ------------------------------------------------------------------ targets


class DeadLetterConfig(Members):
    arn: Annotated[str | None, Text(1, 1600, r"arn:aws[a-z-]*:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+")] = None  # [G10]


class RetryPolicy(Members):  # [G8]
    age: Annotated[int | None, Number(60, 86_400)] = msgspec.field(name="MaximumEventAgeInSeconds", default=None)
    attempts: Annotated[int | None, Number(0, 185)] = msgspec.field(name="MaximumRetryAttempts", default=None)


class SqsParameters(Members):
    message_group_id: Annotated[str | None, Text(1, 128)] = None


class EventBridgeParameters(Members):
    detail_type: Annotated[str | None, Required, Text(1, 128)] = None
    source: Annotated[
        str | None,
        Required,
        Text(1, 256, r"(?=[/\.\-_A-Za-z0-9]+)((?!aws\.).*)|(\$(\.[\w_-]+(\[(\d+|\*)\])*)*)"),
    ] = None


class RawEventsParameters(Members):
    metadata: Annotated[dict[str, str] | None, Many(0, 100, Text(1, 128, "[^/]+"), Text(1))] = None


class KinesisParameters(Members):
    partition_key: Annotated[str | None, Required, Text(1, 256)] = None


class PipelineParameter(Members):
    name: Annotated[str | None, Required, Text(1, 256, r"[A-Za-z0-9\-_]*")] = None
    value: Annotated[str | None, Required, Text(1, 1024)] = None


class SageMakerPipelineParameters(Members):
    pipeline_parameter_list: Annotated[list[PipelineParameter] | None, Many(0, 200)] = None


class AwsVpcConfiguration(Members):
    subnets: Annotated[list[str] | None, Required, Many(1, 16, Text(1, 1000))] = None
    security_groups: Annotated[list[str] | None, Many(1, 5, Text(1, 1000))] = None
    assign_public_ip: Annotated[str | None, OneOf("ENABLED", "DISABLED")] = None


class NetworkConfiguration(Members):
    awsvpc: AwsVpcConfiguration | None = msgspec.field(name="awsvpcConfiguration", default=None)


class CapacityProviderStrategyItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    provider: Annotated[str | None, Required, Text(1, 255)] = msgspec.field(name="capacityProvider", default=None)
    weight: Annotated[int | None, Number(0, 1000)] = None
    base: Annotated[int | None, Number(0, 100_000)] = None


class PlacementConstraint(msgspec.Struct, kw_only=True, omit_defaults=True):
    type: Annotated[str | None, OneOf("distinctInstance", "memberOf")] = None
    expression: Annotated[str | None, Text(0, 2000)] = None


class PlacementStrategy(msgspec.Struct, kw_only=True, omit_defaults=True):
    type: Annotated[str | None, OneOf("random", "spread", "binpack")] = None
    field: Annotated[str | None, Text(0, 255)] = None


class EcsParameters(Members):
    task_definition_arn: Annotated[str | None, Required, Text(1, 1600)] = None
    task_count: Annotated[int | None, Number(1, 10)] = None
    launch_type: Annotated[str | None, OneOf("EC2", "FARGATE", "EXTERNAL")] = None
    network_configuration: NetworkConfiguration | None = None
    platform_version: Annotated[str | None, Text(1, 64)] = None
    group: Annotated[str | None, Text(1, 255)] = None
    capacity_provider_strategy: Annotated[list[CapacityProviderStrategyItem] | None, Many(0, 6)] = None
    managed_tags: bool | None = msgspec.field(name="EnableECSManagedTags", default=None)
    enable_execute_command: bool | None = None
    placement_constraints: Annotated[list[PlacementConstraint] | None, Many(0, 10)] = None
    placement_strategy: Annotated[list[PlacementStrategy] | None, Many(0, 5)] = None
    propagate_tags: Annotated[str | None, OneOf("TASK_DEFINITION")] = None
    reference_id: Annotated[str | None, Text(0, 1024)] = None
    tags: Annotated[list[dict[str, str]] | None, Many(0, 50)] = None


class Target(Members):
    arn: Annotated[str | None, Required, Text(1, 1600)] = None  # [G1]
    role_arn: Annotated[str | None, Required, Text(1, 1600, r"arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@\/-]+")] = None
    dead_letter_config: DeadLetterConfig | None = None
    retry_policy: RetryPolicy | None = None
    input: Annotated[str | None, Text(1)] = None  # [G5]
    ecs_parameters: EcsParameters | None = None
    event_bridge_parameters: EventBridgeParameters | None = None
    put_events: EventBridgeParameters | None = msgspec.field(name="EventBridgePutEventsV2Parameters", default=None)
    raw_events: RawEventsParameters | None = msgspec.field(name="EventBridgePutRawEventsParameters", default=None)
    kinesis_parameters: KinesisParameters | None = None
    sage_maker_pipeline_parameters: SageMakerPipelineParameters | None = None
    sqs_parameters: SqsParameters | None = None


# ------------------------------------------------------------------ schedules


class FlexibleTimeWindow(Members):  # [S8]
    mode: Annotated[str | None, Required, OneOf("OFF", "FLEXIBLE")] = None
    minutes: Annotated[int | None, Number(1, 1440)] = msgspec.field(name="MaximumWindowInMinutes", default=None)


class Schedule(Members):
    """As it is asked for, and as it is kept: what was left out is None, and has its default when it is shown."""

    schedule_expression: Annotated[str | None, Required, Text(1, 256)] = None  # [S1, S3]
    schedule_expression_timezone: Annotated[str | None, Text(1, 50)] = None
    start_date: float | None = None  # [W9]
    end_date: float | None = None
    description: Annotated[str | None, Text(0, 512)] = None  # [S4]
    state: Annotated[str | None, _STATE] = None
    kms_key_arn: Annotated[
        str | None, Text(1, 2048, r"arn:aws[a-z-]*:kms:[a-z0-9\-]+:\d{12}:(key|alias)\/[0-9a-zA-Z-_]*")
    ] = None
    action_after_completion: Annotated[str | None, OneOf("NONE", "DELETE")] = None
    flexible_time_window: Annotated[FlexibleTimeWindow | None, Required] = None
    target: Annotated[Target | None, Required] = None


class PutSchedule(Schedule):
    """CreateSchedule and UpdateSchedule."""

    name: Annotated[str | None, Required, _NAME] = None
    group_name: Annotated[str | None, _NAME] = None
    client_token: Annotated[str | None, _TOKEN] = None


class OfSchedule(Members):
    """GetSchedule and DeleteSchedule."""

    name: Annotated[str | None, Required, _NAME] = None
    group_name: Annotated[str | None, _NAME] = None
    client_token: Annotated[str | None, _TOKEN] = None


class ListSchedules(Members):
    group_name: Annotated[str | None, _NAME] = None
    name_prefix: Annotated[str | None, _NAME] = None
    state: Annotated[str | None, _STATE] = None
    max_results: Annotated[int | None, _PAGE] = None
    next_token: Annotated[str | None, _PAGE_TOKEN] = None


# ------------------------------------------------------------------ groups and tags


class Tag(Members):
    key: Annotated[str | None, Required, Text(1, 128)] = None
    value: Annotated[str | None, Required, Text(1, 256)] = None


class CreateScheduleGroup(Members):
    name: Annotated[str | None, Required, _NAME] = None
    tags: Annotated[list[Tag] | None, Many(0, 200)] = None
    client_token: Annotated[str | None, _TOKEN] = None


class OfScheduleGroup(Members):
    """GetScheduleGroup and DeleteScheduleGroup."""

    name: Annotated[str | None, Required, _NAME] = None
    client_token: Annotated[str | None, _TOKEN] = None


class ListScheduleGroups(Members):
    name_prefix: Annotated[str | None, _NAME] = None
    max_results: Annotated[int | None, _PAGE] = None
    next_token: Annotated[str | None, _PAGE_TOKEN] = None


class OfResource(Members):
    resource_arn: Annotated[str | None, Required, _GROUP_ARN] = None


class TagResource(OfResource):
    tags: Annotated[list[Tag] | None, Required, Many(0, 200)] = None


class UntagResource(OfResource):
    tag_keys: Annotated[list[str] | None, Required, Many(0, 200, Text(1, 128))] = None
