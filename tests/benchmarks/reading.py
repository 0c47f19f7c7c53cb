"""What a target is made of: figures, one reading of them, and the verdict. Knows no target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Figures = Mapping[str, Mapping[str, float]]  # contestant -> name -> median


@dataclass(frozen=True)
class Reading:
    """`value` must be at most (or at least) `bound`; both in the unit of `shown`."""

    value: float
    bound: float
    shown: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def ratio(self) -> float:
        """How many times the bound: 1.0 is just met."""
        return self.value / self.bound

    @property
    def verdict(self) -> str:
        if self.met:
            return "met"
        missed = 1 - self.ratio if self.at_least else self.ratio - 1
        return f"missed by {missed:.0%}"


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    read: Callable[[Figures], Reading]
