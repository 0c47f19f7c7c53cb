"""What each operation of SQS takes, by AWS's names and types. Absent and null are None.

Read from JSON as it comes, and from the query protocol's flat names by the tables at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

import msgspec

from fnqueue.broker.embedded.service.entries import Value

#: Longer lists are none of a client's that means well, and hold the memory of ten requests while they wait.
_Many = msgspec.Meta(max_length=1000)
Texts = Annotated[list[str], _Many]


class Members(msgspec.Struct, rename="pascal", kw_only=True):
    pass


class OfQueue(Members):
    queue_url: str | None = None


class AttributeValue(Members):
    data_type: str | None = None
    string_value: str | None = None
    binary_value: bytes | None = None


class CreateQueue(Members):
    queue_name: str | None = None
    attributes: Annotated[dict[str, str], _Many] | None = None
    tags: Annotated[dict[str, str], _Many] | None = msgspec.field(name="tags", default=None)


class GetQueueUrl(Members):
    queue_name: str | None = None
    owner: str | None = msgspec.field(name="QueueOwnerAWSAccountId", default=None)


class ListQueues(Members):
    queue_name_prefix: str | None = None
    max_results: int | None = None
    next_token: str | None = None


class ListDeadLetterSourceQueues(OfQueue):
    max_results: int | None = None
    next_token: str | None = None


class GetQueueAttributes(OfQueue):
    attribute_names: Texts | None = None


class SetQueueAttributes(OfQueue):
    attributes: Annotated[dict[str, str], _Many] | None = None


class SendMessage(OfQueue):
    """As it comes, one without attributes is a Message already: nothing else need be made of it."""

    attributes: ClassVar[Mapping[str, Value]] = {}
    system: ClassVar[Mapping[str, Value]] = {}

    body: str | None = msgspec.field(name="MessageBody", default=None)
    delay_seconds: int | None = None
    message_attributes: Annotated[dict[str, AttributeValue], _Many] | None = None
    message_system_attributes: Annotated[dict[str, AttributeValue], _Many] | None = None
    dedupe: str | None = msgspec.field(name="MessageDeduplicationId", default=None)
    group: str | None = msgspec.field(name="MessageGroupId", default=None)


class SendEntry(SendMessage):
    id: str = ""


class SendMessageBatch(OfQueue):
    entries: Annotated[list[SendEntry], _Many] | None = None


class ReceiveMessage(OfQueue):
    attribute_names: Texts | None = None
    message_system_attribute_names: Texts | None = None
    message_attribute_names: Texts | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class DeleteMessage(OfQueue):
    receipt_handle: str | None = None


class DeleteEntry(DeleteMessage):
    id: str = ""


class DeleteMessageBatch(OfQueue):
    entries: Annotated[list[DeleteEntry], _Many] | None = None


class ChangeMessageVisibility(DeleteMessage):
    visibility_timeout: int | None = None


class ChangeEntry(ChangeMessageVisibility):
    id: str = ""


class ChangeMessageVisibilityBatch(OfQueue):
    entries: Annotated[list[ChangeEntry], _Many] | None = None


class TagQueue(OfQueue):
    tags: Annotated[dict[str, str | None], _Many] | None = None


class UntagQueue(OfQueue):
    tag_keys: Texts | None = None


class AddPermission(OfQueue):
    label: str | None = None
    accounts: Texts | None = msgspec.field(name="AWSAccountIds", default=None)
    actions: Texts | None = None


class RemovePermission(OfQueue):
    label: str | None = None


class StartMessageMoveTask(Members):
    source_arn: str | None = None
    destination_arn: str | None = None
    per_second: int | None = msgspec.field(name="MaxNumberOfMessagesPerSecond", default=None)


class ListMessageMoveTasks(Members):
    source_arn: str | None = None
    max_results: int | None = None


class CancelMessageMoveTask(Members):
    task_handle: str | None = None


# ------------------------------------------------------------------ the query protocol's names [X5 to X8]

#: member -> the name before `.1`
LISTS: Final = {
    "AttributeNames": "AttributeName",
    "MessageSystemAttributeNames": "MessageSystemAttributeName",
    "MessageAttributeNames": "MessageAttributeName",
    "TagKeys": "TagKey",
    "AWSAccountIds": "AWSAccountId",
    "Actions": "ActionName",
}
#: member -> the name before `.1`, the key's and the value's
MAPS: Final = {
    "Attributes": ("Attribute", "Name", "Value"),
    "Tags": ("Tag", "Key", "Value"),
    "tags": ("Tag", "Key", "Value"),
    "MessageAttributes": ("MessageAttribute", "Name", "Value"),
    "MessageSystemAttributes": ("MessageSystemAttribute", "Name", "Value"),
}
#: of answers: member -> the element of each
ANSWER_LISTS: Final = {
    "Messages": "Message",
    "QueueUrls": "QueueUrl",
    "queueUrls": "QueueUrl",
    "Results": "ListMessageMoveTasksResultEntry",
    "Failed": "BatchResultErrorEntry",
}
