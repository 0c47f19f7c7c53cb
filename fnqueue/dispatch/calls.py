"""A call that is sealed and not sent yet, and what sealing and sending are handed. Data only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from fnqueue import quotas
from fnqueue.broker.base import Broker, Entry
from fnqueue.claims import Claim
from fnqueue.clock import Clock
from fnqueue.events import Events
from fnqueue.middleware import Middleware
from fnqueue.security.blobs.blobs import Blobs
from fnqueue.security.keyring import KeyRing
from fnqueue.security.policy import Policy
from fnqueue.state.dedupe import Dedupe
from fnqueue.state.parked import Parked
from fnqueue.task.task import Task


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed call that was not sent yet. `queue` is physical. `parked_until` unset: it goes to the queue."""

    id: str
    task: str
    queue: str
    entry: Entry
    expires_at: float
    principal_kind: str
    delay_seconds: float = 0
    parked_until: float | None = None
    claim: Claim | None = None  # dedupe
    blob: str | None = None  # the name of what was too large for the entry, and is kept elsewhere

    @property
    def winner(self) -> str | None:
        """The id of the earlier call that holds the dedupe key: then nothing is sent."""
        return self.claim.winner if self.claim is not None and self.claim.winner != self.id else None


class Tick(msgspec.Struct, frozen=True):
    """The fire of a schedule that makes a call: whoever makes it again, after a crash, makes it with the same id."""

    id: str
    schedule: str
    time: str
    #: Unix seconds. Until then a copy may come, so the record that it ran is kept as long.
    until: float
    #: When it left, unix seconds, if that was not now: another scheduler sent it.
    made_at: float | None = None


class SendPowers(msgspec.Struct, frozen=True, kw_only=True):
    keys: Callable[[], KeyRing]
    environment: str
    broker: Broker
    clock: Clock
    events: Events
    policy_of: Callable[[Task[Any, Any, Any]], Policy]
    priority_queues: tuple[str, ...] = ()
    middleware: tuple[Middleware, ...] = ()
    #: Whether a transaction is open, so that what is prepared now will wait for its commit.
    waits: Callable[[], bool] = lambda: False
    parked: Parked | None = None
    dedupe: Dedupe | None = None
    blobs: Blobs | None = None
    max_body_bytes: int = quotas.BODY_BYTES_MAX

    def forget(self, names: Iterable[str | None]) -> None:
        """Blobs of calls that were never sent. Raises nothing: what stays is swept."""
        if self.blobs is not None:
            self.blobs.forget([name for name in names if name is not None])
