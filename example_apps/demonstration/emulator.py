"""SQS for a demonstration that shall not need an account: `fnqueue emulator`, one more process of the stage.

What runs on SQLite runs on SQS with other settings; so nothing of an example is here, only its environment.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from example_apps.demonstration.processes import Process, Stage

#: Who a shell works as. A demonstration has its own key, and asks for no profile that this machine may not have.
_OF_THE_SHELL = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS")


class Emulator:
    """Starts it on a free port, with its file in `folder`. `endpoint`: as http://127.0.0.1:9324."""

    def __init__(self, stage: Stage, root: Path, folder: Path, environment: dict[str, str]) -> None:
        self._stage, self._root, self._folder, self._environment = stage, root, folder, environment
        self._starts = 0
        self._process, self.endpoint = self._start("0")

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill_and_start_again(self) -> None:
        """SIGKILL; then another on the same port and file."""
        self._process.kill()
        self._process, _ = self._start(self.endpoint.rpartition(":")[2])

    def settings(self) -> dict[str, str]:
        """What an application and its worker need to know of it. Its results are in a file beside it."""
        kept = {name: value for name, value in self._environment.items() if name not in _OF_THE_SHELL}
        return {
            **kept,
            "FNQUEUE_URL": f"sqs://us-east-1/demo-?endpoint={self.endpoint}",
            "FNQUEUE_STORE_URL": f"sqlite:///{self._folder / 'store.db'}",
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
        }

    def _start(self, port: str) -> tuple[Process, str]:
        self._starts += 1
        log = self._folder / f"emulator-{self._starts}.log"
        db = str(self._folder / "fnqueue-emulator.db")
        process = self._stage.start(
            "emulator",
            [sys.executable, "-m", "fnqueue", "emulator", "--port", port, "--db", db],
            log=log,
            folder=self._root,
            environment={**self._environment, "PYTHONUNBUFFERED": "1"},
        )
        return process, self._stage.until("the emulator's address", lambda: _address(log), seconds=20)


def _address(log: Path) -> str | None:
    found = re.search(r" on (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
    return found[1] if found else None
