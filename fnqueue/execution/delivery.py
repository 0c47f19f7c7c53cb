"""One delivery of a message while it is in this process: what execute learns of it, and settle needs.

Mutable on purpose, and owned by one thread at a time: receive -> execute -> settle. Only three fields are
touched from outside: the heartbeat replaces `receipt` and sets `revoked` and `lost`.
"""

from __future__ import annotations

from typing import Any

from fnqueue.broker.base import Message, Receipt
from fnqueue.context import TaskContext
from fnqueue.state.replay import Taken
from fnqueue.state.results import TaskRecord


class Delivery:
    """`queue` is physical. Times are unix seconds. `generation`: see `semantics`, 0 for the first send."""

    __slots__ = (
        "abandoned",
        "attempts_hint",
        "body",
        "context",
        "coroutine",
        "deferred_at",
        "due_at",
        "expires_at",
        "finished_at",
        "generation",
        "id",
        "lost",
        "message",
        "once",
        "principal",
        "queue",
        "receipt",
        "record",
        "revoked",
        "started_at",
        "task",
        "task_name",
        "thread",
        "traceparent",
    )

    def __init__(self, message: Message) -> None:
        self.message = message
        self.receipt: Receipt = message.receipt
        self.queue = message.receipt.queue
        self.body = message.body
        self.generation = _count(message.attributes.get("g"))
        self.attempts_hint = _count(message.attributes.get("a"))  # without a store: runs before this message was sent
        self.id: str | None = None  # None until the tag is proven
        self.task: Any = None
        self.task_name: str | None = None
        self.context: TaskContext | None = None
        self.coroutine: Any = None  # the runner, while a coroutine runs
        self.thread: int | None = None
        self.principal: str | None = None  # "user:42"
        self.record: TaskRecord | None = None  # as it stands in the store, or will
        self.once: Taken | None = None  # the right to run, where the task is `once`
        self.revoked = False
        self.abandoned = False  # given back while it runs: what its thread says later is not settled
        self.lost = False  # the broker said that the receipt is no longer good
        self.deferred_at = message.sent_at
        self.due_at = message.sent_at
        self.expires_at: float | None = None
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.traceparent: str | None = None

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
    def redelivered(self) -> bool:
        return self.receipt.receive_count > 1 or self.generation > 0

    def __repr__(self) -> str:
        return f"<Delivery {self.id or self.message.message_id} of {self.queue}>"


def _count(text: str | None) -> int:
    # Untrusted: a wrong number only orders deliveries wrongly, so it is bounded and never an error.
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 6:
        return 0
    return min(int(text), 1_000_000)
