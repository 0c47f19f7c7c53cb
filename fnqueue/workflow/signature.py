"""A call not yet made: a task's name, arguments and options. Inert: it knows no app and sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """`task.s(...)` or, immutable, `task.si(...)`. `options` are those of `task.using`, JSON-able."""

    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    immutable: bool = False

    def to_json(self) -> dict[str, Any]:
        """As built-in types; the arguments are as given (the codec makes them travel)."""
        return {
            "task": self.task,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "options": dict(self.options),
            "immutable": self.immutable,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        return cls(
            task=data["task"],
            args=tuple(data["args"]),
            kwargs=data["kwargs"],
            options=data["options"],
            immutable=data["immutable"],
        )

    def __repr__(self) -> str:
        # Arguments stay out of it: a repr ends in logs.
        return f"<Signature {self.task} {len(self.args) + len(self.kwargs)} arguments>"
