"""Blobs of an engine in memory: they end with the process, as its messages do."""

from __future__ import annotations

from collections.abc import Iterable


class MemoryPlace:
    shown = "memory"

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, name: str, data: bytes) -> None:
        self._blobs[name] = data

    def get(self, name: str, size: int) -> bytes | None:
        found = self._blobs.get(name)
        return None if found is None else found[: size + 1]

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._blobs.pop(name, None)

    def sweep(self, before_day: int) -> int:
        old = [name for name in list(self._blobs) if int(name[:5]) < before_day]
        self.delete(old)
        return len(old)
