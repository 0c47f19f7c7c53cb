"""Keys of each suite, and what web nodes, workers and dashboards are given of them."""

from __future__ import annotations

from fnqueue.security.keyfile import share
from fnqueue.security.keystrings import new_key
from fnqueue.security.suites import DIGITS

SUITES = ("local", "signed", "split")
SIGNED = ("signed", "split")


def whole(suite: str) -> str:
    return new_key(DIGITS[suite])


def given(key: str, role: str) -> str:
    """What a process of this role has of a key: in suite 1 all of it."""
    return key if "-root-" in key else share(key, role)
