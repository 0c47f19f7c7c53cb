"""Celery with eight threads, on Redis or on SQS (BENCH_VARIANT), there with polling_interval=0: as shipped it waits a
second whenever its prefetch is full."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.benchmarks import effects
from tests.benchmarks.contestants import script, sqs

app = Celery("tests.benchmarks.contestants.celery_threads", set_as_current=True)
app.conf.task_ignore_result = True
app.conf.result_backend = None
app.conf.broker_connection_retry_on_startup = True
_ON_SQS = os.environ["BENCH_VARIANT"] == "sqs"
_QUEUE = "celery"
if _ON_SQS:
    _endpoint = os.environ["BENCH_SQS"]
    app.conf.broker_url = f"sqs://x:x@{_endpoint.removeprefix('http://')}//"
    app.conf.broker_transport_options = {
        "region": sqs.REGION,
        "is_secure": False,
        "visibility_timeout": 3600,
        "polling_interval": 0,
        "predefined_queues": {
            _QUEUE: {"url": sqs.queue_url(_QUEUE), "access_key_id": "x", "secret_access_key": "x"},
        },
    }
    app.conf.worker_enable_remote_control = False
    app.conf.worker_send_task_events = False
else:
    app.conf.broker_url = f"redis://127.0.0.1:{os.environ['BENCH_REDIS']}/0"


@app.task(name="noop")
def noop(number: int, address: str, options: dict[str, Any]) -> None:
    effects.noop()


@app.task(name="arrive")
def arrive(sent_at: float) -> None:
    effects.arrived(sent_at)


def begin() -> None:
    if _ON_SQS:
        sqs.make_anew(_QUEUE)
    else:
        app.control.purge()


defer, defer_stamped = noop.delay, arrive.delay


def worker() -> list[str]:
    module = "tests.benchmarks.contestants.celery_threads"
    return [*script("celery"), "-A", module, "worker", "-l", "WARNING", "-P", "threads", "-c", "8"]
