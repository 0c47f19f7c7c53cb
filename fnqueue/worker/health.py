"""The health file: `fnqueue healthcheck` reads it and says whether the worker beside it is alive.

Written whole at every heartbeat. Knows a path and who can say how the worker is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any


class HealthFile:
    """`path` None: nothing is written. `now`: what to write."""

    def __init__(self, path: str | None, now: Callable[[], dict[str, Any]]) -> None:
        self._path, self._now = path, now

    def write(self) -> None:
        """Raises OSError."""
        if self._path is None:
            return
        temporary = f"{self._path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self._now(), file)
        os.replace(temporary, self._path)

    def remove(self) -> None:
        if self._path is None:
            return
        try:
            os.unlink(self._path)
        except OSError:
            pass  # somebody else tidied up
