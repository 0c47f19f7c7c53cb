"""Who means harm, or sends what no client sends: refused, and the next one is served as before."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any
from xml.etree import ElementTree

import pytest

from fnqueue.broker.embedded.service import QueueService
from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.emulator.desk import Desk
from tests.emulator.clients import http_call, json_call, signed

# ------------------------------------------------------------------ rubbish


@pytest.mark.parametrize(
    "form",
    [
        "Action=ListQueues&QueueNamePrefix=%FF",
        "Action=ListQueues&QueueNamePrefix=\N{LATIN SMALL LETTER E WITH ACUTE}",
        "Action=GetQueueUrl&QueueName=%ED%A0%80",
        "Action=PurgeQueue&QueueUrl=%FF",
        "Action=CreateQueue&QueueName=made&Tag.1.Key=%FF&Tag.1.Value=x",
        "Action=CreateQueue&QueueName=made&Attribute.1.Name=KmsMasterKeyId&Attribute.1.Value=%FF",
        "Action=AddPermission&QueueUrl=orders&Label=%FF&AWSAccountId.1=1&ActionName.1=*",
        "Action=SendMessage&QueueUrl=orders&MessageBody=a&MessageAttribute.1.Name.x=n&MessageAttribute.1.Value=v",
    ],
)
def test_a_form_that_is_no_text_or_names_a_map_by_a_map_is_a_400(
    emulator_endpoint: str, account: str, queue: str, form: str
) -> None:
    answer = http_call(emulator_endpoint, "POST", "/", form.encode("latin-1"), Authorization=signed(account))
    assert answer.status == 400
    assert ElementTree.fromstring(answer.body).tag.endswith("ErrorResponse")


def test_a_long_number_that_is_none_is_refused_at_once(
    sqs: Any, queue: str, account: str, emulator_endpoint: str
) -> None:
    number = {"n": {"DataType": "Number", "StringValue": "1" * 30_000 + "x"}}
    asked = {"QueueUrl": queue, "MessageBody": "a", "MessageAttributes": number}
    started = time.monotonic()
    answer = json_call(emulator_endpoint, "SendMessage", asked, account)
    assert answer.status == 400
    assert "Can't cast the value" in answer.json["message"]
    assert time.monotonic() - started < 5, "it took more than a minute, in which nobody else was served"


class Name(str):
    """Can be seen to vanish."""


def test_waiting_on_a_queue_that_is_not_there_keeps_nothing_of_its_name() -> None:
    async def stand_and_leave() -> None:
        database, clock = Database(None), ManualClock()
        desk = Desk(database, QueueService(database, clock=clock), clock)
        name = Name("a name as long as a request")
        desk.leave(name, desk.stand(name), passes_on=False)
        seen = weakref.ref(name)
        del name
        gc.collect()
        assert seen() is None
        await asyncio.to_thread(desk.close)
        database.close()

    asyncio.run(stand_and_leave())
