"""A worker: pollers -> pool -> settling, a heartbeat beside them, and an order in which to stop.

    pollers --Delivery--> pool (threads, loop) --(Delivery, Outcome)--> settling --> slots are free again
                 heartbeat keeps the leases of all that is between; the ticker sends what falls due

Stopping loses nothing: receive no more, wait for the receive under way, give back what has not started, let
running tasks finish until the time is over, give those back too, settle, end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import Message, WaitsForAny
from fnqueue.broker.names import PRIORITIES, check_queue, physical
from fnqueue.errors import SettingsInvalid
from fnqueue.events import WorkerStarted, WorkerStopped, WorkerStopping
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.plan import Plan
from fnqueue.execution.settle import Ended
from fnqueue.outcome import Outcome, Released
from fnqueue.runtime import Runtime
from fnqueue.worker.groups import Groups
from fnqueue.worker.heartbeat import Heartbeat, HeartbeatPowers
from fnqueue.worker.poller import Poller, PollerPowers
from fnqueue.worker.pools import AsyncPool, ThreadPool
from fnqueue.worker.settling import Settling, SettlingPowers
from fnqueue.worker.slots import Slots
from fnqueue.worker.ticker import Ticker, TickerPowers

EXIT_FORCED = 5
SQS_WINDOW = 40  # four receives of ten
SQS_LINGER_SECONDS = 0.05
EMBEDDED_WINDOW = 2 * quotas.EMBEDDED_RECEIVE_MAX


class Worker:
    """Runs the tasks of one runtime until it is stopped. Used once.

    `queues`: logical names; None: those of the registered tasks. `burst`: end when nothing is visible.
    `max_tasks`: end after that many. Raises SettingsInvalid with every fault at once.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        burst: bool = False,
        max_tasks: int | None = None,
        name: str | None = None,
        health_file: str | None = None,
    ) -> None:
        self.runtime, self.burst, self.max_tasks, self.health_file = runtime, burst, max_tasks, health_file
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.queues = [check_queue(queue) for queue in (queues or runtime.registry.queues())]
        self.concurrency = concurrency or runtime.settings.concurrency
        faults = runtime.faults() + self._limit_faults()
        if faults:
            raise SettingsInvalid(faults)
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._stops = 0
        self._ended_tasks = 0
        self._released = 0
        self._build()

    def _limit_faults(self) -> list[str]:
        return [
            f"{task.name} ({task.where}) has time_limit_seconds={task.options.time_limit_seconds:g}, and a thread "
            "cannot be stopped from outside: use soft_time_limit_seconds=, or make it a coroutine"
            for task in self.runtime.registry
            if task.options.time_limit_seconds is not None and not task.is_coroutine
        ]

    # ---------------------------------------------------------------- wiring

    def _build(self) -> None:
        runtime, settings, engine = self.runtime, self.runtime.settings, self.runtime.engine
        window = EMBEDDED_WINDOW if engine.embedded else SQS_WINDOW
        self._slots = Slots(self.concurrency, most=window)
        self._executor = runtime.executor(extend=self._extend, delete_first=self._delete_first, worker=self.name)
        self._heartbeat = Heartbeat(
            HeartbeatPowers(
                broker=engine.broker,
                clock=runtime.clock,
                events=runtime.events,
                visibility_seconds=settings.visibility_seconds,
                tick_seconds=min(settings.heartbeat_seconds, settings.visibility_seconds / 4),
                each_tick=self._each_tick,
            )
        )
        self._loop = AsyncPool(self._executor, self._finished, settings.async_concurrency)
        self._pool = ThreadPool(self._executor, self._loop, self._slots, self._finished, self.concurrency)
        self._groups = Groups(self._pool.put, self._give_back)
        self._settling = Settling(
            SettlingPowers(
                settler=runtime.settler(worker=self.name),
                heartbeat=self._heartbeat,
                events=runtime.events,
                settled=self._settled,
                batch=quotas.EMBEDDED_RECEIVE_MAX if engine.embedded else 5 * quotas.BATCH_ENTRIES_MAX,
                linger_seconds=0 if engine.embedded else SQS_LINGER_SECONDS,
                busy=lambda: self._slots.held > 0,
            )
        )
        self._pollers = self._make_pollers()
        self._ticker = self._make_ticker()

    def _make_pollers(self) -> list[Poller]:
        settings, engine = self.runtime.settings, self.runtime.engine
        powers = PollerPowers(
            broker=engine.broker,
            slots=self._slots,
            events=self.runtime.events,
            take=self._take,
            stopping=self._stopping,
            wait_seconds=settings.wait_time_seconds,
            visibility_seconds=settings.visibility_seconds,
            burst=self.burst,
        )
        groups = self.physical_queues()
        if engine.embedded:
            return [Poller(powers, groups, "fnqueue-poll")]
        return [Poller(powers, [[queue]], f"fnqueue-poll-{queue}") for group in groups for queue in group]

    def _make_ticker(self) -> Ticker | None:
        runtime = self.runtime
        if runtime.engine.store is None or runtime.parked is None:
            return None
        return Ticker(
            TickerPowers(
                broker=runtime.engine.broker,
                store=runtime.engine.store,
                parked=runtime.parked,
                clock=runtime.clock,
                events=runtime.events,
                tick_seconds=1.0 if runtime.engine.embedded else 2.0,
            )
        )

    def physical_queues(self) -> list[list[str]]:
        """By priority: high, normal, low; each only where it exists."""
        has = self.runtime.dispatch.has_priorities
        groups = [
            [physical(queue, priority) for queue in self.queues if priority == "normal" or has(queue)]
            for priority in PRIORITIES
        ]
        return [group for group in groups if group]

    # ---------------------------------------------------------------- running

    def run(self) -> int:
        """Work until stopped; blocks. Signals are handled when this is the main thread. Returns the exit code."""
        self._on_signals()
        self._write_health()
        self._settling.start()
        self._heartbeat.start()
        self._pool.start()
        for thread in (*self._pollers, *([self._ticker] if self._ticker else [])):
            thread.start()
        self._tell_started()
        self._watch()
        return self._shut_down()

    def stop(self) -> None:
        """As the first SIGTERM does; called again, running tasks are given back at once."""
        self._stops += 1
        self._stopping.set()
        self._slots.close()
        self._wake()

    def _wake(self) -> None:
        broker = self.runtime.engine.broker
        if isinstance(broker, WaitsForAny):
            broker.wake()

    def _on_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())

    def _watch(self) -> None:
        while not self._stopping.wait(0.02 if self.burst or self.max_tasks else 0.5):
            if self.burst and self._nothing_left():
                self.stop()
            if self.max_tasks is not None and self._ended_tasks >= self.max_tasks:
                self.stop()

    def _nothing_left(self) -> bool:
        return self._slots.held == 0 and self._unsettled() == 0 and all(p.drained.is_set() for p in self._pollers)

    def _unsettled(self) -> int:
        return len(self._heartbeat.active())

    def _tell_started(self) -> None:
        queues = tuple(queue for group in self.physical_queues() for queue in group)
        self.runtime.events.publish(WorkerStarted(worker=self.name, queues=queues, tasks=len(self.runtime.registry)))

    # ---------------------------------------------------------------- the way of a delivery

    def _take(self, messages: list[Message]) -> None:
        deliveries = [Delivery(message) for message in messages]
        for poller in self._pollers:
            poller.drained.clear()
        self._heartbeat.add(deliveries)
        self._slots.received(len(deliveries))
        for delivery in deliveries:
            self._groups.put(delivery)

    def _finished(self, delivery: Delivery, outcome: Outcome) -> None:
        if delivery.abandoned:
            return
        started, finished = delivery.started_at, delivery.finished_at
        self._slots.finished(finished - started if started is not None and finished is not None else None)
        self._settling.put(delivery, outcome)

    def _settled(self, batch: Sequence[Ended], plans: Sequence[Plan]) -> None:
        deleted = {id(plan.delivery) for plan in plans if plan.hide_seconds is None}
        self._ended_tasks += len(batch)
        self._released += sum(isinstance(outcome, Released) for _, outcome in batch)
        for delivery, _ in batch:
            self._groups.settled(delivery, deleted=id(delivery) in deleted)

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Not started, and not to be: visibility 0."""
        for delivery in deliveries:
            self._slots.started()
            self._finished(delivery, Released())

    # ---------------------------------------------------------------- what tasks and ticks may do

    def _extend(self, delivery: Delivery) -> None:
        self._heartbeat.extend([delivery])

    def _delete_first(self, delivery: Delivery) -> bool:
        self._heartbeat.forget([delivery])
        return not self.runtime.engine.broker.delete(delivery.queue, [delivery.receipt])

    def _each_tick(self, running: list[Delivery]) -> None:
        self._write_health()
        self._revoke(running)
        self._renew_once(running)
        if self.runtime.results is not None:
            for delivery in running:
                if delivery.record is not None and not delivery.recorded and not delivery.lost:
                    delivery.record = self.runtime.results.write_started(delivery.record) or delivery.record

    def _renew_once(self, running: list[Delivery]) -> None:
        """The right to run is a lease, too. A run that was replaced has nothing to settle any more."""
        held = [(delivery, delivery.once) for delivery in running if delivery.once is not None]
        if not held or self.runtime.replay is None:
            return
        renewed = self.runtime.replay.renew(
            [taken for _, taken in held], lease_seconds=self.runtime.settings.visibility_seconds
        )
        for (delivery, _), taken in zip(held, renewed, strict=True):
            if taken is None:
                delivery.lost = True
            else:
                delivery.once = taken

    def _revoke(self, running: list[Delivery]) -> None:
        if self.runtime.control is None:
            return
        self._executor.revoked = revoked = self.runtime.control.snapshot()
        for delivery in running:
            if delivery.id in revoked and not delivery.revoked:
                delivery.revoked = True
                if delivery.context is not None:
                    delivery.context.revoked = True
                self._loop.revoke(delivery)

    def _write_health(self) -> None:
        if self.health_file is None:
            return
        state: dict[str, Any] = {
            "pid": os.getpid(),
            "at": self.runtime.clock.now(),
            "worker": self.name,
            "held": self._slots.held,
            "stopping": self._stopping.is_set(),
        }
        temporary = f"{self.health_file}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(temporary, self.health_file)

    # ---------------------------------------------------------------- stopping

    def _shut_down(self) -> int:
        settings = self.runtime.settings
        self._pool.stop_starting()
        running = [d for d in self._heartbeat.active() if d.started_at is not None]
        self.runtime.events.publish(
            WorkerStopping(worker=self.name, running=len(running), waiting=self._unsettled() - len(running))
        )
        self._give_back(self._groups.empty())
        deadline = self.runtime.clock.monotonic() + settings.shutdown_timeout_seconds
        self._join_pollers(settings.wait_time_seconds + 5.0)
        forced = not self._drain(deadline)
        self._pool.close()
        self._abandon()
        self._settling.close(10.0)
        self._heartbeat.close()
        if self._ticker is not None:
            self._ticker.close()
            self._ticker.join(5.0)
        self._loop.close()
        self.runtime.events.publish(WorkerStopped(worker=self.name, released=self._released))
        self._end_health()
        return EXIT_FORCED if forced and self._stops > 1 else 0

    def _join_pollers(self, seconds: float) -> None:
        """The receive under way is waited for: cutting it would hide what it delivers."""
        for poller in self._pollers:
            poller.join(seconds)

    def _drain(self, deadline: float) -> bool:
        """Wait until all that is inside has ended. False when the time is over, or a second signal came."""
        pause = threading.Event()
        while self._slots.held > 0:
            if self._stops > 1 or self.runtime.clock.monotonic() >= deadline:
                return False
            pause.wait(0.005)
        return True

    def _abandon(self) -> None:
        """Give back what still runs: visibility 0, now. Whatever its thread says later is not settled."""
        for delivery in self._heartbeat.active():
            if delivery.finished_at is None and not delivery.abandoned:
                delivery.abandoned = True
                self._settling.put(delivery, Released())

    def _end_health(self) -> None:
        if self.health_file is not None:
            try:
                os.unlink(self.health_file)
            except OSError:
                pass  # somebody else tidied up

    def describe(self) -> list[str]:
        """For the banner: how this worker runs."""
        return [f"{self.concurrency} threads", f"visibility {self.runtime.settings.visibility_seconds} s"]
