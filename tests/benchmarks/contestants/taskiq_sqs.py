"""taskiq on SQS: one process, eight coroutines, receives of ten."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from taskiq_aio_sqs import SQSBroker

from tests.benchmarks import effects
from tests.benchmarks.contestants import script, sqs

_QUEUE = "taskiq"
broker = SQSBroker(
    endpoint_url=os.environ["BENCH_SQS"],
    sqs_queue_name=_QUEUE,
    region_name=sqs.REGION,
    aws_access_key_id="x",
    aws_secret_access_key="x",
    max_number_of_messages=10,
    wait_time_seconds=10,
)
_loop = asyncio.new_event_loop()


@broker.task(task_name="noop")
async def noop(number: int, address: str, options: dict[str, Any]) -> None:
    effects.noop()


@broker.task(task_name="arrive")
async def arrive(sent_at: float) -> None:
    effects.arrived(sent_at)


_started = False


def begin() -> None:
    global _started
    sqs.make_anew(_QUEUE)
    if not _started:
        _loop.run_until_complete(broker.startup())
        _started = True


def defer(*arguments: Any) -> None:
    _loop.run_until_complete(noop.kiq(*arguments))


def defer_stamped(sent_at: float) -> None:
    _loop.run_until_complete(arrive.kiq(sent_at))


def worker() -> list[str]:
    broker_path = "tests.benchmarks.contestants.taskiq_sqs:broker"
    return [
        *script("taskiq"),
        "worker",
        broker_path,
        "--workers",
        "1",
        "--max-async-tasks",
        "8",
        "--log-level",
        "WARNING",
    ]
