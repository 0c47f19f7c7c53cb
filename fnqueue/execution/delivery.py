"""One delivery of a message while it is in this process: what execute learns of it, and settle needs.

Mutable on purpose, and owned by one thread at a time: receive -> execute -> settle. Four fields are touched from
outside: the heartbeat replaces `receipt`, `record` and `once` with later ones, and sets `revoked` and `lost`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fnqueue import quotas
from fnqueue.broker.base import Message, Receipt
from fnqueue.context import TaskContext
from fnqueue.security.envelope import Verified
from fnqueue.state.replay import Taken
from fnqueue.state.results import TaskRecord


class Opened(NamedTuple):
    """A message that was opened before its turn. `until`: how long that holds, on the monotonic clock."""

    message: Verified
    sealed: dict[str, Any]
    until: float


class Delivery:
    """`queue` is physical. Times are unix seconds. `generation`: see `semantics`, 0 for the first send."""

    __slots__ = (
        "abandoned",
        "attempts_hint",
        "blob",
        "body",
        "call",
        "context",
        "coroutine",
        "deferred_at",
        "deleted",
        "due_at",
        "ended",
        "expires_at",
        "finished_at",
        "generation",
        "id",
        "looked_back",
        "lost",
        "message",
        "not_before_hint",
        "once",
        "opened",
        "principal",
        "queue",
        "raised",
        "receipt",
        "received_at",
        "record",
        "revoked",
        "root",
        "started_at",
        "task",
        "task_name",
        "tick",
        "traceparent",
    )

    def __init__(self, message: Message, received_at: float = 0.0) -> None:
        """`received_at`: on the clock that the receipt's deadline is on."""
        self.message, self.received_at = message, received_at
        self.receipt: Receipt = message.receipt
        self.queue = message.receipt.queue
        self.body = message.body
        self.generation = 0
        self.attempts_hint = 0  # without a store: runs before this message was sent
        self.not_before_hint = 0.0  # without a store: more hops of a long wait
        if message.attributes:
            self._take_hints(message.attributes)
        self.opened: Opened | None = None
        self.id: str | None = None  # None until the tag is proven
        self.root: str | None = None  # the id of the call that all began with: its own, unless a task made it
        self.call: bytes | None = None  # which call it is, once it is read: see `records.call_digest`
        self.blob: str | None = None  # where its arguments are, when they are not in the message
        # A schedule made it, perhaps twice: it takes effect once, whatever its task says. A copy may come until then.
        self.tick: float | None = None
        self.task: Any = None
        self.task_name: str | None = None
        self.context: TaskContext | None = None
        self.raised: BaseException | None = None  # on its way out through the scope
        self.coroutine: Any = None  # the runner, while a coroutine runs
        self.principal: str | None = None  # "user:42"
        self.record: TaskRecord | None = None  # as it stands in the store, or will
        self.looked_back = False  # `record` takes up what earlier deliveries wrote
        self.once: Taken | None = None  # the right to run, where the task is `once`
        self.revoked = False
        self.ended = False  # its outcome is on its way to be settled: another one does not count
        self.abandoned = False  # given back while it runs: what its thread says later is not settled
        self.lost = False  # the broker or the replay record said that it is no longer ours
        self.deleted = False  # before its run, because its task is `at_most_once`
        self.deferred_at = message.sent_at
        self.due_at = message.sent_at
        self.expires_at: float | None = None
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.traceparent: str | None = None

    def _take_hints(self, attributes: Mapping[str, str]) -> None:
        self.generation = _count(attributes.get("g"))
        self.attempts_hint = _count(attributes.get("a"))
        self.not_before_hint = _seconds(attributes.get("n"))

    @property
    def fence(self) -> tuple[int, int]:
        return (self.generation, self.receipt.receive_count)

    @property
    def attempt(self) -> int:
        return self.record.attempts if self.record is not None else 0

    @property
    def recorded(self) -> bool:
        """Whether the store holds a record of this task."""
        return self.record is not None and self.record.version > 0

    @property
    def knows_its_past(self) -> bool:
        """Whether a record made from what is known here forgets nothing that earlier deliveries wrote."""
        return self.looked_back or not self.redelivered

    @property
    def redelivered(self) -> bool:
        return self.receipt.receive_count > 1 or self.generation > 0

    @property
    def backoff_seconds(self) -> float:
        """For what is neither the message's fault nor an attempt: 1 s, doubling to 15 min by deliveries."""
        return float(min(quotas.HIDE_SECONDS_MAX, 2 ** min(self.receipt.receive_count - 1, 10)))

    def __repr__(self) -> str:
        return f"<Delivery {self.id or self.message.message_id} of {self.queue}>"


def _count(text: str | None) -> int:
    # Untrusted: a wrong number only orders deliveries wrongly, so it is bounded and never an error.
    return _number(text, digits=6)


def _seconds(text: str | None) -> float:
    # Untrusted: a wrong time only delays, as whoever can send to the queue could anyway.
    return float(_number(text, digits=10))


def _number(text: str | None, *, digits: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= digits else 0
