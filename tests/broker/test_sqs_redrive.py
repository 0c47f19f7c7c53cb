"""Dead letters that Amazon moves by itself. moto does not know the call: the answers are those of [T5]."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from fnqueue.broker.base import Entry
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import ManualClock
from fnqueue.errors import BrokerError, SendRefused
from tests.broker.sqs_proxy import Proxy, answer_json, fail

pytestmark = pytest.mark.aws
START, LOOK = "StartMessageMoveTask", "ListMessageMoveTasks"


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[Proxy]:
    made = Proxy(moto_endpoint)
    yield made
    made.close()


@pytest.fixture
def broker(proxy: Proxy) -> Iterator[SqsBroker]:
    made = SqsBroker(f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint={proxy.endpoint}", clock=ManualClock())
    made.create("dead")
    made.create("q")
    yield made
    made.close()


def task(status: str, moved: int, **more: object) -> dict[str, object]:
    return {"Status": status, "ApproximateNumberOfMessagesMoved": moved, **more}


def test_all_dead_letters_are_left_to_sqs_and_waited_for(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(START, answer_json(TaskHandle="h"))
    proxy.then(LOOK, *[answer_json(Results=[task(*each)]) for each in (("RUNNING", 3), ("COMPLETED", 1200))])
    assert broker.redrive("dead", "q") == 1200
    (started,) = proxy.requests(START)
    assert started["SourceArn"].endswith("-dead")
    assert started["DestinationArn"].endswith("-q")
    assert "ReceiveMessage" not in proxy.operations()


def test_a_move_that_ends_early_says_how_far_it_came_and_why(broker: SqsBroker, proxy: Proxy) -> None:
    proxy.then(START, answer_json(TaskHandle="h"))
    reason = "AWS.SimpleQueueService.NonExistentQueue"
    proxy.then(LOOK, answer_json(Results=[task("FAILED", 7, FailureReason=reason)]))
    with pytest.raises(BrokerError, match=f"redrive of 'dead': FAILED after 7 messages: {reason}"):
        broker.redrive("dead", "q")


def test_where_sqs_refuses_to_move_them_they_are_moved_by_hand(broker: SqsBroker, proxy: Proxy) -> None:
    broker.send("dead", [Entry(id=str(i), body=f"m{i}") for i in range(12)])
    proxy.then(START, fail(400, "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."))
    assert broker.redrive("dead", "q") == 12
    assert broker.attributes("q").visible == 12
    assert (broker.attributes("dead").visible, broker.attributes("dead").in_flight) == (0, 0)


def test_a_limit_is_kept_by_hand(broker: SqsBroker, proxy: Proxy) -> None:
    broker.send("dead", [Entry(id=str(i), body=f"m{i}") for i in range(12)])
    assert broker.redrive("dead", "q", limit=11) == 11
    assert proxy.requests(START) == []


def test_what_the_destination_does_not_take_stays_dead_and_visible(broker: SqsBroker, proxy: Proxy) -> None:
    broker.send("dead", [Entry(id=str(i), body=f"m{i}") for i in range(3)])
    proxy.then("SendMessageBatch", *[fail(400, "InvalidMessageContents", "no")] * 4)  # the batch, then each alone
    with pytest.raises(SendRefused, match="queue 'q': no"):
        broker.redrive("dead", "q", limit=5)
    assert broker.attributes("dead").visible == 3
