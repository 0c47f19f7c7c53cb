"""A worker: pollers -> pool -> settling, a heartbeat beside them, and an order in which to stop.

    pollers --Delivery--> pool (threads, loop) --(Delivery, Outcome)--> settling --> slots are free again
                 heartbeat keeps the leases of all that is between; the ticker sends what falls due

Stopping loses nothing: receive no more, give back what has not started, wait for the receive under way, let
running tasks finish until the time is over, give those back too, settle, end.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import Message, WaitsForAny
from fnqueue.broker.names import PRIORITIES, check_queue, physical
from fnqueue.errors import ReceiptExpired, SettingsInvalid, TaskError
from fnqueue.events import WorkerStarted, WorkerStopped, WorkerStopping
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.later import Plan
from fnqueue.execution.settle import Ended
from fnqueue.outcome import Failed, Outcome, Released
from fnqueue.runtime import Runtime
from fnqueue.scheduling.admission import Admission
from fnqueue.scheduling.book import ScheduleBook
from fnqueue.scheduling.ticking import ScheduleTicker
from fnqueue.worker.blobs import BlobKeeper
from fnqueue.worker.groups import Groups
from fnqueue.worker.health import HealthFile
from fnqueue.worker.heartbeat import Heartbeat, HeartbeatPowers
from fnqueue.worker.poller import Poller, PollerPowers
from fnqueue.worker.pools import AsyncPool, KeptLoop, ThreadPool
from fnqueue.worker.settling import Settling, SettlingPowers
from fnqueue.worker.slots import Slots
from fnqueue.worker.stopping import Stopping
from fnqueue.worker.ticker import Ticker, TickerPowers
from fnqueue.worker.ticks import Ticks

EXIT_FORCED = 5
STOPPED = TaskError(
    "WorkerStopped", "the worker had to end before this did, and at_most_once=True: it is not run again"
)
SQS_WINDOW = 40  # four receives of ten
SQS_LINGER_SECONDS = 0.05
EMBEDDED_WINDOW = 2 * quotas.EMBEDDED_RECEIVE_MAX


class Worker:
    """Runs the tasks of one runtime until it is stopped. Used once.

    `queues`: logical names; None: those of the registered tasks. `burst`: end when nothing is visible.
    `max_tasks`: end after that many. `schedules`: fire what falls due of them, too.
    Raises SettingsInvalid with every fault at once.
    """

    kept_loop: KeptLoop | None = None

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
        schedules: bool = True,
    ) -> None:
        self.runtime, self.burst, self.max_tasks = runtime, burst, max_tasks
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.queues = [check_queue(queue) for queue in (queues or runtime.registry.queues())]
        self.concurrency = concurrency or runtime.settings.concurrency
        faults = [fault for faults in start_faults(runtime).values() for fault in faults]
        if faults:
            raise SettingsInvalid(faults)
        self._schedules = schedules and runtime.schedules is not None
        self._asked = Stopping()
        self._stopping = threading.Event()
        self._health = HealthFile(health_file, self._health_now)
        self._ending = threading.Lock()
        self._received = 0
        self._ended_tasks = 0
        self._released = 0
        self._settled_at = 0.0
        self._build()

    # ---------------------------------------------------------------- wiring

    def _build(self) -> None:
        runtime, settings, engine = self.runtime, self.runtime.settings, self.runtime.engine
        window = EMBEDDED_WINDOW if engine.embedded else SQS_WINDOW
        self._slots = Slots(self.concurrency, most=window, loop_most=settings.async_concurrency)
        self._executor = runtime.executor(
            extend=self._extend,
            delete_first=self._delete_first,
            worker=self.name,
            exchange=Admission(runtime).exchange,
        )
        self._heartbeat = Heartbeat(
            HeartbeatPowers(
                broker=engine.broker,
                clock=runtime.clock,
                events=runtime.events,
                visibility_seconds=settings.visibility_seconds,
                tick_seconds=min(settings.heartbeat_seconds, settings.visibility_seconds / 4),
                each_tick=lambda held: self._ticks.tick(held),
            )
        )
        self._loop = AsyncPool(self._executor, self._finished_on_loop, settings.async_concurrency, self.kept_loop)
        self._pool = ThreadPool(self._executor, self._loop, self._slots, self._finished, self.concurrency)
        self._blobs = self._make_blobs()
        self._groups = Groups(self._pool.put, self._give_back)
        self._settling = Settling(
            SettlingPowers(
                settler=runtime.settler(worker=self.name, **self._settle_powers()),
                heartbeat=self._heartbeat,
                clock=runtime.clock,
                events=runtime.events,
                settled=self._settled,
                batch=quotas.EMBEDDED_RECEIVE_MAX if engine.embedded else 5 * quotas.BATCH_ENTRIES_MAX,
                linger_seconds=0 if engine.embedded else SQS_LINGER_SECONDS,
                busy=lambda: self._slots.held > 0,
            )
        )
        self._ticks = Ticks(runtime, self._executor, self._loop.revoke, self._health.write)
        self._pollers = self._make_pollers()
        self._ticker = self._make_ticker()

    def _make_blobs(self) -> BlobKeeper | None:
        blobs = self.runtime.blobs
        return BlobKeeper(blobs, self.runtime.clock, self.runtime.events) if blobs is not None else None

    def _settle_powers(self) -> dict[str, Any]:
        return {"forget": self._blobs.forget} if self._blobs is not None else {}

    def _make_pollers(self) -> list[Poller]:
        settings, engine = self.runtime.settings, self.runtime.engine
        powers = PollerPowers(
            broker=engine.broker,
            clock=self.runtime.clock,
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
                **({"schedules": ScheduleTicker(runtime).tick} if self._schedules else {}),
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
        self._asked.on_signals()
        try:
            self._start()
            self._watch()
            return self._shut_down()
        finally:
            self._asked.off_signals()

    def stop(self) -> None:
        """As the first SIGTERM does; called again, running tasks are given back at once. For any thread."""
        self._asked.ask()

    def _start(self) -> None:
        self._health.write()
        if self._schedules:
            ScheduleBook(lambda: self.runtime).sync()
        if self.burst and self._ticker is not None:
            self._ticker.catch_up()  # it may have ended before the thread looks
        self._ticks.begin()
        self._settling.start()
        self._heartbeat.start()
        self._pool.start()
        if self._blobs is not None:
            self._blobs.start()
        for thread in (*self._pollers, *([self._ticker] if self._ticker else [])):
            thread.start()
        self._tell_started()

    def _watch(self) -> None:
        """Until it is to stop."""
        pause = 0.02 if self.burst or self.max_tasks else 1.0
        while not self._asked.count:
            self._asked.wait(pause)
            done = self.max_tasks is not None and self._ended_tasks >= self.max_tasks
            if done or (self.burst and self._nothing_left()):
                return

    def _nothing_left(self) -> bool:
        """Whether all pollers looked in vain after the last task ended, which may have deferred others."""
        # Counted, not asked of the heartbeat: it forgets a delivery while its settlement is still being written.
        if self._received != self._ended_tasks:
            return False
        return all(p.idle_from is not None and p.idle_from > self._settled_at for p in self._pollers)

    def _unsettled(self) -> int:
        return len(self._heartbeat.active())

    def _health_now(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "at": self.runtime.clock.now(),
            "worker": self.name,
            "held": self._slots.held,
            "stopping": self._stopping.is_set(),
        }

    def _tell_started(self) -> None:
        queues = tuple(queue for group in self.physical_queues() for queue in group)
        self.runtime.events.publish(WorkerStarted(worker=self.name, queues=queues, tasks=len(self.runtime.registry)))

    # ---------------------------------------------------------------- the way of a delivery

    def _take(self, messages: list[Message]) -> None:
        now = self._now()
        deliveries = [Delivery(message, received_at=now) for message in messages]
        self._executor.open_ahead(deliveries)
        with self._ending:
            self._received += len(deliveries)  # several pollers on SQS
        self._heartbeat.add(deliveries)
        self._slots.received(len(deliveries))
        for delivery in deliveries:
            self._groups.put(delivery)

    def _finished(self, delivery: Delivery, outcome: Outcome) -> None:
        """Out of a thread. Safe between threads, as all of `_finished...` are."""
        started, finished = delivery.started_at, delivery.finished_at
        self._slots.finished(finished - started if started is not None and finished is not None else None)
        self._end(delivery, outcome)

    def _finished_on_loop(self, delivery: Delivery, outcome: Outcome) -> None:
        self._slots.left_loop()
        self._end(delivery, outcome)

    def _end(self, delivery: Delivery, outcome: Outcome) -> None:
        with self._ending:  # of a run's end and its abandonment the first counts
            if delivery.ended:
                return
            delivery.ended, delivery.abandoned = True, isinstance(outcome, Released)
        self._settling.put(delivery, outcome)

    def _settled(self, batch: Sequence[Ended], plans: Sequence[Plan]) -> None:
        deleted = {id(plan.delivery) for plan in plans if plan.hide_seconds is None}
        self._released += sum(isinstance(outcome, Released) for _, outcome in batch)
        for delivery, _ in batch:
            self._groups.settled(delivery, deleted=id(delivery) in deleted)
            delivery.context = None  # it knows the delivery: without the circle both go at once, not by the collector
        self._settled_at = self._now()
        self._ended_tasks += len(batch)

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Not started, and not to be: visibility 0."""
        for delivery in deliveries:
            self._slots.started()
            self._finished(delivery, Released())

    # ---------------------------------------------------------------- what tasks and ticks may do

    def _extend(self, delivery: Delivery) -> None:
        self._heartbeat.extend([delivery])
        if delivery.lost:
            raise ReceiptExpired(f"task {delivery.id} is no longer ours: its lease ran out, or another worker has it")

    def _delete_first(self, delivery: Delivery) -> bool:
        self._heartbeat.forget([delivery])
        delivery.deleted = not self.runtime.engine.broker.delete(delivery.queue, [delivery.receipt])
        self._heartbeat.add([delivery])  # it has no lease any more, but it can be cancelled
        return delivery.deleted

    # ---------------------------------------------------------------- stopping

    def _shut_down(self) -> int:
        deadline = self._now() + self.runtime.settings.shutdown_timeout_seconds
        self._stop_receiving()
        self._tell_stopping()
        self._give_back_waiting()
        self._wait_for(
            self._pollers_ended, self.runtime.clock.monotonic() + self.runtime.settings.wait_time_seconds + 10
        )
        in_time = self._wait_for(lambda: self._slots.held == 0, deadline)
        self._give_back_waiting()  # what a receive under way has brought
        self._abandon()
        self._close()
        self.runtime.events.publish(WorkerStopped(worker=self.name, released=self._released))
        self._health.remove()
        return 0 if in_time or self._asked.count < 2 else EXIT_FORCED

    def _stop_receiving(self) -> None:
        self._stopping.set()
        self._slots.close()
        broker = self.runtime.engine.broker
        if isinstance(broker, WaitsForAny):
            broker.wake()

    def _tell_stopping(self) -> None:
        held = self._heartbeat.active()
        running = sum(delivery.started_at is not None for delivery in held)
        self.runtime.events.publish(WorkerStopping(worker=self.name, running=running, waiting=len(held) - running))

    def _give_back_waiting(self) -> None:
        """All that is inside and has not started: visibility 0."""
        self._pool.stop_starting()
        self._loop.stop_starting()
        self._give_back(self._groups.empty())

    def _pollers_ended(self) -> bool:
        """The receive under way is waited for: cutting it would hide what it delivers."""
        return not any(poller.is_alive() for poller in self._pollers)

    def _wait_for(self, done: Callable[[], bool], deadline: float) -> bool:
        """False when the time is over, or it was asked to stop once more."""
        while not done():
            if self._asked.count > 1 or self._now() >= deadline:
                return False
            self._asked.wait(0.005)
        return True

    def _abandon(self) -> None:
        """Give back what still runs: visibility 0, now. Whatever its thread says later is not settled."""
        for delivery in reversed(self._heartbeat.active()):  # last first: a group keeps its order
            if not delivery.deleted:
                self._end(delivery, Released())
            else:
                self._end(delivery, Failed(STOPPED))

    def _close(self) -> None:
        self._pool.close()
        self._settling.close(10.0)
        if self._blobs is not None:
            self._blobs.close()
            self._blobs.join(5.0)
        self._heartbeat.close()
        self._heartbeat.join(5.0)
        if self._ticker is not None:
            self._ticker.close()
            self._ticker.join(5.0)
        self._loop.close()

    def _now(self) -> float:
        return self.runtime.clock.monotonic()

    def describe(self) -> list[str]:
        """For the banner: how this worker runs."""
        return [f"{self.concurrency} threads", f"visibility {self.runtime.settings.visibility_seconds} s"]


def start_faults(runtime: Runtime) -> dict[str, list[str]]:
    """All that a worker refuses to start with, one sentence each, by what they are about. No network."""
    found: dict[str, list[str]] = {str(kind): faults for kind, faults in runtime.faults_by_kind().items()}
    if any(found.values()):
        return {**found, "limits": _limit_faults(runtime), "schedules": []}  # the rest needs an engine
    return {**found, "limits": _limit_faults(runtime), "schedules": ScheduleBook(lambda: runtime).faults()}


def _limit_faults(runtime: Runtime) -> list[str]:
    return [
        f"{task.name} ({task.where}) has time_limit_seconds={task.options.time_limit_seconds:g}, and a thread "
        "cannot be stopped from outside: use soft_time_limit_seconds=, or make it a coroutine"
        for task in runtime.registry
        if task.options.time_limit_seconds is not None and not task.is_coroutine
    ]
