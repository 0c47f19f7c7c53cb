"""What is special to batches over SQS: packing, and answers that are lost, partial or late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from fnqueue import quotas
from fnqueue.broker.base import Entry, Message
from fnqueue.broker.sqs import SqsBroker
from fnqueue.broker.sqs.shapes import pack, size_of
from fnqueue.clock import ManualClock
from fnqueue.errors import BrokerRefused, BrokerUnreachable
from tests.broker.sqs_proxy import Proxy, answer_html, fail, fail_entries, lose_answer, lose_request

pytestmark = pytest.mark.aws
SEND = "SendMessageBatch"


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[Proxy]:
    made = Proxy(moto_endpoint)
    yield made
    made.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(proxy: Proxy, clock: ManualClock) -> Iterator[SqsBroker]:
    made = SqsBroker(f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint={proxy.endpoint}", clock=clock)
    yield made
    made.close()


def entries(*bodies: str) -> list[Entry]:
    return [Entry(id=body, body=body) for body in bodies]


def fifo_entries(*bodies: str) -> list[Entry]:
    return [Entry(id=body, body=body, group="g", dedupe=body) for body in bodies]


def bodies_asked(proxy: Proxy) -> list[list[str]]:
    return [[entry["MessageBody"] for entry in members["Entries"]] for members in proxy.requests(SEND)]


def test_calls_travel_in_tens(broker: SqsBroker, proxy: Proxy) -> None:
    assert broker.send("q", entries(*[f"m{i}" for i in range(23)])) == []
    assert [len(bodies) for bodies in bodies_asked(proxy)] == [10, 10, 3]
    found: list[Message] = []
    while messages := broker.receive("q", visibility_seconds=30):
        found += messages
    broker.change_visibility("q", [(m.receipt, 40) for m in found])
    broker.delete("q", [m.receipt for m in found])
    assert [len(m["Entries"]) for m in proxy.requests("ChangeMessageVisibilityBatch")] == [10, 10, 3]
    assert [len(m["Entries"]) for m in proxy.requests("DeleteMessageBatch")] == [10, 10, 3]


def test_a_queues_url_is_asked_for_once(broker: SqsBroker, proxy: Proxy) -> None:
    for _ in range(3):
        broker.send("q", entries("a"))
    assert proxy.operations() == ["GetQueueUrl", "CreateQueue", SEND, SEND, SEND]


def test_no_trip_is_larger_than_a_mebibyte_with_its_attributes() -> None:
    many = [Entry(id=str(i), body="x" * 150_000, attributes={"naïve": "é" * 20_000}) for i in range(13)]
    trips, failures = pack(many, bytes_max=quotas.BODY_BYTES_MAX)
    assert failures == []
    assert size_of(many[0]) == 150_000 + len("naïve".encode()) + len("String") + 40_000
    assert [[entry["Id"] for entry in trip] for trip in trips] == [["0", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"],
                                                                   ["10", "11", "12"]]  # fmt: skip


def test_a_url_may_state_a_servers_smaller_limit() -> None:
    trips, _ = pack(entries("a" * 600, "b" * 600, "c" * 300), bytes_max=1024)
    assert [[entry["Id"] for entry in trip] for trip in trips] == [["0"], ["1", "2"]]


@pytest.mark.parametrize("spoil", [lose_answer, lose_request, fail(500), fail(503, "ServiceUnavailable")])
def test_a_trip_that_is_not_sure_is_sent_again_with_the_same_ids_and_bytes(
    broker: SqsBroker, proxy: Proxy, spoil: object
) -> None:
    proxy.then(SEND, spoil)  # type: ignore[arg-type]
    assert broker.send("q.fifo", fifo_entries("a", "b")) == []
    first, second = proxy.requests(SEND)
    assert first == second
    assert [m.body for m in broker.receive("q.fifo")] == ["a", "b"]  # once each: the queue knows the ids


def test_an_entry_that_sqs_failed_at_is_sent_again_alone(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, fail_entries("1"))
    assert broker.send("q", entries("a", "b", "c")) == []
    assert bodies_asked(proxy) == [["a", "b", "c"], ["b"]]
    assert proxy.requests(SEND)[1]["Entries"][0]["Id"] == "1"


def test_an_entry_that_sqs_keeps_failing_at_comes_back_as_no_fault_of_ours(
    broker: SqsBroker, proxy: Proxy, clock: ManualClock
) -> None:
    before = clock.monotonic()
    proxy.then(SEND, *[fail_entries("11", code="ServiceUnavailable")] * 9)
    (failure,) = broker.send("q", entries(*[f"m{i}" for i in range(12)]))
    assert (failure.index, failure.code, failure.sender_fault) == (11, "ServiceUnavailable", False)
    assert len(proxy.requests(SEND)) == 1 + 4
    assert 1 < clock.monotonic() - before < 3  # seconds of pauses


def test_entries_that_an_answer_forgets_are_sent_again(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, lambda members, forward: (200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}"))
    assert broker.send("q", entries("a", "b")) == []
    assert bodies_asked(proxy) == [["a", "b"], ["a", "b"]]


def test_deletions_that_sqs_failed_at_are_tried_again(broker: SqsBroker, proxy: Proxy) -> None:
    broker.send("q", entries("a", "b"))
    messages = broker.receive("q", visibility_seconds=30)
    proxy.then("DeleteMessageBatch", fail_entries("0"))
    assert broker.delete("q", [m.receipt for m in messages]) == []
    assert [len(m["Entries"]) for m in proxy.requests("DeleteMessageBatch")] == [2, 1]


def test_nothing_was_sent_raises_and_part_was_sent_returns_the_rest(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, *[fail(500)] * 3)
    with pytest.raises(BrokerUnreachable, match="busy or failing"):
        broker.send("q", entries("a"))
    proxy.then(SEND, lambda members, forward: forward(), *[fail(500)] * 3)
    failures = broker.send("q", entries(*[f"m{i:02}" for i in range(21)]))
    assert [failure.index for failure in failures] == list(range(10, 21))
    assert {(failure.code, failure.sender_fault) for failure in failures} == {("BrokerUnreachable", False)}


def test_a_refusal_of_the_whole_batch_for_one_entry_is_undone_one_by_one(broker: SqsBroker, proxy: Proxy) -> None:
    broker.create("q.fifo")
    good, wrong = fifo_entries("a", "c"), Entry(id="b", body="b", dedupe="b")
    failures = broker.send("q.fifo", [good[0], wrong, good[1]])
    assert [(failure.index, failure.sender_fault) for failure in failures] == [(1, True)]
    assert bodies_asked(proxy) == [["a", "b", "c"], ["a"], ["b"], ["c"]]


def test_throttling_is_tried_again_and_then_says_so(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, fail(403, "RequestThrottled"))
    assert broker.send("q", entries("a")) == []
    proxy.then(SEND, *[fail(403, "RequestThrottled")] * 3)
    with pytest.raises(BrokerUnreachable, match="RequestThrottled") as caught:
        broker.send("q", entries("a"))
    assert caught.value.retryable


def test_a_right_that_is_missing_is_a_refusal_and_not_tried_again(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, fail(403, "AccessDenied", "User: arn:x is not authorized to perform: sqs:sendmessage"))
    with pytest.raises(BrokerRefused, match="not authorized to perform: sqs:sendmessage") as caught:
        broker.send("q", entries("a"))
    assert (caught.value.code, caught.value.retryable) == ("AccessDenied", False)
    assert len(proxy.requests(SEND)) == 1


def test_a_refused_signature_quotes_nothing_of_the_request(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, fail(403, "SignatureDoesNotMatch", "the canonical string should have been SECRET"))
    with pytest.raises(BrokerRefused, match="does not accept the credentials") as caught:
        broker.send("q", entries("a"))
    assert "SECRET" not in str(caught.value)


def test_an_answer_that_is_not_sqs_is_no_answer(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(SEND, answer_html)
    with pytest.raises(BrokerUnreachable, match="not SQS's JSON"):
        broker.send("q", entries("a"))


def test_a_lost_answer_to_a_fifo_receive_is_asked_for_again_by_the_same_attempt(
    broker: SqsBroker, proxy: Proxy
) -> None:
    broker.send("q.fifo", fifo_entries("a"))
    proxy.then("ReceiveMessage", lose_request)
    assert [m.body for m in broker.receive("q.fifo", visibility_seconds=30)] == ["a"]
    first, second = (members["ReceiveRequestAttemptId"] for members in proxy.requests("ReceiveMessage"))
    assert first == second
    broker.receive("q.fifo")
    assert proxy.requests("ReceiveMessage")[2]["ReceiveRequestAttemptId"] != first


def test_a_long_poll_costs_its_messages_two_seconds_of_their_lease_and_not_twenty(
    broker: SqsBroker, clock: ManualClock
) -> None:
    broker.receive("q")
    found: list[Message] = []
    poll = threading.Thread(
        target=lambda: found.extend(broker.receive("q", wait_seconds=20, visibility_seconds=60)), daemon=True
    )
    asked = clock.monotonic()
    poll.start()
    poll.join(0.3)
    clock.advance(seconds=15)
    broker.send("q", entries("a"))
    poll.join(20)
    (message,) = found
    assert message.receipt.deadline == asked + 15 - 2 + 60


def test_a_short_poll_counts_its_lease_from_before_the_question(broker: SqsBroker, clock: ManualClock) -> None:
    broker.send("q", entries("a"))
    asked = clock.monotonic()
    (message,) = broker.receive("q", visibility_seconds=60)
    assert message.receipt.deadline == asked + 60
