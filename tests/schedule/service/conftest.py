from __future__ import annotations

import pytest

from tests.schedule.service.world import World


@pytest.fixture
def world() -> World:
    made = World()
    made.queue()
    return made
