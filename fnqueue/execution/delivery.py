"""One delivery of a message while it is in this process: what execute learns of it, and settle needs.

Mutable on purpose, and owned by one thread at a time: receive -> execute -> settle. Only two fields are
touched from outside: the heartbeat replaces `receipt` and sets `revoked`.
"""

from __future__ import annotations

from typing import Any

from fnqueue.broker.base import Message, Receipt
from fnqueue.context import TaskContext


class Delivery:
    """`queue` is physical. Times are unix seconds. `generation`: see `semantics`, 0 for the first send."""

    __slots__ = (
        "attempt",
        "attempts_before",
        "attempts_hint",
        "body",
        "context",
        "coroutine",
        "created_at",
        "deferred_at",
        "due_at",
        "expires_at",
        "finished_at",
        "generation",
        "id",
        "message",
        "once",
        "principal",
        "queue",
        "receipt",
        "recorded",
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
        self.coroutine: Any = None  # the asyncio task, while one runs
        self.thread: int | None = None
        self.principal: str | None = None
        self.attempt = 0
        self.attempts_before = 0  # settled runs, from the record
        self.recorded = False  # a record of this task was seen or written
        self.once = False  # a replay record is held
        self.revoked = False
        self.created_at = message.sent_at
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
    def redelivered(self) -> bool:
        return self.receipt.receive_count > 1 or self.generation > 0

    def __repr__(self) -> str:
        return f"<Delivery {self.id or self.message.message_id} of {self.queue}>"


def _count(text: str | None) -> int:
    # Untrusted: a wrong number only orders deliveries wrongly, so it is bounded and never an error.
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 6:
        return 0
    return min(int(text), 1_000_000)
