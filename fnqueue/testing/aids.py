"""What the tests' tools keep beside an engine in memory, so that they find each other's choices."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from fnqueue.runtime import Runtime
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.hand import Around


@dataclass(frozen=True, kw_only=True)
class Aids:
    chaos: Chaos | None = None
    around: Around = nullcontext


def aids_of(runtime: Runtime) -> Aids:
    """Those of a runtime that is in no test's hands: none."""
    return runtime.aids if isinstance(runtime.aids, Aids) else Aids()
