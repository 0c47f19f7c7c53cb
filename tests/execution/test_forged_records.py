"""Whoever can write to the store and has no key: his records of tasks end nothing, and show nobody a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fnqueue import FnQueue
from fnqueue.errors import ResultTimeout, ResultUnreadable
from fnqueue.state import results
from fnqueue.store.base import Record

FAR = 9e9


def forge(fn: FnQueue, id: str, *, final: bool, fence: tuple[int, int], state: str) -> None:
    fields: dict[str, Any] = {"task": "flaky", "queue": "default", "state": state, "attempts": 1, "starts": 0}
    fields |= {"crashes": 0, "ex": FAR, "sealed": b"x" * 60}
    store = fn.runtime().engine.store
    assert store is not None
    store.put(Record(kind=results.KIND, id=id, fields=fields, final=final, fence=fence, expires_at=FAR))


@pytest.fixture
def runs():
    return []


@pytest.fixture
def flaky(fn, runs):
    """Fails at its first run, and is tried again."""

    @fn.task(name="flaky", retry=3)
    def flaky() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise ConnectionError
        return "done"

    return flaky


@pytest.mark.parametrize(
    ("final", "fence", "state"),
    [(True, (0, 1), "SUCCESS"), (True, (900_000, 1), "FAILURE"), (False, (900_000, 1), "RETRY")],
)
def test_a_forged_record_neither_ends_a_call_nor_repeats_it(fn, drain, clock, flaky, runs, final, fence, state):
    handle = flaky.defer()
    forge(fn, handle.id, final=final, fence=fence, state=state)
    for _ in range(10):
        drain()
        clock.advance(seconds=1000)
    assert len(runs) == 2
    assert handle.result() == "done"


def test_a_forged_success_is_no_result(fn, flaky):
    handle = flaky.defer()
    forge(fn, handle.id, final=True, fence=(0, 1), state="SUCCESS")
    assert handle.state == "PENDING"
    with pytest.raises(ResultTimeout):
        handle.result(timeout_seconds=0)


def test_a_result_that_no_store_keeps_is_told_and_not_none(fn, drain):
    @fn.task(name="export")
    def export() -> str:
        return "x" * 1_048_576

    fn.runtime().settings = replace(fn.runtime().settings, blobs_url="none")
    handle = export.defer()
    drain()
    assert handle.state == "SUCCESS"
    with pytest.raises(ResultUnreadable, match="256 KiB"):
        handle.result()
