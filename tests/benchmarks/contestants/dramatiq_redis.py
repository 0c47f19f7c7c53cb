"""dramatiq on Redis: one process, eight threads."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks import effects
from tests.benchmarks.contestants import script

broker = RedisBroker(url=f"redis://127.0.0.1:{os.environ['BENCH_REDIS']}/1")
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(number: int, address: str, options: dict[str, Any]) -> None:
    effects.noop()


@dramatiq.actor
def arrive(sent_at: float) -> None:
    effects.arrived(sent_at)


def begin() -> None:
    broker.flush_all()


defer, defer_stamped = noop.send, arrive.send


def worker() -> list[str]:
    return [*script("dramatiq"), "tests.benchmarks.contestants.dramatiq_redis", "-p", "1", "-t", "8"]
