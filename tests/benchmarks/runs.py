"""One contestant on one round: its client and its worker, and the figures that they give.

A figure is a plain number under a name: `drain` tasks/s, `cpu` seconds of worker per 1000 tasks, `defer` and
`client_cpu` seconds a call, `pickup` and `pickup_p99` seconds, `idle` CPU seconds a second, `rss` MB, `cold` seconds.
Knows how to measure; knows neither targets nor contestants by name.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import effects
from tests.benchmarks.effects import Count
from tests.benchmarks.processes import Started
from tests.benchmarks.servers import Sqs

Figures = dict[str, float]
_START_SECONDS = 60
_LOOK_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    defers: int = 1000
    pickups: int = 200
    pickup_gap_seconds: float = 0.05
    settle_seconds: float = 2.0
    idle_seconds: float = 8.0
    cold_starts: int = 3
    beside: int = 300
    beside_gap_seconds: float = 0.005
    drain_seconds_max: float = 120.0


QUICK = Sizes(
    defers=20,
    pickups=5,
    pickup_gap_seconds=0.02,
    settle_seconds=0.2,
    idle_seconds=0.2,
    cold_starts=1,
    beside=5,
    drain_seconds_max=30.0,
)


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Where a contestant runs. `command`: of its client. `server`: the SQS whose requests are counted."""

    command: tuple[str, ...]
    env: dict[str, str]
    folder: Path
    sizes: Sizes
    server: Sqs | None = None


class Run:
    """`with` ends its client; every worker ends with its measurement."""

    def __init__(self, arena: Arena) -> None:
        self._arena, self.figures = arena, Figures()
        shutil.rmtree(arena.folder, ignore_errors=True)
        arena.folder.mkdir(parents=True)
        self._client = Started(
            arena.command, env=arena.env, cwd=arena.folder, log=arena.folder / "client.log", talks=True
        )
        self._worker_command: list[str] = []
        self._anew()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.stop()

    # ---------------------------------------------------------------- measurements

    def drain(self, tasks: int) -> None:
        """Defers one by one, then many, and lets one worker run them all."""
        self._anew()
        self._client.ask(do="defer", count=max(2, self._arena.sizes.defers // 20))
        self._anew()
        self._requests()
        first = min(self._arena.sizes.defers, tasks)
        told = self._client.ask(do="defer", count=first)
        self.figures["defer"] = statistics.median(told["each"])
        self.figures["client_cpu"] = told["cpu"]
        self._requests()
        self._client.ask(do="fill", count=tasks - first)
        with self._worker() as worker:
            self._wait(worker, 1, _START_SECONDS)
            cpu = worker.cpu_seconds()
            count = self._wait(worker, tasks, self._arena.sizes.drain_seconds_max)
            self.figures["cpu"] = (worker.cpu_seconds() - cpu) / max(1, count.tasks) * 1000
            self.figures["rss_busy"] = worker.rss_mb()
            self._keep_rate(count, tasks)
        if (requests := self._requests()) and tasks > first:
            self.figures["requests"] = _per_task(requests, sent=tasks - first, ran=tasks)

    def beside(self, tasks: int) -> None:
        """Defers one by one while a worker drains."""
        sizes = self._arena.sizes
        self._anew()
        self._client.ask(do="fill", count=tasks)
        with self._worker() as worker:
            self._wait(worker, min(tasks, 50), _START_SECONDS)
            told = self._client.ask(do="defer", count=sizes.beside, gap_seconds=sizes.beside_gap_seconds)
            if effects.counted(self._arena.folder).tasks < tasks + sizes.beside:
                self.figures["beside_p95"] = quantile(told["each"], 0.95)

    def cold(self) -> None:
        """From the start of the process to the start of a task that waits."""
        seconds = []
        for _ in range(self._arena.sizes.cold_starts):
            self._anew()
            self._client.ask(do="defer", count=1)
            with self._worker() as worker:
                count = self._wait(worker, 1, _START_SECONDS)
                seconds.append(count.first_at - worker.started_at)
        self.figures["cold"] = statistics.median(seconds)

    def idle_and_pickup(self) -> None:
        sizes = self._arena.sizes
        self._anew()
        self._client.ask(do="defer", count=1)
        with self._worker() as worker:
            self._wait(worker, 1, _START_SECONDS)
            time.sleep(sizes.settle_seconds)
            self.figures["rss"] = worker.rss_mb()
            self._measure_idle(worker)
            self._client.ask(do="stamped", count=5, gap_seconds=sizes.pickup_gap_seconds)
            self._client.ask(do="stamped", count=sizes.pickups, gap_seconds=sizes.pickup_gap_seconds)
            time.sleep(sizes.settle_seconds / 2)
        seconds = effects.arrivals(self._arena.folder)[5:]
        if seconds:
            self.figures["pickup"] = statistics.median(seconds)
            self.figures["pickup_p99"] = quantile(seconds, 0.99)

    def _measure_idle(self, worker: Started) -> None:
        cpu, since = worker.cpu_seconds(), time.monotonic()
        time.sleep(self._arena.sizes.idle_seconds)
        self.figures["idle"] = (worker.cpu_seconds() - cpu) / (time.monotonic() - since)

    def backlog(self, tasks: int, seconds: float) -> Figures:
        """With `tasks` waiting: what a defer costs, how fast a worker is in its first `seconds`, and its memory."""
        self._anew()
        self._client.ask(do="fill", count=tasks)
        told = self._client.ask(do="defer", count=self._arena.sizes.defers)
        with self._worker() as worker:
            begun = self._wait(worker, 1, _START_SECONDS)
            self._wait(worker, tasks, seconds)
            count, memory = effects.counted(self._arena.folder), worker.rss_mb()
        rate = (count.tasks - begun.tasks) / max(1e-9, count.last_at - begun.last_at)
        return {"defer": statistics.median(told["each"]), "drain": rate, "rss": memory}

    # ---------------------------------------------------------------- steps

    def _anew(self) -> None:
        self._worker_command = self._client.ask(do="begin")["worker"]
        effects.clear(self._arena.folder)

    @contextmanager
    def _worker(self) -> Iterator[Started]:
        log = self._arena.folder / "worker.log"
        worker = Started(self._worker_command, env=self._arena.env, cwd=self._arena.folder, log=log)
        try:
            yield worker
        finally:
            worker.stop()

    def _wait(self, worker: Started, tasks: int, seconds: float) -> Count:
        end = time.monotonic() + seconds
        while (count := effects.counted(self._arena.folder)).tasks < tasks and time.monotonic() < end:
            if not worker.alive():
                raise RuntimeError(f"the worker ended: {worker.last_words()}")
            time.sleep(_LOOK_SECONDS)
        if count.tasks == 0:
            raise RuntimeError(f"no task ran in {seconds:g} s: {worker.last_words()}")
        return count

    def _keep_rate(self, count: Count, tasks: int) -> None:
        if count.last_at > count.first_at:
            self.figures["drain"] = (count.tasks - 1) / (count.last_at - count.first_at)
        self.figures["left"] = tasks - count.tasks

    def _requests(self) -> dict[str, int]:
        return self._arena.server.requests() if self._arena.server is not None else {}


def _per_task(requests: dict[str, int], *, sent: int, ran: int) -> float:
    """`sent`: in tens. Those that were deferred one by one before ran too, but their sends are not among `requests`."""
    sends = sum(count for operation, count in requests.items() if operation.startswith("SendMessage"))
    return sends / sent + (sum(requests.values()) - sends) / ran


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]
