"""Two emulators on one file, as happens to whoever starts a second one: what the one is told, the other knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.clients import bodies, client
from tests.servers import EmulatorProcess

pytestmark = pytest.mark.system


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    servers = [EmulatorProcess(tmp_path / "emulator.db") for _ in range(2)]
    yield tuple(client(server.endpoint, "1" * 12) for server in servers)
    for server in servers:
        server.end()


def test_a_long_poll_hears_of_what_is_sent_through_another_process_on_the_same_file(both: tuple[Any, Any]) -> None:
    here, there = both
    url = here.create_queue(QueueName="q")["QueueUrl"]
    for text in ("first", "after the first glance"):
        sending = threading.Timer(1.5, there.send_message, kwargs={"QueueUrl": url, "MessageBody": text})
        since = time.monotonic()
        sending.start()
        assert bodies(here.receive_message(QueueUrl=url, WaitTimeSeconds=20)) == [text]
        assert time.monotonic() - since < 10
        sending.join()
