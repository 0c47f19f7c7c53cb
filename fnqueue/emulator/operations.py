"""SQS's operations: members in, the service's verbs, an answer out. All rules are the service's.

An answer has AWS's names; None is that of an operation without output. Empty results are left out (P9 of the sheet).
Knows neither JSON nor XML.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial
from typing import Final

from fnqueue.broker.embedded.checks import Fault
from fnqueue.broker.embedded.service.address import Address, of_full, refuse, refuse_missing
from fnqueue.broker.embedded.service.entries import TRACE_HEADER, Message, Outgoing, Value, shape_of
from fnqueue.broker.embedded.service.moves import Task, handle
from fnqueue.broker.embedded.service.service import Batch, Sent
from fnqueue.emulator import md5
from fnqueue.emulator import members as m
from fnqueue.emulator.call import Answer, Call, Operation, Plan
from fnqueue.emulator.desk import Share
from fnqueue.emulator.receiving import receive_message

# ------------------------------------------------------------------ queues


async def create_queue(call: Call, asked: m.CreateQueue) -> Answer:
    address = Address(call.region, call.account, asked.queue_name or "")
    await call.desk.do(lambda: call.service.create(address, asked.attributes or {}, asked.tags or {}))
    return {"QueueUrl": call.url(address)}


async def get_queue_url(call: Call, asked: m.GetQueueUrl) -> Answer:
    if not asked.queue_name:
        refuse_missing("QueueName")
    address = Address(call.region, asked.owner or call.account, asked.queue_name)
    await call.desk.do(lambda: call.service.look_up(address))
    return {"QueueUrl": call.url(address)}


async def list_queues(call: Call, asked: m.ListQueues) -> Answer:
    prefix, after = asked.queue_name_prefix or "", _after(asked.next_token)
    found, last = await call.desk.do(
        lambda: call.service.page(call.region, call.account, prefix, after, asked.max_results)
    )
    return _without_empty({"QueueUrls": [call.url(one) for one in found], "NextToken": _token(last)})


async def list_dead_letter_source_queues(call: Call, asked: m.ListDeadLetterSourceQueues) -> Answer:
    address, after = call.address(asked.queue_url), _after(asked.next_token)
    found, last = await call.desk.do(lambda: call.service.sources(address, after, asked.max_results))
    answer: Answer = {"queueUrls": [call.url(one) for one in found]}  # D8: there even when it is empty
    return {**answer, "NextToken": _token(last)} if last else answer


async def get_queue_attributes(call: Call, asked: m.GetQueueAttributes) -> Answer:
    address, names = call.address(asked.queue_url), asked.attribute_names or []
    return _without_empty({"Attributes": await call.desk.do(lambda: call.service.attributes(address, names))})


async def set_queue_attributes(call: Call, asked: m.SetQueueAttributes) -> None:
    address, given = call.address(asked.queue_url), asked.attributes
    if not given:
        refuse_missing("Attribute.Name")
    await call.desk.do(lambda: call.service.set_attributes(address, given))


async def delete_queue(call: Call, asked: m.OfQueue) -> None:
    address = call.address(asked.queue_url)
    while await call.desk.do(lambda: call.service.delete_queue(address)):
        pass


async def purge_queue(call: Call, asked: m.OfQueue) -> None:
    address = call.address(asked.queue_url)
    await call.desk.do(lambda: call.service.begin_purge(address))
    while await call.desk.do(lambda: call.service.purge(address)):
        pass


# ------------------------------------------------------------------ tags and permissions


async def tag_queue(call: Call, asked: m.TagQueue) -> None:
    address, tags = call.address(asked.queue_url), asked.tags
    if not tags:
        refuse_missing("Tags")
    add = {name: value or "" for name, value in tags.items()}
    await call.desk.do(lambda: call.service.change_tags(address, add, []))


async def untag_queue(call: Call, asked: m.UntagQueue) -> None:
    address, keys = call.address(asked.queue_url), asked.tag_keys
    if not keys:
        refuse_missing("TagKeys")
    await call.desk.do(lambda: call.service.change_tags(address, {}, keys))


async def list_queue_tags(call: Call, asked: m.OfQueue) -> Answer:
    address = call.address(asked.queue_url)
    return _without_empty({"Tags": await call.desk.do(lambda: call.service.tags(address))})


async def add_permission(call: Call, asked: m.AddPermission) -> None:
    address = call.address(asked.queue_url)
    await call.desk.do(
        lambda: call.service.add_permission(address, asked.label or "", asked.accounts or [], asked.actions or [])
    )


async def remove_permission(call: Call, asked: m.RemovePermission) -> None:
    address = call.address(asked.queue_url)
    await call.desk.do(lambda: call.service.remove_permission(address, asked.label or ""))


# ------------------------------------------------------------------ send


def send_message(call: Call, asked: m.SendMessage) -> Plan:
    message = _message(call, asked)
    work = Share(call.service.send_each, call.address(asked.queue_url), message)
    return Plan(work, partial(_sent, {}, message))


def send_message_batch(call: Call, asked: m.SendMessageBatch) -> Plan:
    address, entries = call.address(asked.queue_url), asked.entries or []
    ids, messages = [entry.id for entry in entries], [_message(call, entry) for entry in entries]

    def shown(outcomes: list[Sent | Fault]) -> Answer:
        good, failed = [], []
        for name, message, outcome in zip(ids, messages, outcomes, strict=True):
            if isinstance(outcome, Sent):
                good.append(_sent({"Id": name}, message, outcome))
            else:
                failed.append(_failed(name, outcome))
        return _without_empty({"Successful": good, "Failed": failed})

    return Plan(Share(call.service.send_batches, address, Batch(ids, messages)), shown)


def _message(call: Call, asked: m.SendMessage) -> Message:
    if not (asked.message_attributes or asked.message_system_attributes or call.trace):
        return asked
    system = _values(asked.message_system_attributes) if asked.message_system_attributes else {}
    if call.trace and TRACE_HEADER not in system:  # M13
        system[TRACE_HEADER] = Value("String", call.trace)
    return Outgoing(
        body=asked.body,
        delay_seconds=asked.delay_seconds,
        group=asked.group,
        dedupe=asked.dedupe,
        attributes=_values(asked.message_attributes) if asked.message_attributes else {},
        system=system,
    )


def _values(given: Mapping[str, m.AttributeValue]) -> dict[str, Value]:
    return {name: Value(value.data_type or "", value.string_value, value.binary_value) for name, value in given.items()}


def _sent(answer: Answer, message: Message, sent: Sent) -> Answer:
    """`answer`, with what is said of a message that was taken [M1]."""
    answer["MessageId"] = sent.message_id
    answer["MD5OfMessageBody"] = md5.of_body(message.body or "")
    if message.attributes:
        answer["MD5OfMessageAttributes"] = md5.of_attributes(message.attributes)
    if message.system:
        answer["MD5OfMessageSystemAttributes"] = md5.of_attributes(message.system)
    if sent.sequence_number is not None:
        answer["SequenceNumber"] = sent.sequence_number
    return answer


# ------------------------------------------------------------------ delete and hide


def delete_message(call: Call, asked: m.DeleteMessage) -> Plan:
    address, text = call.address(asked.queue_url), asked.receipt_handle
    if not text:
        refuse_missing("ReceiptHandle")
    return Plan(partial(call.service.delete, address, [text]), _nothing_wrong)


def delete_message_batch(call: Call, asked: m.DeleteMessageBatch) -> Plan:
    address, entries = call.address(asked.queue_url), asked.entries or []
    ids, handles = [entry.id for entry in entries], [entry.receipt_handle or "" for entry in entries]
    return Plan(partial(call.service.delete, address, handles, ids), partial(_each, ids))


def change_message_visibility(call: Call, asked: m.ChangeMessageVisibility) -> Plan:
    address, text, seconds = call.address(asked.queue_url), asked.receipt_handle, asked.visibility_timeout
    if not text:
        refuse_missing("ReceiptHandle")
    return Plan(partial(call.service.change_visibility, address, [(text, seconds)]), _nothing_wrong)


def change_message_visibility_batch(call: Call, asked: m.ChangeMessageVisibilityBatch) -> Plan:
    address, entries = call.address(asked.queue_url), asked.entries or []
    ids = [entry.id for entry in entries]
    changes = [(entry.receipt_handle or "", entry.visibility_timeout) for entry in entries]
    return Plan(partial(call.service.change_visibility, address, changes, ids), partial(_each, ids))


def _nothing_wrong(faults: list[Fault | None]) -> None:
    for fault in faults:
        if fault is not None:
            refuse(fault.text, shape_of(fault.code))


def _each(ids: list[str], faults: list[Fault | None]) -> Answer:
    if not any(faults):
        return {"Successful": [{"Id": name} for name in ids]}
    both = list(zip(ids, faults, strict=True))
    good = [{"Id": name} for name, fault in both if fault is None]
    return _without_empty({"Successful": good, "Failed": [_failed(name, fault) for name, fault in both if fault]})


def _failed(name: str, fault: Fault) -> Answer:
    return {"Id": name, "Code": fault.code, "Message": fault.text, "SenderFault": True}


# ------------------------------------------------------------------ move tasks


async def start_message_move_task(call: Call, asked: m.StartMessageMoveTask) -> Answer:
    source = asked.source_arn
    if not source:
        refuse_missing("SourceArn")
    started = await call.desk.do(lambda: call.service.start_move(source, asked.destination_arn, asked.per_second))
    return {"TaskHandle": started}


async def list_message_move_tasks(call: Call, asked: m.ListMessageMoveTasks) -> Answer:
    source = asked.source_arn
    if not source:
        refuse_missing("SourceArn")
    tasks = await call.desk.do(lambda: call.service.move_tasks(source, asked.max_results))
    return _without_empty({"Results": [_task(task) for task in tasks]})


async def cancel_message_move_task(call: Call, asked: m.CancelMessageMoveTask) -> Answer:
    text = asked.task_handle
    if not text:
        refuse_missing("TaskHandle")
    moved = await call.desk.do(lambda: call.service.cancel_move(text))
    return {"ApproximateNumberOfMessagesMoved": moved}


def _task(task: Task) -> Answer:
    """T5"""
    source = of_full(task.source)
    destination = of_full(task.destination) if task.destination else None
    assert source is not None
    shown = {
        "TaskHandle": handle(task.id, source) if task.status == "RUNNING" else None,
        "Status": task.status,
        "SourceArn": source.arn,
        "DestinationArn": destination.arn if destination else None,
        "MaxNumberOfMessagesPerSecond": task.per_second,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.reason,
        "StartedTimestamp": round(task.started_at * 1000),
    }
    return {name: value for name, value in shown.items() if value is not None}


# ------------------------------------------------------------------ small things


def _without_empty(answer: Answer) -> Answer:
    return {name: value for name, value in answer.items() if value}


def _token(last: str | None) -> str | None:
    return None if last is None else base64.b64encode(last.encode()).decode()


def _after(token: str | None) -> str:
    if not token:
        return ""
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        refuse("Invalid or expired next token.")


#: name -> what it takes, and who does it
OPERATIONS: Final[dict[str, tuple[type[m.Members], Operation]]] = {
    "AddPermission": (m.AddPermission, add_permission),
    "CancelMessageMoveTask": (m.CancelMessageMoveTask, cancel_message_move_task),
    "ChangeMessageVisibility": (m.ChangeMessageVisibility, change_message_visibility),
    "ChangeMessageVisibilityBatch": (m.ChangeMessageVisibilityBatch, change_message_visibility_batch),
    "CreateQueue": (m.CreateQueue, create_queue),
    "DeleteMessage": (m.DeleteMessage, delete_message),
    "DeleteMessageBatch": (m.DeleteMessageBatch, delete_message_batch),
    "DeleteQueue": (m.OfQueue, delete_queue),
    "GetQueueAttributes": (m.GetQueueAttributes, get_queue_attributes),
    "GetQueueUrl": (m.GetQueueUrl, get_queue_url),
    "ListDeadLetterSourceQueues": (m.ListDeadLetterSourceQueues, list_dead_letter_source_queues),
    "ListMessageMoveTasks": (m.ListMessageMoveTasks, list_message_move_tasks),
    "ListQueueTags": (m.OfQueue, list_queue_tags),
    "ListQueues": (m.ListQueues, list_queues),
    "PurgeQueue": (m.OfQueue, purge_queue),
    "ReceiveMessage": (m.ReceiveMessage, receive_message),
    "RemovePermission": (m.RemovePermission, remove_permission),
    "SendMessage": (m.SendMessage, send_message),
    "SendMessageBatch": (m.SendMessageBatch, send_message_batch),
    "SetQueueAttributes": (m.SetQueueAttributes, set_queue_attributes),
    "StartMessageMoveTask": (m.StartMessageMoveTask, start_message_move_task),
    "TagQueue": (m.TagQueue, tag_queue),
    "UntagQueue": (m.UntagQueue, untag_queue),
}
