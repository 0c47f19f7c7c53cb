"""A client of EventBridge Scheduler per test, in an account of its own; what it made is deleted after the test, so that
the clock that all tests turn makes nothing of it fire."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulator.clients import client
from tests.emulator.scheduler.words import Maker
from tests.schedule.service.world import World


@pytest.fixture
def scheduler(emulator_endpoint: str, account: str) -> Iterator[Any]:
    made = client(emulator_endpoint, account, service="scheduler")
    yield made
    for page in made.get_paginator("list_schedules").paginate():
        for each in page["Schedules"]:
            made.delete_schedule(Name=each["Name"], GroupName=each["GroupName"])


@pytest.fixture
def make(scheduler: Any, account: str) -> Maker:
    return Maker(scheduler, account)


@pytest.fixture
def now(emulator_endpoint: str) -> Callable[[], float]:
    """What the emulator's clock shows."""

    def ask() -> float:
        with urllib.request.urlopen(f"{emulator_endpoint}/_clock", data=b'{"advance_seconds": 0}') as answer:
            return float(json.load(answer)["now"])

    return ask


@pytest.fixture
def world() -> World:
    made = World()
    made.queue()
    return made
