"""The shared vectors, through CreateSchedule and a clock that is turned: what fires is what they say."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fnqueue.clock import ManualClock
from fnqueue.errors import BrokerRefused
from tests.emulator.clients import row
from tests.schedule.service.world import World

FOLDER = Path(__file__).parent.parent
VECTORS = json.loads((FOLDER / "cron_vectors.json").read_text())
INVALID = [each["expression"] for each in json.loads((FOLDER / "cron_invalid.json").read_text())]


def seconds(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


@row("X1", "X4", "X6", "K1", "K2", "K3", "K4", "K5", "K6", "K9", "Z1", "Z2", "Z3", "Z5", "Z6", "N4", "S6")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['id']} {vector['expression']}")
def test_a_schedule_fires_when_the_vector_says(vector: dict[str, Any]) -> None:
    after, start = seconds(vector["after"]), seconds(vector.get("start"))
    assert after is not None
    # It is made at `after`; where that is too late for its start, before.
    world = World(clock=ManualClock(after if start is None else min(after, start)))
    world.queue()
    world.make(
        vector["expression"],
        schedule_expression_timezone=vector["timezone"],
        start_date=start,
        end_date=seconds(vector.get("end")),
    )
    fired: list[str] = []
    more = 1 if vector["complete"] else 0
    while len(fired) < len(vector["expected"]) + more and world.go_to_next():
        fired += [each for each in world.bodies() if each > vector["after"]]
    assert fired == vector["expected"]


@row("K10", "X1", "X4", "K1")
@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_expression_is_echoed_and_refused(world: World, text: str) -> None:
    with pytest.raises(BrokerRefused) as caught:
        world.make(text)
    assert (caught.value.code, caught.value.text) == ("ValidationException", f"Invalid Schedule Expression {text}.")


@row("K10")
@pytest.mark.parametrize("text", ["cron(0 9 * * ? * *)", "cron(0 9 * *)", "cron(0 9 ? * FRO *)", "cron(0 9 1 13 ? *)"])
def test_too_many_fields_and_names_that_are_none_are_refused(world: World, text: str) -> None:
    with pytest.raises(BrokerRefused, match="Invalid Schedule Expression"):
        world.make(text)
