"""Our ticker and EventBridge side by side, in any order, with copies, delays, key rotations and workers that die."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fnqueue import FnQueue
from fnqueue.broker.base import Entry, Message, Receipt
from fnqueue.clock import ManualClock
from fnqueue.execution.delivery import Delivery
from fnqueue.policies import from_schedule
from fnqueue.schedule import SCHEDULED_TIME
from fnqueue.schedule.ticket import seal_ticket
from fnqueue.scheduling.admission import Admission
from fnqueue.scheduling.entry import read_entry
from fnqueue.scheduling.publishing import ticket_of
from fnqueue.scheduling.ticking import ScheduleTicker
from fnqueue.security.keyring import new_key
from fnqueue.security.keys import FixedKeys
from fnqueue.testing import Drain, in_memory

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class NoTicker:
    def __init__(self, runtime):
        pass

    def tick(self):
        return 0


Step = st.fixed_dictionaries(
    {
        "ours": st.booleans(),
        "theirs": st.integers(0, 3),
        "late": st.integers(0, 100),
        "drained": st.sampled_from(["before", "after", "between", "never"]),
        "crashed": st.booleans(),
        "rotated": st.booleans(),
        "synced": st.booleans(),
        "again": st.integers(0, 5),  # a copy of an older time
    }
)


@given(steps=st.lists(Step, min_size=2, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_time_takes_effect_once_and_none_that_was_sent_in_time_is_lost(steps):
    clock, ran, expected = ManualClock(), Counter(), set()
    with in_memory(FnQueue(), clock) as fn:

        @fn.task(name="note", policy=from_schedule)
        def note(at: str) -> None:
            ran[at] += 1

        key = new_key()
        runtime = fn.runtime()
        runtime.__dict__["keys"] = FixedKeys(f"primary:{key}")
        fn.schedules.put("hourly", "cron(0 * * * ? *)", note, args=(SCHEDULED_TIME,))
        ticker, accepted = ScheduleTicker(runtime), [key]

        def ticket():
            entry = read_entry(runtime.schedules.get("hourly").data)
            return seal_ticket(ticket_of(runtime, entry, "default"), runtime.ring())

        text = ticket()

        def send(time, copies):
            body = text.replace(SCHEDULED_TIME, f"{time:%Y-%m-%dT%H:%M:%SZ}")
            runtime.engine.broker.send("default", [Entry(id=f"b{n}", body=body) for n in range(copies)])

        def drain():
            with no_ticking():
                Drain(fn.runtime)()

        for hours, step in enumerate(steps, 1):
            time = START + hours * HOUR
            clock.advance(seconds=(time - START).total_seconds() + step["late"] - (clock.now() - START.timestamp()))
            if step["rotated"]:
                accepted.append(new_key())
                runtime.__dict__["keys"] = FixedKeys(
                    ", ".join([*(f"accept:{each}" for each in accepted[:-1]), f"primary:{accepted[-1]}"])
                )
            text = ticket() if step["synced"] else text
            if step["drained"] == "before":
                drain()
            if step["ours"]:
                ticker.tick()
            if step["drained"] == "between":
                drain()
            if step["theirs"]:
                send(time, step["theirs"])
            if step["again"]:
                send(time - step["again"] * HOUR, 1)
            if step["crashed"]:
                for message in runtime.engine.broker.receive("default", visibility_seconds=30):
                    # It is opened, judged and noted, and the worker dies before the run.
                    try:
                        Admission(runtime).exchange(Delivery(message))
                    except Exception:
                        continue
            if step["drained"] == "after":
                drain()
            if step["theirs"] or (step["ours"] and step["late"] <= 60):
                expected.add(f"{time:%Y-%m-%dT%H:%M:%SZ}")
        clock.advance(minutes=5)
        drain()
        drain()
    assert set(ran.values()) <= {1}
    assert expected <= set(ran)


class no_ticking:
    """Workers are told `--no-schedule`: the steps say when our ticker ticks."""

    def __enter__(self):
        from fnqueue.testing import hand

        self._hand, self._was = hand, hand.ScheduleTicker
        hand.ScheduleTicker = NoTicker

    def __exit__(self, *_):
        self._hand.ScheduleTicker = self._was


def test_of_eight_threads_that_open_a_ticket_at_once_one_runs_it():
    clock, ran = ManualClock(), []
    with in_memory(FnQueue(), clock) as fn:

        @fn.task(name="note", policy=from_schedule)
        def note() -> None:
            ran.append(1)

        fn.schedules.put("hourly", "cron(0 * * * ? *)", note)
        runtime = fn.runtime()
        entry = read_entry(runtime.schedules.get("hourly").data)
        text = seal_ticket(ticket_of(runtime, entry, "default"), runtime.ring())
        for hours in range(1, 6):
            clock.advance(hours=1)
            body = text.replace(SCHEDULED_TIME, f"{START + hours * HOUR:%Y-%m-%dT%H:%M:%SZ}")
            executor = runtime.executor(exchange=Admission(runtime).exchange)
            gate = threading.Barrier(8)

            def run(number, body=body, executor=executor, gate=gate):
                receipt = Receipt("default", f"r{number}", 1, float("inf"))
                now = clock.now()
                message = Message(
                    message_id=f"m{number}", body=body, receipt=receipt, sent_at=now, first_received_at=now
                )
                gate.wait()
                executor.execute(Delivery(message))

            threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(ran) == hours
