"""Actors of dramatiq's, over dramatiq-sqs. Arguments: what to do, and a file."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import dramatiq
from dramatiq.middleware import Retries
from dramatiq_sqs import SQSBroker

broker = SQSBroker(
    namespace="dramatiq",
    endpoint_url=os.environ["EMULATOR"],
    region_name="us-east-1",
    middleware=[Retries(min_backoff=200, max_retries=3)],
    dead_letter=True,
)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="q", actor_name="note")
def note(number: int, path: str) -> None:
    marker = Path(f"{path}.{number}")
    if number == 3 and not marker.exists():
        marker.touch()
        raise ValueError("once more")
    with Path(path).open("a") as file:
        file.write(f"{number}\n")


if __name__ == "__main__":
    if sys.argv[1] == "send":
        for number in range(12):
            note.send(number, sys.argv[2])
        note.send_with_options(args=(12, sys.argv[2]), delay=1000)
    else:
        dramatiq.Worker(broker, worker_timeout=100).start()
        threading.Event().wait()
