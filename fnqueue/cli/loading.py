"""The one place of the command line that imports by name: commands when they are asked for, and applications."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any


def load(path: str) -> Any:
    """The object at `package.module:name`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def import_module(name: str) -> ModuleType:
    return importlib.import_module(name)


def is_there(name: str) -> bool:
    """Whether a module of this name can be found. Imports its parents; raises what they raise."""
    parent, _, _ = name.rpartition(".")
    if parent and not (is_there(parent) and hasattr(import_module(parent), "__path__")):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module that was made by hand, as `__main__`, has no spec
        return True
