"""Who means harm, or sends what no client sends: refused, and the next one is served as before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.address import url_path
from fnqueue.broker.embedded.service.entries import Value
from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.emulator import browsers, members
from fnqueue.emulator.desk import Desk
from fnqueue.emulator.http import Request
from fnqueue.emulator.receiving import Wanted
from fnqueue.errors import BrokerRefused
from tests.emulator.clients import client, http_call, json_call, put, signed, take
from tests.servers import EmulatorProcess

PURGE = "/?Action=PurgeQueue&QueueUrl=orders"


# ------------------------------------------------------------------ web pages


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://page.example.com"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "page.example.com:9324"},
        {"Host": "page.example.com."},
        {"Host": "localhost.example.com:9324"},
        {"Host": "127.0.0.1.example.com:9324"},
        {"Host": "localhost@page.example.com"},
        {"Host": "[bad"},
        {"Host": "page.example.com:9324", "Origin": "http://page.example.com:9324"},
    ],
)
def test_a_web_page_that_a_developer_looks_at_neither_reads_nor_purges_a_queue(
    sqs: Any, queue: str, account: str, emulator_endpoint: str, headers: dict[str, str]
) -> None:
    put(sqs, queue, "a")
    for method, path in (("GET", PURGE), ("POST", PURGE), ("GET", "/_queues"), ("POST", "/_clock")):
        answer = http_call(emulator_endpoint, method, path, Authorization=signed(account), **headers)
        assert (answer.status, answer.json["__type"]) == (403, "com.amazonaws.sqs#AccessDenied")
        assert "page" in answer.json["message"]
    assert len(take(sqs, queue)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:9324"},
        {"Host": "sqs:9324"},
        {"Host": "[::1]:9324"},
        {"Host": "10.0.0.7:9324"},
        {"Host": "sqs.default.svc.cluster.local"},
        {"Host": "host.docker.internal:9324"},
        {"Sec_Fetch_Site": "none"},
        {"Host": "localhost:9324", "Origin": "http://localhost:9324", "Sec_Fetch_Site": "same-origin"},
    ],
)
def test_programs_call_it_by_any_name_that_no_page_has(emulator_endpoint: str, headers: dict[str, str]) -> None:
    assert http_call(emulator_endpoint, "GET", "/_health", **headers).status == 200


def test_where_others_may_reach_it_it_has_any_name_and_still_no_page_calls_it() -> None:
    def refused(**headers: str) -> bool:
        given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return browsers.refusal(Request("GET", "/_health", "", given), on_loopback=False) is not None

    assert not refused(host="sqs.example.com")
    assert refused(host="sqs.example.com", origin="https://page.example.com")
    assert refused(host="sqs.example.com", sec_fetch_site="cross-site")


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


class Names(list[str]):
    """Says how often it was gone through."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()

    def __contains__(self, name: object) -> bool:
        self.times += 1
        return super().__contains__(name)


def test_a_million_names_of_attributes_are_gone_through_once_and_not_for_each_attribute() -> None:
    names = Names(["a", "b.*", ".c", "d.e.*", "*.*"])
    wanted = Wanted(members.ReceiveMessage(message_attribute_names=names, message_system_attribute_names=names))
    given = {
        name: Value("String", name) for name in ("a", "aa", "b", "bx", "b.y", "c", ".c", "d.e", "d.ef", "d.", "*z")
    }
    assert set(wanted.chosen(given)) == {"a", "b", "bx", "b.y", ".c", "d.e", "d.ef", "*z"}
    for _ in range(100):
        wanted.chosen(given)
    assert names.times == 2


@pytest.mark.system
def test_polls_and_batches_of_megabytes_hold_no_memory_while_they_wait(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    server = EmulatorProcess(tmp_path / "emulator.db")
    client(server.endpoint, "1" * 12).create_queue(QueueName="orders")
    waiting: list[socket.socket] = []
    poll = {"QueueUrl": "orders", "WaitTimeSeconds": 20}
    for names in (["x" * 7000] * 1000, ["x"] * 1_000_000):
        for _ in range(12):
            body = json.dumps({**poll, "MessageAttributeNames": names}).encode()
            head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {signed('1' * 12)}\r\nContent-Length: {len(body)}\r\n"
            place = urlsplit(server.endpoint)
            waiting.append(socket.create_connection((place.hostname, place.port), timeout=30))
            waiting[-1].sendall(f"{head}X-Amz-Target: AmazonSQS.ReceiveMessage\r\n\r\n".encode() + body)
    batch = {"QueueUrl": "orders", "Entries": [{"Id": "1"}] * 500_000}
    assert json_call(server.endpoint, "SendMessageBatch", batch, "1" * 12).status == 400
    assert json_call(server.endpoint, "GetQueueUrl", {"QueueName": "orders"}, "1" * 12).status == 200
    assert psutil.Process(server.pid).memory_info().rss < 300 * 2**20
    for one in waiting:
        one.close()
    server.end()


class Name(str):
    """Can be seen to vanish."""


def keeps_nothing(use: Callable[[Desk, QueueService, Name], Awaitable[None]]) -> bool:
    """Whether a name is gone once a desk was used with it, without a collection."""

    async def run() -> bool:
        database, clock = Database(None), ManualClock()
        service = QueueService(database, clock=clock)
        desk = Desk(database, service, clock)
        name = Name("a name as long as a request")
        await use(desk, service, name)
        await desk.do(lambda: None)  # the engine's thread has let go of what it did before
        seen = weakref.ref(name)
        del name
        gone = seen() is None
        await asyncio.to_thread(desk.close)
        database.close()
        return gone

    gc.disable()
    try:
        return asyncio.run(run())
    finally:
        gc.enable()


def test_waiting_on_a_queue_that_is_not_there_keeps_nothing_of_its_name() -> None:
    async def stand_and_leave(desk: Desk, service: QueueService, name: Name) -> None:
        desk.leave(name, desk.stand(name), passes_on=False)

    assert keeps_nothing(stand_and_leave)


def test_a_queue_url_of_megabytes_is_no_queues_and_is_not_remembered() -> None:
    url = Name("http://127.0.0.1/111111111111/" + "a" * 5000)
    assert url_path(url) == ""
    seen = weakref.ref(url)
    del url
    assert seen() is None


def test_a_refused_request_is_let_go_at_once() -> None:
    async def look_up(desk: Desk, service: QueueService, name: Name) -> None:
        with contextlib.suppress(BrokerRefused):
            await desk.do(lambda: service.look_up(Address("us-east-1", "1" * 12, name)))

    assert keeps_nothing(look_up)


# ------------------------------------------------------------------ what follows a chunked body

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nTransfer-Encoding: chunked\r\n\r\n"


def connect(endpoint: str) -> socket.socket:
    place = urlsplit(endpoint)
    return socket.create_connection((place.hostname, place.port), timeout=30)


@pytest.mark.parametrize("piece", [b"x: " + b"y" * 4000 + b"\r\n", b"y" * 4000], ids=["many fields", "one field"])
def test_fields_without_end_behind_a_body_are_hung_up_on(emulator_endpoint: str, piece: bytes) -> None:
    with connect(emulator_endpoint) as endless:
        endless.sendall(CHUNKED + b"2\r\n{}\r\n0\r\nx: ")
        with pytest.raises(OSError):
            for _ in range(10_000):
                endless.sendall(piece)


@pytest.mark.parametrize("end", [b"\r\n", b"x: y\r\n\r\n"], ids=["no field", "a field"])
def test_a_long_body_in_chunks_is_read_however_it_is_cut(emulator_endpoint: str, end: bytes) -> None:
    chunks = [b"1\r\n{\r\n", *[b"ffff\r\n" + b" " * 0xFFFF + b"\r\n"] * 16, b"1\r\n}\r\n", b"0\r\n", end]
    whole = b"".join(chunks)
    for size in (7000, 65542, 65549, 300_000, len(whole)):  # each chunk is 65543 bytes with its header
        with connect(emulator_endpoint) as client:
            client.sendall(CHUNKED)
            for at in range(0, len(whole), size):
                client.sendall(whole[at : at + size])
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
