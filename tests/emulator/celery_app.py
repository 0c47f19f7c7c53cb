"""An application of Celery's, as its users write one, over kombu's SQS transport. Arguments: what to do, and a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery

app = Celery("celery_app", broker=f"sqs://123456789012:secret@{os.environ['EMULATOR'].removeprefix('http://')}")
app.conf.update(
    broker_transport_options={"region": "us-east-1", "is_secure": False, "wait_time_seconds": 2},
    broker_connection_retry_on_startup=True,
    task_default_queue="celery",
    worker_enable_remote_control=False,
)


@app.task(name="note", bind=True, acks_late=True)
def note(self, number: int, path: str) -> None:
    if number == 3 and self.request.retries == 0:
        raise self.retry(countdown=1)
    with Path(path).open("a") as file:
        file.write(f"{number}\n")


if __name__ == "__main__":
    if sys.argv[1] == "send":
        for number in range(12):
            note.delay(number, sys.argv[2])
        note.apply_async((12, sys.argv[2]), countdown=1)
    else:
        app.worker_main(["worker", "--pool=threads", "--concurrency=2", "--loglevel=error", "--without-mingle"])
