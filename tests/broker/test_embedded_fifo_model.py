"""FIFO queues against a model that walks all messages, as slow as it is plain, through any sequence of calls."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fnqueue.broker.base import Entry, Receipt
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.clock import ManualClock
from fnqueue.database import Database

QUEUE = "orders.fifo"


@dataclass
class Kept:
    body: str
    group: str
    ready_at: float
    receives: int = 0
    handle: str | None = None


class FifoModel(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.clock = ManualClock()
        self.broker = EmbeddedBroker(Database(None, clock=self.clock), clock=self.clock)
        self.broker.create(QUEUE)
        self.kept: list[Kept] = []
        self.remembered: dict[str, float] = {}
        self.receipts: list[Receipt] = []
        self.sent = 1

    @rule(groups=st.text("ab", min_size=2, max_size=5))
    def send(self, groups: str) -> None:
        self.put(groups)

    @rule(group=st.sampled_from("ab"))
    def send_the_last_one_again(self, group: str) -> None:
        self.sent -= 1
        self.put(group)

    def put(self, groups: str) -> None:
        now = self.clock.now()
        for group in groups:
            self.sent += 1
            dedupe = f"{self.sent}"
            assert self.broker.send(QUEUE, [Entry(id="x", body=dedupe, group=group, dedupe=dedupe)]) == []
            if self.remembered.get(dedupe, 0) <= now:
                self.remembered[dedupe] = now + 300
                self.kept.append(Kept(dedupe, group, now))

    @rule(count=st.sampled_from([1, 2, 5, 10]), hidden=st.sampled_from([0, 3, 10]))
    def receive(self, count: int, hidden: int) -> None:
        now = self.clock.now()
        expected = self.available(count)
        found = self.broker.receive(QUEUE, max_messages=count, visibility_seconds=hidden)
        assert [message.body for message in found] == [message.body for message in expected]
        for kept, message in zip(expected, found, strict=True):
            kept.receives += 1
            kept.ready_at = now + hidden
            kept.handle = message.receipt.handle
            assert message.receipt.receive_count == kept.receives
            self.receipts.append(message.receipt)

    def available(self, count: int) -> list[Kept]:
        found: list[Kept] = []
        for group in dict.fromkeys(message.group for message in self.kept):
            for message in self.kept:
                if message.group == group:
                    if message.ready_at > self.clock.now() or len(found) == count:
                        break
                    found.append(message)
        return found

    def current(self, receipt: Receipt) -> Kept | None:
        return next((message for message in self.kept if message.handle == receipt.handle), None)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.receipts:
            receipt = data.draw(st.sampled_from(self.receipts[-6:]))
            kept = self.current(receipt)
            failures = self.broker.delete(QUEUE, [receipt])
            if kept is None:
                assert failures == []
            elif kept.ready_at <= self.clock.now():
                assert [failure.code for failure in failures] == ["InvalidParameterValue"]
            else:
                assert failures == []
                self.kept.remove(kept)

    @rule(data=st.data(), seconds=st.sampled_from([0, 5, 30]))
    def change(self, data: st.DataObject, seconds: int) -> None:
        if self.receipts:
            receipt = data.draw(st.sampled_from(self.receipts[-6:]))
            kept = self.current(receipt)
            (after,), failures = self.broker.change_visibility(QUEUE, [(receipt, seconds)])
            if kept is None or kept.ready_at <= self.clock.now():
                assert after is None
                assert len(failures) == 1
            else:
                assert failures == []
                kept.ready_at = self.clock.now() + seconds

    @rule(seconds=st.sampled_from([1, 4, 300]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule(really=st.sampled_from([False] * 19 + [True]))
    def purge(self, really: bool) -> None:
        if not really:
            return
        self.broker.purge(QUEUE)
        self.kept.clear()
        self.remembered.clear()

    @invariant()
    def counts_are_exact(self) -> None:
        if hasattr(self, "kept"):
            found = self.broker.attributes(QUEUE)
            hidden = sum(message.ready_at > self.clock.now() for message in self.kept)
            assert (found.visible, found.in_flight) == (len(self.kept) - hidden, hidden)


TestFifoModel = FifoModel.TestCase
TestFifoModel.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
