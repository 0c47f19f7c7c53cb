"""The power that is handed to who sends and who executes: seal and put, get and open, delete, sweep.

How long a blob is kept is in its name. A call's blob outlives the call by as long as a queue keeps a message: what
was dead-lettered at the last moment can be looked at, and sent again, as long as it is there. So a sweep asks neither
queue nor store: it needs a day, and takes nothing that a message still leads to.
Knows a place and time; knows no task and no queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from fnqueue.clock import Clock
from fnqueue.errors import EnvelopeError, FnQueueError
from fnqueue.quotas import RETENTION_SECONDS_MAX
from fnqueue.security.blobs.base import Place
from fnqueue.security.blobs.reference import Blob, Reference
from fnqueue.security.blobs.sealing import Altered, day_of, open_blob, seal_blob

_log = logging.getLogger("fnqueue.blobs")
_DAY_SECONDS = 86_400
#: A run may begin until the call expires, and end half a day later in the dead-letter queue.
KEPT_AFTER_EXPIRY_SECONDS = RETENTION_SECONDS_MAX + _DAY_SECONDS


class Blobs:
    """Safe between threads, and across a fork."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.place, self._clock = place, clock

    def seal_call(self, content: bytes, digest: bytes, *, expires_at: float) -> tuple[Reference, Blob]:
        """The arguments of a call. Nothing is put anywhere yet. `digest`: `records.call_digest`."""
        return seal_blob(content, keep_until=expires_at + KEPT_AFTER_EXPIRY_SECONDS, digest=digest)

    def keep(self, content: bytes, *, seconds: float) -> Reference:
        """Sealed and put, for a record that is kept so long. Raises BlobsUnavailable."""
        reference, blob = seal_blob(content, keep_until=self._clock.now() + seconds)
        self.put(blob)
        return reference

    def put(self, blob: Blob) -> None:
        """Durable, before its name travels. Raises BlobsUnavailable."""
        self.place.put(blob.name, blob.data)

    def get(self, reference: Reference) -> bytes:
        """The content. Raises EnvelopeError BLOB_MISSING, UNSEAL; BlobsUnavailable.

        Never reads more than the reference says that there is.
        """
        data = self.place.get(reference.n, reference.s)
        if data is None:
            raise EnvelopeError("BLOB_MISSING", f"its large arguments {reference.n} are not in {self.place.shown}")
        try:
            return open_blob(reference, data)
        except Altered:
            raise EnvelopeError("UNSEAL", f"its large arguments {reference.n} were altered") from None

    def forget(self, names: Sequence[str]) -> None:
        """Delete what nothing leads to. Raises nothing: what cannot be deleted now is swept in time."""
        if not names:
            return
        try:
            self.place.delete(names)
        except FnQueueError as error:
            _log.warning("%d blobs stay until they are swept: %s", len(names), error)

    def delete(self, names: Iterable[str]) -> None:
        self.place.delete(names)

    def sweep(self) -> int:
        """Delete what no message and no record can lead to any more; how many. Raises BlobsUnavailable."""
        return self.place.sweep(day_of(self._clock.now()))
