"""Real processes of `python -m ...` for tests: run to their end, or started and stopped by pid.

The environment is made here and holds nothing of the developer's own FNQUEUE_ or FLASK_ settings.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 40.0
PYTHON_M = (sys.executable, "-m")


def environment(**more: str) -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("FNQUEUE_", "FLASK_", "DJANGO_", "AWS_"))
    }
    path = os.pathsep.join([part for part in sys.path if part])
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


def run(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """`python -m arguments`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=environment(**(env or {})),
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


class Started:
    """A process whose output goes to a file. Killed at the end of `started`, if it is still there."""

    def __init__(
        self, arguments: tuple[str, ...], cwd: Path, env: dict[str, str] | None, log: Path, program: Sequence[str]
    ) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*program, *arguments],
                cwd=cwd,
                env=environment(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, what: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until `what()` is true. Fails with the output when it does not come, or the process ends."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"it did not come in {seconds} s:\n{self.output}"
            time.sleep(0.02)

    def until_it_says(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.output.count(text) >= times or self.process.poll() is not None)
        assert self.output.count(text) >= times, f"it ended with {self.process.returncode}:\n{self.output}"

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(SECONDS)


@contextmanager
def started(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, log: Path, program: Sequence[str] = PYTHON_M
) -> Iterator[Started]:
    """`program arguments`, to the end of the block at the latest."""
    running = Started(arguments, cwd, env, log, program)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(5)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
