"""Worker processes that a test starts, stops, kills and counts; and what they left in the log of effects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fnqueue import FnQueue
from fnqueue.broker.names import dead_letter
from fnqueue.errors import QueueMissing
from fnqueue.security.keyfile import load_or_create
from tests.system import effects

ROOT = Path(__file__).resolve().parents[2]
WORKER = [sys.executable, "-m", "fnqueue", "worker", "--app", "tests.system.effects:fn"]


class Line(NamedTuple):
    what: str
    call: str
    word: str
    pid: int


class Fleet:
    """`settings`: FNQUEUE_* of workers and of `fn`, which is the same application in the test's own process."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder, self.settings = folder, dict(settings)
        self.log = folder / "effects.log"
        self.log.touch()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.killed: set[int] = set()
        self._fn: FnQueue | None = None

    @property
    def fn(self) -> FnQueue:
        """To defer with, and to look. Its tasks are those of `effects`."""
        if self._fn is None:
            given = {name.removeprefix("FNQUEUE_").lower(): value for name, value in self.settings.items()}
            if "FNQUEUE_KEYS_FILE" in self.settings:
                load_or_create(self.settings["FNQUEUE_KEYS_FILE"])
            self._fn = FnQueue(given)
            for task in effects.fn.registry:
                self._fn.task(**_options(task))(task.function)
        return self._fn

    def task(self, name: str) -> Any:
        return self.fn.registry.get(name)

    # ---------------------------------------------------------------- processes

    def start(self, *, program: Sequence[str] = WORKER, **settings: str) -> subprocess.Popen[bytes]:
        """One more worker. `settings`: FNQUEUE_ names, in lower case, of this one."""
        assert self.fn is not None  # the keys are there before the worker looks for them
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FNQUEUE_")}
        environment |= self.settings | {f"FNQUEUE_{name.upper()}": value for name, value in settings.items()}
        environment |= {"EFFECTS_LOG": str(self.log), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.setdefault("AWS_ACCESS_KEY_ID", "x")
        environment.setdefault("AWS_SECRET_ACCESS_KEY", "x")
        with open(self.folder / "workers.log", "ab") as output:
            worker = subprocess.Popen(program, cwd=self.folder, env=environment, stdout=output, stderr=output)
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """-9."""
        self.killed.add(worker.pid)
        worker.kill()
        worker.wait(10)
        self.workers.remove(worker)

    def stop(self, worker: subprocess.Popen[bytes], seconds: float = 40) -> int:
        """SIGTERM, once it works: before that it has nothing to give back, and knows nothing of signals. The code."""
        self.wait(lambda: any(line.pid == worker.pid for line in self.lines("ready")), 60, "a worker is ready")
        worker.send_signal(signal.SIGTERM)
        return self.ended(worker, seconds)

    def ended(self, worker: subprocess.Popen[bytes], seconds: float = 40) -> int:
        code = worker.wait(seconds)
        self.workers.remove(worker)
        return code

    def close(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            worker.wait(10)
        if self._fn is not None:
            self._fn.close()

    # ---------------------------------------------------------------- looking

    def lines(self, *what: str) -> list[Line]:
        text = self.log.read_text()
        parts = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        return [Line(a, b, c, int(d)) for a, b, c, d in parts if not what or a in what]

    def by_call(self, *what: str) -> dict[str, list[Line]]:
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines(*what):
            found[line.call].append(line)
        return found

    def busy(self) -> list[subprocess.Popen[bytes]]:
        """The workers that have begun a task."""
        begun = {line.pid for line in self.lines("start", "step")}
        return [worker for worker in self.workers if worker.pid in begun]

    def left(self, queue: str = "default") -> int:
        """Messages in the queue: visible, hidden and delayed. 0 where there is no queue yet."""
        try:
            found = self.fn.runtime().engine.broker.attributes(queue)
        except QueueMissing:
            return 0
        return found.visible + found.in_flight + found.delayed

    def dead(self, queue: str = "default") -> int:
        return self.left(dead_letter(queue))

    def said(self) -> str:
        """All that the workers logged."""
        path = self.folder / "workers.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, done: Callable[[], Any], seconds: float, what: str = "") -> Any:
        """What `done` returns once it is true."""
        until = time.monotonic() + seconds
        while not (found := done()):
            for worker in self.workers:
                assert worker.poll() is None, (
                    f"worker {worker.pid} ended with {worker.returncode}: {self.said()[-3000:]}"
                )
            if time.monotonic() > until:
                raise AssertionError(f"not within {seconds} s: {what or done}\n{self.said()[-3000:]}")
            time.sleep(0.05)
        return found

    @contextmanager
    def timed(self, what: str) -> Any:
        began = time.monotonic()
        yield
        print(f"{what}: {time.monotonic() - began:.1f} s")


def _options(task: Any) -> dict[str, Any]:
    options = task.options
    return {name: getattr(options, name) for name in type(options).__slots__} | {"name": task.name}
