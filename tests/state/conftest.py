"""A store on the real engine, in memory and through two connections to one file, and a clock that tests turn."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.errors import EnvelopeError
from fnqueue.store.base import Store
from fnqueue.store.sqlite import SqliteStore


class Sealer:
    """AES-GCM bound to the purpose, as the key ring's is."""

    def __init__(self) -> None:
        self._cipher = AESGCM(os.urandom(32))

    def seal(self, purpose_id: str, data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, data, purpose_id.encode())

    def unseal(self, purpose_id: str, data: bytes) -> bytes:
        try:
            return self._cipher.decrypt(data[:12], data[12:], purpose_id.encode())
        except (InvalidTag, ValueError):
            raise EnvelopeError("UNSEAL") from None


class ByTurns:
    """A Store whose calls go to one of several stores, in turn."""

    def __init__(self, *stores: Store) -> None:
        self._turns = itertools.cycle(stores)

    def __getattr__(self, verb: str) -> Any:
        return getattr(next(self._turns), verb)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "two"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    path = None if request.param == "memory" else tmp_path / "records.db"
    databases = [Database(path, clock=clock, durability="relaxed") for _ in range(1 if path is None else 2)]
    yield ByTurns(*(SqliteStore(database, clock=clock) for database in databases))
    for database in databases:
        database.close()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer()


@pytest.fixture
def other_sealer() -> Sealer:
    return Sealer()


@pytest.fixture
def race() -> Callable[[Sequence[Callable[[], Any]]], list[Any]]:
    """What each work returned, all let go at the same moment, each in a thread of its own."""

    def run(works: Sequence[Callable[[], Any]]) -> list[Any]:
        gate = threading.Barrier(len(works))

        def let_go(work: Callable[[], Any]) -> Any:
            gate.wait(10)
            return work()

        with ThreadPoolExecutor(len(works)) as pool:
            return list(pool.map(let_go, works))

    return run
