"""What a place for blobs must be able to do. Authors of places: these promises, and no more.

A name is `DDDDD-` and 32 characters of a-z2-7 (`reference.NAME`), and is checked before it comes here. The day is
when it was promised to be kept until, counted from 1970.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Place(Protocol):
    """Safe between threads, and across a fork. Raises BlobsUnavailable where it cannot be asked, or says no."""

    @property
    def shown(self) -> str:
        """For banners and errors, without credentials."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Returned means durable."""
        ...

    def get(self, name: str, size: int) -> bytes | None:
        """What is there, but not more than `size` bytes and one; None: nothing is. Whoever may write there may have
        put anything in its place, of any size."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """One that is gone already is no error."""
        ...

    def sweep(self, before_day: int) -> int:
        """Delete all that were to be kept until a day before this one; how many."""
        ...
