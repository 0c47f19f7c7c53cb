"""The broker's contract. Every engine passes these same tests; where they differ from a page of ours, they are right.

Rows in brackets are those of the SQS specification sheet. A test takes

    broker    one Broker
    other     another Broker on the same engine: another connection, or another process
    pass_time(seconds)   the engine's time passes; on a server that keeps its own time, really

and two marks: `@wrong_in("moto", row, why)` for a row that a server has wrong (it must fail there: a server
that mends its ways is noticed), and `@not_on("moto", why)` where a server cannot even be asked.
Counts and order of standard queues are never asserted beyond what SQS promises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fnqueue import quotas
from fnqueue.broker.base import Broker, Entry, Message, Receipt
from fnqueue.clock import Clock
from fnqueue.errors import BrokerRefused, OptionInvalid, QueueMissing

PassTime = Callable[[float], None]

QUEUE = "orders"
FIFO = "orders.fifo"


def wrong_in(engine: str, row: str, why: str) -> pytest.MarkDecorator:
    return pytest.mark.wrong_in(engine, row, why)


def not_on(engine: str, why: str) -> pytest.MarkDecorator:
    return pytest.mark.not_on(engine, why)


turned = not_on("moto", "keeps its own time: this needs hours")


def put(broker: Broker, queue: str, *bodies: str, **options: Any) -> None:
    entries = [Entry(id=f"id-{body[:40]}", body=body, **options) for body in bodies]
    assert broker.send(queue, entries) == []


def put_in_order(broker: Broker, *bodies: str, group: str | None = None) -> None:
    """`a1` goes into group `a`."""
    entries = [Entry(id=body, body=body, group=group or body[0], dedupe=f"d-{body}") for body in bodies]
    assert broker.send(FIFO, entries) == []


def take(broker: Broker, queue: str = QUEUE, count: int = 10, *, hidden: int = 30) -> list[Message]:
    return broker.receive(queue, max_messages=count, visibility_seconds=hidden)


def take_one(broker: Broker, queue: str = QUEUE, *, hidden: int = 30) -> Message:
    messages = take(broker, queue, 1, hidden=hidden)
    assert len(messages) == 1
    return messages[0]


def drain(broker: Broker, queue: str = QUEUE) -> list[Message]:
    """All that is visible, deleted."""
    found: list[Message] = []
    while messages := take(broker, queue):
        assert broker.delete(queue, receipts(messages)) == []
        found += messages
    return found


def bodies(messages: Iterable[Message]) -> list[str]:
    return [message.body for message in messages]


def receipts(messages: Iterable[Message]) -> list[Receipt]:
    return [message.receipt for message in messages]


def failed(failures: Sequence[Any]) -> list[tuple[int, str]]:
    return [(failure.index, failure.code) for failure in failures]


class MessagesContract:
    """One message's way: sent, received, hidden, deleted."""

    def test_what_is_sent_is_received_with_its_body_and_attributes(self, broker: Broker, other: Broker) -> None:
        put(broker, QUEUE, "hello", attributes={"generation": "0", "trace": "a-b-c"})
        message = take_one(other)
        assert (message.body, dict(message.attributes)) == ("hello", {"generation": "0", "trace": "a-b-c"})
        assert message.receipt.queue == QUEUE
        assert message.message_id
        assert (message.group, message.dedupe, message.dead_letter_source) == (None, None, None)

    @pytest.mark.parametrize("body", ["<&>\"'\\/", "tab\tnewline\n", " spaces ", "é✓\U0001d11e", '{"a": [1]}', "x"])
    def test_a_body_arrives_as_it_was_sent(self, broker: Broker, other: Broker, body: str) -> None:
        put(broker, QUEUE, body)
        assert bodies(take(other)) == [body]

    def test_the_first_delivery_tells_when_it_was_sent_and_counts_one(self, broker: Broker, clock: Clock) -> None:
        before = clock.now()
        put(broker, QUEUE, "a")
        message = take_one(broker)
        assert message.receipt.receive_count == 1  # [R6]
        assert before - 1 <= message.sent_at <= clock.now() + 1
        assert message.sent_at <= message.first_received_at <= clock.now() + 1

    def test_a_queue_that_was_never_sent_to_gives_nothing(self, broker: Broker) -> None:
        assert take(broker) == []

    def test_nothing_to_do_is_no_failure(self, broker: Broker) -> None:
        put(broker, QUEUE, "a")
        assert broker.send(QUEUE, []) == []
        assert broker.delete(QUEUE, []) == []
        assert broker.change_visibility(QUEUE, []) == ([], [])

    def test_a_received_message_is_hidden_from_everybody(self, broker: Broker, other: Broker) -> None:
        put(broker, QUEUE, "a")
        assert bodies(take(broker)) == ["a"]
        assert take(broker) == []
        assert take(other) == []

    def test_it_comes_again_when_its_visibility_timeout_is_over(
        self, broker: Broker, other: Broker, pass_time: PassTime
    ) -> None:
        put(broker, QUEUE, "a")
        first = take_one(broker, hidden=1)
        pass_time(1.1)
        second = take_one(other)
        assert second.message_id == first.message_id
        assert second.receipt.receive_count == 2
        assert second.receipt.handle != first.receipt.handle  # [R6]
        assert second.sent_at == first.sent_at
        assert second.first_received_at == first.first_received_at

    def test_without_a_visibility_the_queues_own_holds(self, broker: Broker, clock: Clock, pass_time: PassTime) -> None:
        broker.create(QUEUE, visibility_seconds=1)
        put(broker, QUEUE, "a")
        (message,) = broker.receive(QUEUE)
        assert message.receipt.deadline <= clock.monotonic() + 1
        assert take(broker) == []
        pass_time(1.1)
        assert bodies(take(broker)) == ["a"]

    def test_received_for_zero_seconds_it_stays_visible_and_can_be_deleted(self, broker: Broker) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=0)  # [R12]
        assert broker.delete(QUEUE, [message.receipt]) == []
        assert take(broker) == []

    def test_the_receipts_deadline_is_no_later_than_the_engines(self, broker: Broker, clock: Clock) -> None:
        put(broker, QUEUE, "a")
        asked = clock.monotonic()
        message = take_one(broker, hidden=40)
        assert asked + 40 - 2 <= message.receipt.deadline <= clock.monotonic() + 40

    def test_a_deleted_message_never_comes_again(self, broker: Broker, other: Broker, pass_time: PassTime) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=1)
        assert other.delete(QUEUE, [message.receipt]) == []
        pass_time(1.1)
        assert take(broker) == []

    def test_deleting_twice_is_no_failure(self, broker: Broker, other: Broker) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker)
        assert broker.delete(QUEUE, [message.receipt]) == []
        assert other.delete(QUEUE, [message.receipt]) == []  # [V2]

    def test_an_expired_receipt_still_deletes_while_nobody_has_a_newer_one(
        self, broker: Broker, pass_time: PassTime
    ) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=1)
        pass_time(1.1)
        assert broker.delete(QUEUE, [message.receipt]) == []  # [V5]
        assert take(broker) == []

    @wrong_in("moto", "V8", "any handle a message ever had deletes it")
    def test_a_receipt_that_a_newer_delivery_replaced_deletes_nothing(
        self, broker: Broker, other: Broker, pass_time: PassTime
    ) -> None:
        put(broker, QUEUE, "a")
        stale = take_one(broker, hidden=1)
        pass_time(1.1)
        take_one(other, hidden=1)
        assert broker.delete(QUEUE, [stale.receipt]) == []
        pass_time(1.1)
        assert bodies(take(broker)) == ["a"]

    def test_a_receipt_that_is_none_fails_alone(self, broker: Broker) -> None:
        put(broker, QUEUE, "a", "b")
        first, second = take(broker)
        garbage = Receipt(QUEUE, "garbage", 1, 0)
        failures = broker.delete(QUEUE, [first.receipt, garbage, second.receipt])
        assert failed(failures) == [(1, "ReceiptHandleIsInvalid")]  # [V1, B6]
        assert failures[0].sender_fault
        after, failures = broker.change_visibility(QUEUE, [(garbage, 5)])
        assert (after, failed(failures)) == ([None], [(0, "ReceiptHandleIsInvalid")])

    def test_a_receipt_of_another_queue_is_none(self, broker: Broker) -> None:
        put(broker, QUEUE, "a")
        put(broker, "letters", "b")
        message = take_one(broker)
        assert failed(broker.delete("letters", [message.receipt])) == [(0, "ReceiptHandleIsInvalid")]  # [V1]
        assert bodies(take(broker, "letters")) == ["b"]


class VisibilityContract:
    """Hiding for longer, and showing at once."""

    def test_given_back_it_is_visible_at_once(self, broker: Broker, other: Broker) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker)
        _, failures = broker.change_visibility(QUEUE, [(message.receipt, 0)])  # [V9]
        assert failures == []
        assert take_one(other).receipt.receive_count == 2

    def test_hidden_for_longer_it_stays_hidden(self, broker: Broker, other: Broker, pass_time: PassTime) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=1)
        other.change_visibility(QUEUE, [(message.receipt, 30)])
        pass_time(1.1)
        assert take(broker) == []

    def test_hidden_for_less_it_comes_sooner(self, broker: Broker, pass_time: PassTime) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=30)
        broker.change_visibility(QUEUE, [(message.receipt, 1)])
        assert take(broker) == []
        pass_time(1.1)
        assert bodies(take(broker)) == ["a"]

    def test_the_new_receipt_has_the_same_handle_and_the_new_deadline(self, broker: Broker, clock: Clock) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=5)
        asked = clock.monotonic()
        (receipt,), failures = broker.change_visibility(QUEUE, [(message.receipt, 100)])
        assert failures == []
        assert receipt is not None
        assert asked + 98 <= receipt.deadline <= clock.monotonic() + 100
        assert (receipt.handle, receipt.receive_count) == (message.receipt.handle, 1)
        assert broker.delete(QUEUE, [receipt]) == []
        assert take(broker) == []

    def test_the_change_is_for_this_delivery_only(self, broker: Broker, pass_time: PassTime) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker)
        broker.change_visibility(QUEUE, [(message.receipt, 0)])
        take_one(broker, hidden=1)
        pass_time(1.1)
        assert bodies(take(broker)) == ["a"]  # [V9]

    def test_an_expired_receipt_hides_again_while_nobody_has_a_newer_one(
        self, broker: Broker, pass_time: PassTime
    ) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=1)
        pass_time(1.1)
        _, failures = broker.change_visibility(QUEUE, [(message.receipt, 30)])  # [V4]
        assert failures == []
        assert take(broker) == []

    @pytest.mark.parametrize(
        "seconds", [pytest.param(-1, marks=wrong_in("moto", "V10", "takes a negative timeout")), 43_201]
    )
    def test_out_of_range_fails_alone(self, broker: Broker, seconds: int) -> None:
        put(broker, QUEUE, "a", "b")
        first, second = receipts(take(broker))
        after, failures = broker.change_visibility(QUEUE, [(first, seconds), (second, 0)])
        assert failed(failures) == [(0, "InvalidParameterValue")]  # [V10]
        assert after[0] is None
        assert after[1] is not None
        assert len(take(broker)) == 1

    @turned
    def test_twelve_hours_from_the_receive_are_the_end(self, broker: Broker, pass_time: PassTime) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker, hidden=40_000)
        pass_time(3600)
        after, failures = broker.change_visibility(QUEUE, [(message.receipt, 43_000)])
        assert (after, failed(failures)) == ([None], [(0, "InvalidParameterValue")])  # [V10]
        _, failures = broker.change_visibility(QUEUE, [(message.receipt, 39_000)])
        assert failures == []

    @wrong_in("moto", "V3", "answers ReceiptHandleIsInvalid")
    def test_what_is_deleted_cannot_be_hidden(self, broker: Broker) -> None:
        put(broker, QUEUE, "a")
        message = take_one(broker)
        broker.delete(QUEUE, [message.receipt])
        after, failures = broker.change_visibility(QUEUE, [(message.receipt, 30)])
        assert (after, failed(failures)) == ([None], [(0, "InvalidParameterValue")])  # [V3]


class DelayContract:
    def test_a_delayed_message_is_not_seen_before_its_time(
        self, broker: Broker, other: Broker, pass_time: PassTime
    ) -> None:
        put(broker, QUEUE, "later", delay_seconds=1)
        put(broker, QUEUE, "now")
        assert bodies(take(other)) == ["now"]
        pass_time(1.1)
        assert bodies(take(other)) == ["later"]

    def test_a_message_without_a_delay_takes_the_queues(self, broker: Broker, pass_time: PassTime) -> None:
        broker.create(QUEUE, delay_seconds=1)
        put(broker, QUEUE, "a")
        assert take(broker) == []
        pass_time(1.1)
        assert bodies(take(broker)) == ["a"]

    @pytest.mark.parametrize("seconds", [pytest.param(-1, marks=wrong_in("moto", "M5", "takes a negative delay")), 901])
    def test_a_delay_out_of_range_fails_alone(self, broker: Broker, seconds: int) -> None:
        failures = broker.send(
            QUEUE, [Entry(id="1", body="a"), Entry(id="2", body="b", delay_seconds=seconds), Entry(id="3", body="c")]
        )
        assert failed(failures) == [(1, "InvalidParameterValue")]  # [M5]
        assert sorted(bodies(take(broker))) == ["a", "c"]


class BatchContract:
    """Any number of entries, and each has its own fate."""

    def test_more_than_ten_go_and_come_and_are_deleted(self, broker: Broker, other: Broker) -> None:
        sent = [f"m{i:02}" for i in range(23)]
        put(broker, QUEUE, *sent)
        found: list[Message] = []
        while messages := take(other):
            found += messages
        assert sorted(bodies(found)) == sent
        assert broker.delete(QUEUE, receipts(found)) == []

    def test_more_than_ten_are_hidden_and_shown(self, broker: Broker) -> None:
        put(broker, QUEUE, *[f"m{i}" for i in range(12)])
        found = [*take(broker), *take(broker)]
        after, failures = broker.change_visibility(QUEUE, [(message.receipt, 0) for message in found])
        assert failures == []
        assert [receipt.handle for receipt in after if receipt] == [message.receipt.handle for message in found]
        assert len([*take(broker), *take(broker)]) == 12

    @wrong_in("moto", "B4", "takes any character")
    def test_illegal_characters_fail_alone(self, broker: Broker) -> None:
        failures = broker.send(
            QUEUE, [Entry(id="1", body="a"), Entry(id="2", body="b\x00b"), Entry(id="3", body="c\ufffe")]
        )
        assert failed(failures) == [(1, "InvalidMessageContents"), (2, "InvalidMessageContents")]  # [B4, L24]
        assert all(failure.sender_fault for failure in failures)
        assert bodies(take(broker)) == ["a"]

    @wrong_in("moto", "M2", "takes an empty body")
    def test_an_empty_body_fails_alone(self, broker: Broker) -> None:
        failures = broker.send(QUEUE, [Entry(id="1", body=""), Entry(id="2", body="b")])
        assert [failure.index for failure in failures] == [0]  # [M2]
        assert bodies(take(broker)) == ["b"]

    def test_a_body_that_is_too_large_fails_alone(self, broker: Broker) -> None:
        large = "x" * (quotas.BODY_BYTES_MAX + 1)
        failures = broker.send(QUEUE, [Entry(id="1", body="a"), Entry(id="2", body=large), Entry(id="3", body="c")])
        assert failed(failures) == [(1, "InvalidParameterValue")]  # [B3]
        assert str(quotas.BODY_BYTES_MAX) in failures[0].text
        assert sorted(bodies(take(broker))) == ["a", "c"]

    def test_attributes_count_for_the_size(self, broker: Broker) -> None:
        body = "x" * (quotas.BODY_BYTES_MAX - 20)
        failures = broker.send(QUEUE, [Entry(id="1", body=body, attributes={"name": "y" * 11})])
        assert failed(failures) == [(0, "InvalidParameterValue")]  # [L1] 4 + len("String") + 11 are 21

    def test_a_body_of_exactly_the_limit_goes(self, broker: Broker) -> None:
        put(broker, QUEUE, "x" * quotas.BODY_BYTES_MAX)
        assert len(take_one(broker).body) == quotas.BODY_BYTES_MAX  # [M3]

    def test_entries_that_are_too_large_together_all_go(self, broker: Broker) -> None:
        sent = [str(i) * 300_000 for i in range(8)]
        put(broker, QUEUE, *sent)
        assert sorted(bodies(drain(broker))) == sent  # [L3]

    @wrong_in("moto", "L13", "takes any number of attributes")
    def test_more_than_ten_attributes_fail_alone(self, broker: Broker) -> None:
        many = {f"name{i}": "v" for i in range(11)}
        failures = broker.send(QUEUE, [Entry(id="1", body="a", attributes=many), Entry(id="2", body="b")])
        assert failed(failures) == [(0, "InvalidParameterValue")]  # [L13]
        assert bodies(take(broker)) == ["b"]

    def test_ten_attributes_go(self, broker: Broker) -> None:
        ten = {f"name{i}": f"v{i}" for i in range(10)}
        put(broker, QUEUE, "a", attributes=ten)
        assert take_one(broker).attributes == ten

    def test_no_more_come_than_asked_for(self, broker: Broker) -> None:
        put(broker, QUEUE, *"abcde")
        assert len(take(broker, count=3)) == 3
        assert len(take(broker, count=3)) == 2

    @pytest.mark.parametrize("wrong", [{"max_messages": 0}, {"wait_seconds": 21}, {"visibility_seconds": 43_201}])
    def test_a_receive_out_of_range_is_refused(self, broker: Broker, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionInvalid, match=next(iter(wrong))):  # [R1, R2]
            broker.receive(QUEUE, **wrong)

    def test_asking_for_many_gives_at_most_what_the_engine_hands_out(self, broker: Broker) -> None:
        put(broker, QUEUE, *[f"m{i}" for i in range(70)])
        messages = take(broker, count=1000)
        assert 1 <= len(messages) <= broker.receive_max

    @not_on("moto", "its receives race with each other, and it gives a message twice now and then")
    def test_two_never_hold_the_same_message(self, broker: Broker, other: Broker) -> None:
        sent = [f"m{i:02}" for i in range(40)]
        put(broker, QUEUE, *sent)

        def work(mine: Broker) -> list[str]:
            found: list[str] = []
            while messages := take(mine, count=3):
                found += bodies(messages)
            return found

        with ThreadPoolExecutor(4) as pool:
            found = [body for part in pool.map(work, [broker, other, broker, other]) for body in part]
        assert sorted(found) == sent


class WaitingContract:
    """Long polls. `live_broker` and `live_other` run on the machine's time."""

    def test_a_wait_ends_at_once_when_there_is_a_message(self, live_broker: Broker, live_clock: Clock) -> None:
        put(live_broker, QUEUE, "a")
        started = live_clock.monotonic()
        assert bodies(live_broker.receive(QUEUE, wait_seconds=20)) == ["a"]  # [R4]
        assert live_clock.monotonic() - started < 5

    def test_a_wait_ends_with_nothing(self, live_broker: Broker, live_clock: Clock) -> None:
        live_broker.receive(QUEUE)
        started = live_clock.monotonic()
        assert live_broker.receive(QUEUE, wait_seconds=1) == []
        assert 0.8 <= live_clock.monotonic() - started < 5

    def test_a_send_wakes_who_waits(self, live_broker: Broker, live_other: Broker, live_clock: Clock) -> None:
        live_broker.receive(QUEUE)
        found: list[Message] = []
        waiting = threading.Thread(target=lambda: found.extend(live_other.receive(QUEUE, wait_seconds=20)))
        waiting.start()
        waiting.join(0.3)  # give it the time to begin
        assert waiting.is_alive()
        started = live_clock.monotonic()
        put(live_broker, QUEUE, "a")
        waiting.join(15)
        assert bodies(found) == ["a"]  # [R4]
        assert live_clock.monotonic() - started < 3

    def test_a_message_that_is_given_back_wakes_who_waits(self, live_broker: Broker, live_other: Broker) -> None:
        put(live_broker, QUEUE, "a")
        message = take_one(live_broker)
        found: list[Message] = []
        waiting = threading.Thread(target=lambda: found.extend(live_other.receive(QUEUE, wait_seconds=10)))
        waiting.start()
        waiting.join(0.3)
        live_broker.change_visibility(QUEUE, [(message.receipt, 0)])
        waiting.join(15)
        assert bodies(found) == ["a"]


class QueuesContract:
    """Made, looked at, emptied, dropped."""

    def test_a_queue_keeps_the_attributes_it_was_made_with(self, broker: Broker, other: Broker) -> None:
        broker.create("dead")
        broker.create(
            QUEUE,
            visibility_seconds=77,
            delay_seconds=3,
            retention_seconds=1_209_600,
            wait_time_seconds=20,
            dead_letter_queue="dead",
            max_receive_count=1000,
        )
        found = other.attributes(QUEUE)
        assert (found.visibility_seconds, found.delay_seconds, found.retention_seconds) == (77, 3, 1_209_600)
        assert (found.wait_time_seconds, found.dead_letter_queue, found.max_receive_count) == (20, "dead", 1000)
        assert (found.fifo, found.content_deduplication) == (False, False)
        assert found.max_body_bytes == quotas.BODY_BYTES_MAX

    def test_made_again_it_takes_the_new_attributes_and_keeps_its_messages(self, broker: Broker, other: Broker) -> None:
        broker.create("dead")
        broker.create(QUEUE, visibility_seconds=77, dead_letter_queue="dead", max_receive_count=3)
        put(broker, QUEUE, "a")
        other.create(QUEUE, visibility_seconds=5)
        found = broker.attributes(QUEUE)
        assert (found.visibility_seconds, found.dead_letter_queue, found.max_receive_count) == (5, None, None)
        assert bodies(take(broker)) == ["a"]

    def test_a_fifo_queue_is_one_by_its_name(self, broker: Broker) -> None:
        broker.create(FIFO, content_deduplication=True)
        found = broker.attributes(FIFO)
        assert (found.fifo, found.content_deduplication) == (True, True)

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param({"visibility_seconds": 43_201}, marks=wrong_in("moto", "A4", "takes any visibility timeout")),
            {"dead_letter_queue": "dead"},
            {"max_receive_count": 3},
        ],
    )
    def test_attributes_out_of_range_are_refused(self, broker: Broker, wrong: dict[str, Any]) -> None:
        broker.create("dead")
        with pytest.raises((OptionInvalid, BrokerRefused)):
            broker.create(QUEUE, **wrong)

    def test_messages_are_counted_where_they_are(self, broker: Broker, other: Broker) -> None:
        put(broker, QUEUE, "later", delay_seconds=900)
        put(broker, QUEUE, "a", "b", "c")
        take_one(broker)
        found = other.attributes(QUEUE)
        assert (found.visible, found.in_flight, found.delayed) == (2, 1, 1)  # [A10]

    def test_a_queue_that_is_not_there_is_missing(self, broker: Broker) -> None:
        for ask in (broker.attributes, broker.purge, broker.drop):
            with pytest.raises(QueueMissing, match="nowhere") as caught:
                ask("nowhere")
            assert caught.value.queue == "nowhere"

    def test_queues_are_listed_by_name(self, broker: Broker, other: Broker) -> None:
        for name in ("b", "a", "c.fifo"):
            broker.create(name)
        assert other.queues() == ["a", "b", "c.fifo"]

    def test_a_dropped_queue_is_gone_with_its_messages(self, broker: Broker, other: Broker) -> None:
        put(broker, QUEUE, "a")
        other.drop(QUEUE)
        assert broker.queues() == []
        assert take(broker) == []

    def test_purging_takes_what_is_visible_hidden_and_delayed(
        self, broker: Broker, other: Broker, pass_time: PassTime
    ) -> None:
        put(broker, QUEUE, "later", delay_seconds=1)
        put(broker, QUEUE, "a", "b")
        take(broker, count=1, hidden=1)
        other.purge(QUEUE)  # [G1]
        pass_time(1.1)
        assert take(broker) == []

    def test_purging_leaves_other_queues_alone(self, broker: Broker) -> None:
        put(broker, QUEUE, "a")
        put(broker, "letters", "b")
        broker.purge(QUEUE)
        assert bodies(take(broker, "letters")) == ["b"]

    @turned
    def test_a_message_ends_with_its_retention_even_in_flight(self, broker: Broker, pass_time: PassTime) -> None:
        broker.create(QUEUE, retention_seconds=60)
        put(broker, QUEUE, "a", "b")
        take(broker, count=1, hidden=50)
        pass_time(61)
        assert take(broker) == []  # [V11]
        put(broker, QUEUE, "c")
        assert bodies(take(broker)) == ["c"]

    def test_groups_on_a_standard_queue_neither_order_nor_lock(self, broker: Broker) -> None:
        put(broker, QUEUE, "a", "b", group="tenant-1")
        first, second = take_one(broker), take_one(broker)
        assert {first.group, second.group} == {"tenant-1"}  # [M9, Q1]

    @wrong_in("moto", "M10", "takes a deduplication id on a standard queue")
    def test_a_deduplication_id_on_a_standard_queue_is_refused(self, broker: Broker) -> None:
        failures = broker.send(QUEUE, [Entry(id="1", body="a", dedupe="d")])
        assert failed(failures) == [(0, "InvalidParameterValue")]  # [M10]


class DeadLetterContract:
    def _queues(self, broker: Broker, count: int = 2) -> None:
        broker.create("dead")
        broker.create(QUEUE, dead_letter_queue="dead", max_receive_count=count)

    def _exhaust(self, broker: Broker, queue: str = QUEUE, count: int = 2) -> Message:
        for _ in range(count):
            message = take_one(broker, queue)
            broker.change_visibility(queue, [(message.receipt, 0)])
        return message

    def test_a_message_is_seen_as_often_as_allowed_then_moves_at_the_next_receive(
        self, broker: Broker, other: Broker
    ) -> None:
        self._queues(broker)
        put(broker, QUEUE, "poison", group="tenant", attributes={"generation": "7"})
        last = self._exhaust(broker)
        assert last.receipt.receive_count == 2
        assert take(broker, "dead") == []
        assert take(other) == []  # [D2] the move
        dead = take_one(broker, "dead")
        assert (dead.body, dict(dead.attributes), dead.group) == ("poison", {"generation": "7"}, "tenant")
        assert dead.message_id == last.message_id  # [D3]
        assert dead.receipt.receive_count == 3  # [D3]
        assert dead.sent_at == last.sent_at  # [D4]

    @wrong_in("moto", "D3", "does not tell the source")
    def test_a_dead_letter_tells_where_it_came_from(self, broker: Broker) -> None:
        self._queues(broker)
        put(broker, QUEUE, "poison")
        self._exhaust(broker)
        take(broker)
        assert take_one(broker, "dead").dead_letter_source == QUEUE

    def test_a_dead_message_does_not_keep_others_from_coming(self, broker: Broker) -> None:
        self._queues(broker, count=1)
        put(broker, QUEUE, "poison")
        self._exhaust(broker, count=1)
        put(broker, QUEUE, "good")
        assert bodies(take(broker)) == ["good"]

    def test_dead_letters_go_back_as_new_messages(self, broker: Broker, other: Broker) -> None:
        self._queues(broker)
        put(broker, QUEUE, "poison", attributes={"generation": "7"}, group="tenant")
        first = self._exhaust(broker)
        take(broker)
        assert other.redrive("dead", QUEUE) == 1
        message = take_one(broker)
        assert (message.body, dict(message.attributes), message.group) == ("poison", {"generation": "7"}, "tenant")
        assert message.message_id != first.message_id  # [T8]
        assert message.receipt.receive_count == 1
        assert take(broker, "dead") == []

    def test_no_more_go_back_than_allowed(self, broker: Broker) -> None:
        broker.create(QUEUE)
        put(broker, "dead", *[f"m{i:02}" for i in range(25)])
        assert broker.redrive("dead", QUEUE, limit=12) == 12
        assert len(drain(broker)) == 12
        assert broker.redrive("dead", QUEUE) == 13
        assert broker.redrive("dead", QUEUE) == 0

    def test_going_back_to_or_from_a_queue_that_is_not_there_is_an_error(self, broker: Broker) -> None:
        broker.create("dead")
        with pytest.raises(QueueMissing, match="nowhere"):
            broker.redrive("nowhere", "dead")
        put(broker, "dead", "a")
        for limit in (None, 5):
            with pytest.raises(QueueMissing, match="nowhere"):
                broker.redrive("dead", "nowhere", limit=limit)
        assert bodies(drain(broker, "dead")) == ["a"]

    def test_a_fifo_message_dies_in_its_group_under_a_new_deduplication_id(self, broker: Broker) -> None:
        broker.create("dead.fifo")
        broker.create(FIFO, dead_letter_queue="dead.fifo", max_receive_count=1)
        put_in_order(broker, "a1", "a2")
        first = self._exhaust(broker, FIFO, count=1)
        assert bodies(take(broker, FIFO)) == ["a2"]  # [F14] the move of the head frees its group
        dead = take_one(broker, "dead.fifo")
        assert (dead.body, dead.group, dead.message_id) == ("a1", "a", first.message_id)
        assert broker.redrive("dead.fifo", FIFO) == 0  # in flight
        broker.change_visibility("dead.fifo", [(dead.receipt, 0)])
        assert broker.redrive("dead.fifo", FIFO) == 1

    @wrong_in("moto", "D5", "keeps the deduplication id")
    def test_a_fifo_dead_letter_is_deduplicated_by_its_message_id(self, broker: Broker) -> None:
        broker.create("dead.fifo")
        broker.create(FIFO, dead_letter_queue="dead.fifo", max_receive_count=1)
        put_in_order(broker, "a1")
        self._exhaust(broker, FIFO, count=1)
        take(broker, FIFO)
        dead = take_one(broker, "dead.fifo")
        assert dead.dedupe == dead.message_id


class FifoContract:
    """Order within a group, locks, deduplication."""

    def test_a_group_comes_in_the_order_it_was_sent(self, broker: Broker, other: Broker) -> None:
        sent = [f"a{i:02}" for i in range(25)]
        put_in_order(broker, *sent)
        assert bodies(drain(other, FIFO)) == sent  # [B5]

    def test_group_and_deduplication_id_come_along(self, broker: Broker) -> None:
        put_in_order(broker, "a1")
        message = take_one(broker, FIFO)
        assert (message.group, message.dedupe) == ("a", "d-a1")

    @wrong_in("moto", "F9", "gives the messages in the order of sending, whatever their group")
    def test_one_receive_takes_one_group_before_the_next(self, broker: Broker) -> None:
        put_in_order(broker, "a1", "b1", "a2", "a3")
        assert bodies(take(broker, FIFO)) == ["a1", "a2", "a3", "b1"]

    def test_a_group_in_flight_is_locked_and_others_are_not(self, broker: Broker, other: Broker) -> None:
        put_in_order(broker, "a1", "a2", "b1")
        assert bodies(take(broker, FIFO, 1)) == ["a1"]
        put_in_order(broker, "a3")
        assert bodies(take(other, FIFO)) == ["b1"]  # [F8]
        assert take(other, FIFO) == []

    def test_a_group_is_free_when_all_of_it_in_flight_is_deleted(self, broker: Broker, other: Broker) -> None:
        put_in_order(broker, "a1", "a2", "a3")
        first, second = take(broker, FIFO, 2)
        broker.delete(FIFO, [first.receipt])
        assert take(other, FIFO) == []  # [F10]
        broker.delete(FIFO, [second.receipt])
        assert bodies(take(other, FIFO)) == ["a3"]

    def test_messages_given_back_come_again_in_order(self, broker: Broker, other: Broker) -> None:
        put_in_order(broker, "a1", "a2", "a3")
        messages = take(broker, FIFO, 2)
        broker.change_visibility(FIFO, [(m.receipt, 0) for m in reversed(messages)])
        found = take(other, FIFO)
        assert bodies(found) == ["a1", "a2", "a3"]  # [F12]
        assert [message.receipt.receive_count for message in found] == [2, 2, 1]

    @wrong_in("moto", "F12", "gives a part of them, and not the head")
    def test_expired_messages_come_again_before_later_ones(self, broker: Broker, pass_time: PassTime) -> None:
        put_in_order(broker, "a1", "a2", "a3")
        take(broker, FIFO, 2, hidden=1)
        put_in_order(broker, "a4")
        pass_time(1.1)
        assert bodies(take(broker, FIFO)) == ["a1", "a2", "a3", "a4"]  # [F12]

    @pytest.mark.parametrize(
        "hidden_one",
        [
            0,
            *[pytest.param(k, marks=wrong_in("moto", "F11", "a hidden message locks its whole group")) for k in (1, 2)],
        ],
    )
    def test_a_hidden_message_blocks_what_is_behind_it_only(
        self, broker: Broker, pass_time: PassTime, hidden_one: int
    ) -> None:
        put_in_order(broker, "a1", "a2", "a3")
        messages = take(broker, FIFO, 3, hidden=1)
        broker.change_visibility(FIFO, [(messages[hidden_one].receipt, 30)])
        pass_time(1.1)
        assert bodies(take(broker, FIFO)) == ["a1", "a2", "a3"][:hidden_one]  # [F11]

    @wrong_in("moto", "V6", "an expired handle deletes")
    def test_an_expired_receipt_deletes_nothing(self, broker: Broker, pass_time: PassTime) -> None:
        put_in_order(broker, "a1")
        message = take_one(broker, FIFO, hidden=1)
        pass_time(1.1)
        assert failed(broker.delete(FIFO, [message.receipt])) == [(0, "InvalidParameterValue")]  # [V6]
        assert bodies(take(broker, FIFO)) == ["a1"]

    def test_a_receipt_whose_visibility_was_extended_deletes(self, broker: Broker, pass_time: PassTime) -> None:
        put_in_order(broker, "a1", "a2")
        message = take_one(broker, FIFO, hidden=1)
        broker.change_visibility(FIFO, [(message.receipt, 30)])
        pass_time(1.1)
        assert broker.delete(FIFO, [message.receipt]) == []  # [V7]
        assert bodies(take(broker, FIFO)) == ["a2"]

    def test_what_was_sent_twice_comes_once(self, broker: Broker, other: Broker) -> None:
        put_in_order(broker, "a1")
        put_in_order(other, "a1", "a2")  # [F2]
        assert bodies(drain(broker, FIFO)) == ["a1", "a2"]

    def test_a_deduplication_id_is_known_in_every_group(self, broker: Broker) -> None:
        put_in_order(broker, "a1", group="a")
        put_in_order(broker, "a1", group="b")
        assert [m.group for m in drain(broker, FIFO)] == ["a"]  # [F3]

    @wrong_in("moto", "F1", "forgets a deduplication id when its message is deleted")
    def test_a_deduplication_id_outlives_its_message(self, broker: Broker) -> None:
        put_in_order(broker, "a1")
        drain(broker, FIFO)
        put_in_order(broker, "a1")
        assert take(broker, FIFO) == []  # [F1]

    @turned
    def test_a_deduplication_id_is_free_five_minutes_after_the_first_send(
        self, broker: Broker, pass_time: PassTime
    ) -> None:
        put_in_order(broker, "a1")
        drain(broker, FIFO)
        pass_time(200)
        put_in_order(broker, "a1")
        pass_time(99)
        put_in_order(broker, "a1")
        assert take(broker, FIFO) == []  # [F1] duplicates do not extend it
        pass_time(2)
        put_in_order(broker, "a1")
        assert bodies(take(broker, FIFO)) == ["a1"]

    def test_content_deduplicates_where_the_queue_says_so(self, broker: Broker) -> None:
        broker.create(FIFO, content_deduplication=True)
        entries = [
            Entry(id="1", body="same", group="a", attributes={"n": "1"}),
            Entry(id="2", body="same", group="a", attributes={"n": "2"}),
            Entry(id="3", body="same", group="a", dedupe="own"),
        ]
        assert broker.send(FIFO, entries) == []
        assert len(drain(broker, FIFO)) == 2  # [F6]

    def test_purging_frees_groups_and_deduplication_ids(self, broker: Broker) -> None:
        put_in_order(broker, "a1", "a2")
        take(broker, FIFO, 1)
        broker.purge(FIFO)
        put_in_order(broker, "a1")
        assert bodies(take(broker, FIFO)) == ["a1"]  # [G1, F14]

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param({"group": "a", "dedupe": "x", "delay_seconds": 2}, id="M6-a delay of its own"),
            pytest.param({"dedupe": "x"}, id="M7-no group"),
            pytest.param({"group": "a"}, id="M8-no deduplication id"),
        ],
    )
    def test_an_entry_that_does_not_fit_a_fifo_queue_fails_alone(self, broker: Broker, wrong: dict[str, Any]) -> None:
        broker.create(FIFO)
        good = [Entry(id=body, body=body, group="a", dedupe=body) for body in ("a1", "a2")]
        failures = broker.send(FIFO, [good[0], Entry(id="x", body="x", **wrong), good[1]])
        assert [failure.index for failure in failures] == [1]
        assert failures[0].sender_fault
        assert bodies(drain(broker, FIFO)) == ["a1", "a2"]

    @wrong_in("moto", "M11", "takes any character in a group")
    @pytest.mark.parametrize("group", ["two words", "x" * 129, "é"])
    def test_a_group_that_sqs_has_no_letters_for_fails_alone(self, broker: Broker, group: str) -> None:
        failures = broker.send(FIFO, [Entry(id="1", body="a", group=group, dedupe="d")])
        assert failed(failures) == [(0, "InvalidParameterValue")]  # [M11]

    def test_the_queues_delay_holds_the_whole_group(self, broker: Broker, pass_time: PassTime) -> None:
        broker.create(FIFO, delay_seconds=1)
        put_in_order(broker, "a1", "a2")
        assert take(broker, FIFO) == []  # [F13]
        pass_time(1.1)
        assert bodies(take(broker, FIFO)) == ["a1", "a2"]


class BrokerContract(
    MessagesContract,
    VisibilityContract,
    DelayContract,
    BatchContract,
    WaitingContract,
    QueuesContract,
    DeadLetterContract,
    FifoContract,
):
    """All of it."""

    def test_limits_are_stated(self, broker: Broker) -> None:
        assert broker.batch_max >= 10
        assert broker.receive_max >= 10
        assert 1024 <= broker.max_body_bytes <= quotas.BODY_BYTES_MAX

    def test_closing_twice_is_no_error(self, broker: Broker) -> None:
        put(broker, QUEUE, "a")
        broker.close()
        broker.close()
