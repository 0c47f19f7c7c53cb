"""A Lambda function in the place of a worker: what SQS's event source mapping brings is run, and what is told as failed
is what is still in the queue.

The queue is real, over HTTP, and `Mapping` does with it and with an answer what Lambda does. Rows in brackets are
those of the specification sheet of AWS Lambda.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("botocore")
pytest.importorskip("uvicorn")

from fnqueue import Backoff, FnQueue, RetryLater, current_task
from fnqueue.broker.base import Entry
from fnqueue.errors import EventInvalid, OptionInvalid, SettingsInvalid
from fnqueue.policies import authenticated, public
from fnqueue.security.keystrings import new_key
from tests.broker.sqs_proxy import Answer, Forward, Proxy, fail
from tests.emulator.clients import CLIENTS, client
from tests.worker.event_source import Event, Mapping


class Context:
    """As the runtime's: a deadline in milliseconds [C1]."""

    aws_request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    memory_limit_in_mb = "128"

    def __init__(self, seconds: float = 60) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


class Shop:
    """An application with its queue, a handler of it, and what ran."""

    def __init__(self, endpoint: str, folder: Path, **settings: Any) -> None:
        self.prefix = f"{secrets.token_hex(4)}-"
        account = "123456789012"
        self.endpoint, self.sqs = endpoint, client(endpoint, account)
        url = f"sqs://us-east-1/{self.prefix}?endpoint={endpoint}&account={account}"
        given: dict[str, Any] = {"store_url": f"sqlite:///{folder}/store.db", "keys": f"primary:{new_key()}"}
        self.fn = FnQueue(url=url, environment="test", **given | settings)
        self.ran: list[Any] = []
        self.handler = self.fn.lambda_handler()

    def task(self, **options: Any) -> Callable[[Any], Any]:
        return lambda function: self.fn.task(name=function.__name__, **options)(function)

    def mapping(self, queue: str = "default") -> Mapping:
        name = f"{self.prefix}{queue}"
        return Mapping(self.sqs, self.sqs.get_queue_url(QueueName=name)["QueueUrl"])


@pytest.fixture
def make(emulator_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Shop]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "123456789012")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    shops: list[Shop] = []

    def made(**settings: Any) -> Shop:
        shops.append(Shop(settings.pop("endpoint", emulator_endpoint), tmp_path, **settings))
        return shops[-1]

    yield made
    for shop in shops:
        shop.fn.close()
    while CLIENTS:
        CLIENTS.pop().close()


@pytest.fixture
def shop(make: Callable[..., Shop]) -> Shop:
    return make()


def test_what_a_mapping_brings_is_run_and_gone_and_each_call_has_its_result(shop: Shop) -> None:
    @shop.task(policy=public)
    def double(n: int) -> int:
        shop.ran.append(n)
        return 2 * n

    @shop.task(policy=public)
    async def triple(n: int) -> int:
        await asyncio.sleep(0)
        shop.ran.append(n)
        return 3 * n

    handles = [*(double.defer(n) for n in range(5)), *(triple.defer(n) for n in range(5, 9))]
    mapping = shop.mapping()
    while sum(mapping.counts()):
        assert mapping.invoke(shop.handler) == []
    assert sorted(shop.ran) == list(range(9))
    assert [handle.result() for handle in handles] == [0, 2, 4, 6, 8, 15, 18, 21, 24]


def test_only_what_failed_comes_again_and_not_before_its_task_says(shop: Shop) -> None:
    """[M10, H13] Without a word to the queue it would come when its visibility timeout is over."""

    @shop.task(policy=public, retry=Backoff(5))
    def load(n: int) -> str:
        shop.ran.append((n, current_task.attempt))
        if n == 1 and current_task.attempt == 1:
            raise RetryLater(0)
        if n == 2:
            raise RetryLater(600)
        return "done"

    handles = [load.defer(n) for n in range(4)]
    mapping = shop.mapping()
    event = mapping.event()
    bodies = {record["messageId"]: record["body"] for record in event["Records"]}
    failed = mapping.invoke(shop.handler, event)
    assert len(failed) == 2
    assert mapping.counts() == (1, 1)
    again = mapping.event()
    assert [record["body"] for record in again["Records"]] == [bodies[each] for each in failed if each in bodies][:1]
    assert again["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"  # [E7, B12]
    assert mapping.invoke(shop.handler, again) == []
    assert sorted(shop.ran) == [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1)]
    assert [handle.state for handle in handles] == ["SUCCESS", "SUCCESS", "RETRY", "SUCCESS"]


def test_what_fails_for_good_goes_to_the_dead_letter_queue_and_is_not_told_as_failed(shop: Shop) -> None:
    @shop.task(policy=public, retry=None)
    def load(n: int) -> None:
        raise ValueError("no such row")

    handle = load.defer(1)
    mapping = shop.mapping()
    shop.fn.runtime().engine.broker.create("default__dead")
    assert mapping.invoke(shop.handler) == []
    assert mapping.counts() == (0, 0)
    assert shop.mapping("default__dead").counts() == (1, 0)
    assert handle.state == "FAILURE"


def test_a_fifo_group_stops_at_its_first_failure_and_the_other_groups_go_on(shop: Shop) -> None:
    """[B10]"""

    @shop.task(policy=public, queue="orders.fifo", retry=Backoff(5))
    def book(group: str, n: int) -> None:
        shop.ran.append((group, n))
        if (group, n) == ("a", 1) and shop.ran.count(("a", 1)) == 1:
            raise RetryLater(0)

    for n in range(3):
        book.using(group="a").defer("a", n)
        book.using(group="b").defer("b", n)
    mapping = shop.mapping("orders.fifo")
    event = mapping.event()
    assert len(event["Records"]) == 6
    failed = mapping.invoke(shop.handler, event)
    groups = [record["attributes"]["MessageGroupId"] for record in event["Records"]]
    of_a = [record["messageId"] for record, group in zip(event["Records"], groups, strict=True) if group == groups[0]]
    assert failed == of_a[1:]
    assert [one for one in shop.ran if one[0] == "b"] == [("b", 0), ("b", 1), ("b", 2)]
    assert [one for one in shop.ran if one[0] == "a"] == [("a", 0), ("a", 1)]
    assert mapping.invoke(shop.handler) == []  # at once: nothing of the group was left hidden
    assert [one for one in shop.ran if one[0] == "a"] == [("a", 0), ("a", 1), ("a", 1), ("a", 2)]


def test_nothing_is_begun_in_the_last_seconds_and_what_is_left_is_visible_at_once(make: Callable[..., Shop]) -> None:
    """[H5]"""
    shop = make(concurrency=1)

    @shop.task(policy=public)
    def slow(n: int) -> None:
        shop.ran.append(n)
        time.sleep(1.2)  # of the time that Lambda gives, which nobody can turn

    for n in range(4):
        slow.defer(n)
    mapping = shop.mapping()
    began = time.monotonic()
    failed = mapping.invoke(shop.fn.lambda_handler(reserve_seconds=2), context=Context(3))
    assert time.monotonic() - began < 3
    assert len(shop.ran) + len(failed) == 4
    assert len(shop.ran) == 1
    assert mapping.counts() == (3, 0)


def test_a_reserve_of_all_the_time_there_is_begins_nothing_says_so_and_is_no_loop(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a timeout of 30: given back at once, each message came at once, again and again, until it was dead."""

    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    note.defer(1)
    mapping = shop.mapping()
    with caplog.at_level(logging.ERROR):
        assert len(mapping.invoke(shop.fn.lambda_handler(reserve_seconds=30), context=Context(30))) == 1
    assert "reserve_seconds=30 leaves nothing" in caplog.text
    assert shop.ran == []
    assert mapping.counts() == (0, 1)


def test_what_has_ended_is_gone_although_the_invocation_is_cut_off_later(make: Callable[..., Shop]) -> None:
    """[B7] Lambda takes all records of such an invocation for failed, and deletes none."""
    shop = make(concurrency=1)
    mapping_of: list[Mapping] = []

    @shop.task(policy=public)
    def work(n: int) -> None:
        if n == 2:
            until = time.monotonic() + 10
            while mapping_of[0].counts()[1] > 2 and time.monotonic() < until:
                time.sleep(0.01)
            shop.ran.append(mapping_of[0].counts())

    for n in range(1, 4):
        work.using(priority="normal").defer(n)
    mapping_of.append(shop.mapping())
    event = mapping_of[0].event()
    shop.handler(event, Context())
    assert shop.ran == [(0, 2)]


def test_a_call_that_may_run_at_most_once_is_deleted_before_and_not_told_as_failed(shop: Shop) -> None:
    @shop.task(policy=public, at_most_once=True)
    def charge(n: int) -> None:
        shop.ran.append(shop.mapping().counts())
        raise RuntimeError("the bank hung up")

    charge.defer(1)
    mapping = shop.mapping()
    assert mapping.invoke(shop.handler) == []
    assert shop.ran == [(0, 0)]


def test_what_was_cancelled_is_not_run_by_an_invocation_that_begins_later(shop: Shop) -> None:
    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    handle = note.defer(1)
    note.defer(2)
    handle.cancel()
    assert shop.mapping().invoke(shop.handler) == []
    assert shop.ran == [2]
    assert handle.state == "REVOKED"


def test_one_handler_serves_many_invocations_and_leaves_no_thread_behind(shop: Shop) -> None:
    """[H3] A frozen process goes on with what it left running when it is thawed."""

    @shop.task(policy=public)
    async def note(n: int) -> None:
        shop.ran.append(n)

    mapping_of = None
    before: set[threading.Thread] = set()
    for n in range(5):
        note.defer(n)
        mapping_of = mapping_of or shop.mapping()
        mapping_of.invoke(shop.handler)
        left = {thread for thread in threading.enumerate() if thread.name.startswith("fnqueue")}
        end = time.monotonic() + 5
        while n and left - before and time.monotonic() < end:
            left = {thread for thread in threading.enumerate() if thread.name.startswith("fnqueue")}
        assert not n or left - before == set()
        before = left
    assert sorted(shop.ran) == [0, 1, 2, 3, 4]


def test_what_coroutines_keep_on_their_loop_serves_the_next_invocation_as_it_does_in_a_worker(shop: Shop) -> None:
    """A client of httpx, asyncpg or redis that is made once: its connections are of one loop."""
    kept: list[asyncio.Queue[int]] = []

    @shop.task(policy=public, retry=None)
    async def note(n: int) -> None:
        if not kept:
            kept.append(asyncio.Queue())
        asyncio.get_running_loop().call_later(0.01, kept[0].put_nowait, n)
        shop.ran.append(await kept[0].get())

    for n in range(3):
        note.defer(n)
        assert shop.mapping().invoke(shop.handler) == []
    assert shop.ran == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_is_forked_after_an_invocation_has_a_loop_of_its_own(shop: Shop) -> None:
    """[I8]"""

    @shop.task(policy=public)
    async def note(n: int) -> None:
        shop.ran.append(n)

    note.defer(1)
    shop.mapping().invoke(shop.handler)
    note.defer(2)
    event = shop.mapping().event()
    pid = os.fork()
    if pid == 0:
        answer = shop.handler(event, Context(10))
        os._exit(0 if shop.ran == [1, 2] and answer == {"batchItemFailures": []} else 1)
    end = time.monotonic() + 20
    while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if found == (0, 0):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert found == (pid, 0)


# ---------------------------------------------------------------- the queue is away


@pytest.fixture
def proxy(emulator_endpoint: str) -> Iterator[Proxy]:
    made = Proxy(emulator_endpoint)
    yield made
    made.close()


@pytest.fixture
def far(make: Callable[..., Shop], proxy: Proxy) -> Shop:
    """Behind the proxy, and with nothing but the queue."""
    return make(endpoint=proxy.endpoint, store_url="none")


def test_what_ended_is_not_run_anew_because_the_queue_did_not_take_its_deletion(far: Shop, proxy: Proxy) -> None:
    """Lambda deletes it. A function in a VPC that SQS cannot be reached from ran all its calls for ever."""

    @far.task(policy=public)
    def note(n: int) -> None:
        far.ran.append(n)

    for n in range(3):
        note.defer(n)
    mapping = far.mapping()
    event = mapping.event()
    proxy.then("DeleteMessageBatch", *[fail(500)] * 50)
    began = time.monotonic()
    assert mapping.invoke(far.handler, event, Context(60)) == []
    assert time.monotonic() - began < 30  # and it did not wait for the end of its time
    assert mapping.counts() == (0, 0)
    assert sorted(far.ran) == [0, 1, 2]


@pytest.mark.parametrize(("wait", "operation"), [(None, "DeleteMessageBatch"), (60, "ChangeMessageVisibilityBatch")])
def test_the_answer_leaves_in_time_where_the_queue_does_not_answer(
    far: Shop, proxy: Proxy, wait: int | None, operation: str
) -> None:
    """[B7] One that is late is a complete failure, and ends the process."""

    @far.task(policy=public, retry=Backoff(5))
    def load() -> None:
        far.ran.append(1)
        if wait is not None:
            raise RetryLater(wait)

    answering = threading.Event()

    def deaf(members: dict[str, Any], forward: Forward) -> Answer | None:
        answering.wait(30)
        return None

    load.defer()
    event = far.mapping().event()
    proxy.then(operation, *[deaf] * 20)
    began = time.monotonic()
    answer = far.fn.lambda_handler(reserve_seconds=0.5)(event, Context(2))
    assert time.monotonic() - began < 4  # 2, on a machine that does nothing else; it was 15
    told = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
    assert told == ([] if wait is None else [event["Records"][0]["messageId"]])
    assert far.ran == [1]
    answering.set()


# ---------------------------------------------------------------- made-up events


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "Records",
        {},
        {"Records": None},
        {"Records": []},
        {"Records": {"0": {}}},
        {"Records": [None]},
        {"source": "aws.scheduler", "detail": "{}"},
        {"Records": [{"eventSource": "aws:s3", "messageId": "m"}]},
        {"Records": [{"eventSource": "aws:sqs"}]},
        {"Records": [{"eventSource": "aws:sqs", "messageId": ""}]},
        {"Records": [{"eventSource": "aws:sqs", "messageId": 7}]},
    ],
)
def test_an_event_that_is_none_of_sqs_is_an_error_and_runs_nothing(shop: Shop, event: Any) -> None:
    """[S4, B4] A failure of what has no id could not be told: Lambda would delete it."""
    with pytest.raises(EventInvalid, match="not an event of SQS"):
        shop.handler(event, Context())


def spoilt(record: dict[str, Any], change: dict[str, Any]) -> Event:
    return {"Records": [record | change]}


@pytest.mark.parametrize(
    "change",
    [
        {"body": None},
        {"body": 7},
        {"receiptHandle": None},
        {"receiptHandle": ""},
        {"eventSourceARN": None},
        {"eventSourceARN": "arn:aws:sqs:us-east-1:123456789012"},
        {"attributes": "ApproximateReceiveCount"},
        {"attributes": {"ApproximateReceiveCount": 1}},
        {"attributes": {"ApproximateReceiveCount": "-1"}},
        {"attributes": {"ApproximateReceiveCount": "٣"}},
        {"attributes": {"SentTimestamp": "9" * 5000}},
        {"messageAttributes": []},
    ],
)
def test_a_record_that_cannot_be_read_is_told_as_failed_and_the_others_run(
    shop: Shop, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    note.defer(1)
    note.defer(2)
    mapping = shop.mapping()
    event = mapping.event()
    while len(event["Records"]) < 2:
        event["Records"] += mapping.event()["Records"]
    event["Records"][0] = event["Records"][0] | change
    with caplog.at_level(logging.ERROR):
        assert mapping.invoke(shop.handler, event) == [event["Records"][0]["messageId"]]
    assert len(shop.ran) == 1
    assert event["Records"][0]["messageId"] in caplog.text


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sqs:eu-west-1:123456789012:{prefix}default",
        "arn:aws:sqs:us-east-1:999999999999:{prefix}default",
        "arn:aws:sqs:us-east-1:123456789012:default",
        "arn:aws:sqs:us-east-1:123456789012:{prefix}unknown",
        "arn:aws:sqs:us-east-1:123456789012:{prefix}default__dead",
        "arn:aws:sns:us-east-1:123456789012:{prefix}default",
    ],
)
def test_a_made_up_lambda_event_that_names_a_queue_that_is_not_ours_runs_nothing(shop: Shop, arn: str) -> None:
    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    note.defer(1)
    mapping = shop.mapping()
    (record,) = mapping.event()["Records"]
    event = spoilt(record, {"eventSourceARN": arn.format(prefix=shop.prefix)})
    assert mapping.invoke(shop.handler, event) == [record["messageId"]]
    assert shop.ran == []


def test_a_made_up_lambda_event_runs_nothing_that_was_not_deferred(shop: Shop) -> None:
    """Whoever may invoke the function has no keys: a body that he makes, changes, or takes from another queue is
    refused as it is in a queue, and who was not logged in stays so."""

    @shop.task(policy=authenticated)
    def pay(n: int) -> None:
        shop.ran.append(n)

    @shop.task(policy=public, queue="other")
    def note(n: int) -> None:
        shop.ran.append(("note", n))

    note.defer(1)
    other = shop.mapping("other")
    (record,) = other.event()["Records"]
    shop.fn.runtime().engine.broker.create("default")
    arn = record["eventSourceARN"].replace("other", "default")
    body = record["body"]
    flipped = body[:-10] + ("A" if body[-10] != "A" else "B") + body[-9:]
    invented = base64.b64encode(json.dumps({"task": "pay", "args": [7]}).encode()).decode()
    for change in (
        {"eventSourceARN": arn},
        {"body": flipped},
        {"body": invented},
        {"body": '{"task": "pay", "args": [7], "principal": "user:1"}'},
        {"body": ""},
        {"body": "fnq1."},
    ):
        shop.handler(spoilt(record, change), Context())
        assert shop.ran == [], change
    assert other.invoke(shop.handler, {"Records": [record]}) == []
    assert shop.ran == [("note", 1)]


@pytest.mark.parametrize("receipt", ["of nobody", "the same"])
def test_a_made_up_lambda_event_with_a_true_message_runs_a_once_call_no_second_time(shop: Shop, receipt: str) -> None:
    """He may have seen it in the queue. Its count and its receipt are what he says."""

    @shop.task(policy=public, once=True)
    def pay(n: int) -> None:
        shop.ran.append(n)

    pay.defer(7)
    mapping = shop.mapping()
    (record,) = mapping.event()["Records"]
    attributes = record["attributes"] | {"ApproximateReceiveCount": "1"}
    made_up = spoilt(record, {"attributes": attributes, "messageId": "another", "receiptHandle": receipt})
    if receipt == "the same":
        made_up["Records"][0]["receiptHandle"] = record["receiptHandle"]
    assert mapping.invoke(shop.handler, {"Records": [record]}) == []
    for _ in range(3):
        shop.handler(made_up, Context())
    assert shop.ran == [7]


def test_a_message_that_was_received_twice_in_one_batch_runs_once_and_keeps_no_other(shop: Shop) -> None:
    """A standard queue may do so, and does where the batching window is longer than the visibility timeout."""

    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    note.defer(1)
    mapping = shop.mapping()
    (first,) = mapping.event()["Records"]
    shop.sqs.change_message_visibility(QueueUrl=mapping.url, ReceiptHandle=first["receiptHandle"], VisibilityTimeout=0)
    (again,) = mapping.event()["Records"]
    assert again["messageId"] == first["messageId"]
    note.defer(2)
    (other,) = mapping.event()["Records"]
    assert mapping.invoke(shop.handler, {"Records": [first, again, other]}) == []
    assert sorted(shop.ran) == [1, 2]
    assert mapping.counts() == (0, 0)


def test_a_made_up_lambda_event_forges_no_line_of_the_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.task(policy=public)(print)
    record = {"eventSource": "aws:sqs", "messageId": "m\nOPERATOR service:operator revokes\x1b[2J"}
    with caplog.at_level(logging.ERROR):
        shop.handler({"Records": [record]}, Context())
    (line,) = [each.getMessage() for each in caplog.records if "not run" in each.getMessage()]
    assert line.isprintable()


@pytest.mark.parametrize(("said", "level"), [("WARN", "WARNING"), ("FATAL", "ERROR"), ("TRACE", "DEBUG"), ("", "INFO")])
def test_the_level_that_a_function_is_set_to_is_the_one_of_our_lines(
    shop: Shop, said: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Lambda's words: who set WARN paid for a line of each success."""
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", said)
    shop.task(policy=public)(print)
    logger = logging.getLogger("fnqueue")
    before = logger.level
    try:
        shop.handler({"Records": [{"eventSource": "aws:sqs", "messageId": "m"}]}, Context())
        assert logging.getLevelName(logger.level) == level
    finally:
        logger.setLevel(before)


# ---------------------------------------------------------------- what it refuses to be


def test_what_keeps_a_worker_from_starting_is_an_error_and_all_of_the_event_comes_again(shop: Shop) -> None:
    @shop.task(policy=public, time_limit_seconds=5)
    def slow(n: int) -> None:
        shop.ran.append(n)

    slow.defer(1)
    with pytest.raises(SettingsInvalid, match="a thread cannot be stopped from outside"):
        shop.handler(shop.mapping().event(), Context())
    assert shop.ran == []


def test_a_queue_on_sqlite_has_no_lambda_function() -> None:
    fn = FnQueue(url="sqlite://")
    with pytest.raises(SettingsInvalid, match="sqs://"):
        fn.lambda_handler()({"Records": [{"eventSource": "aws:sqs", "messageId": "m"}]}, None)
    fn.close()


@pytest.mark.parametrize("reserve", [0, 0.4, 601, None, "2", float("nan")])
def test_a_reserve_that_is_none_is_refused_where_it_is_written(reserve: Any) -> None:
    with pytest.raises(OptionInvalid, match="reserve_seconds"):
        FnQueue(url="sqlite://").lambda_handler(reserve_seconds=reserve)


def test_without_a_store_it_runs_what_comes(make: Callable[..., Shop]) -> None:
    shop = make(store_url="none")

    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    note.defer(1)
    mapping = shop.mapping()
    assert mapping.invoke(shop.handler) == []
    assert shop.ran == [1]


def test_a_message_of_another_program_is_refused_as_by_a_worker(shop: Shop) -> None:
    @shop.task(policy=public)
    def note(n: int) -> None:
        shop.ran.append(n)

    broker = shop.fn.runtime().engine.broker
    broker.create("default__dead")
    broker.send("default", [Entry(id="x", body="hello")])
    note.defer(1)
    mapping = shop.mapping()
    while sum(mapping.counts()):
        mapping.invoke(shop.handler)
    assert shop.ran == [1]
    assert shop.mapping("default__dead").counts() == (1, 0)
