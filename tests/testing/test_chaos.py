"""Chaos: what a queue may do, it does. A task that is not idempotent is caught; what is right ends right."""

from __future__ import annotations

from collections import Counter

import pytest

from fnqueue import FnQueue, RetryLater
from fnqueue.errors import OptionInvalid
from fnqueue.testing import Chaos, Drain, ManualClock, in_memory

SEEDS = range(25)


class Bank:
    """An application with three ways to charge, on a queue that has a bad day."""

    def __init__(self, seed: int, **how: bool) -> None:
        self.fn, self.clock, self.chaos = FnQueue(), ManualClock(), Chaos(seed=seed, **how)
        self.charged: Counter[int] = Counter()
        self.order: list[str] = []

    def __enter__(self) -> Bank:
        self._memory = in_memory(self.fn, self.clock, chaos=self.chaos)
        self._memory.__enter__()
        self.drain = Drain(self.fn.runtime)
        return self

    def __exit__(self, *error: object) -> None:
        self._memory.__exit__(None, None, None)

    def charge(self, **options):
        def charge(account: int) -> None:
            self.charged[account] += 1

        return self.fn.task(name="charge", **options)(charge)

    def note(self, **options):
        def note(text: str) -> None:
            self.order.append(text)

        return self.fn.task(name="note", **options)(note)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_that_is_not_idempotent_is_caught_under_every_seed(seed):
    with Bank(seed) as bank:
        bank.charge().defer(7)
        bank.drain()
        assert bank.charged[7] > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_once_task_charges_each_account_once_whatever_happens_but_a_death_after_the_effect(seed):
    with Bank(seed, crashes=False) as bank:
        charge = bank.charge(once=True)
        handles = [charge.defer(account) for account in range(30)]
        bank.drain()
        assert bank.charged == dict.fromkeys(range(30), 1)
        assert {handle.state for handle in handles} == {"SUCCESS"}


@pytest.mark.parametrize("seed", SEEDS)
def test_all_calls_end_right_where_workers_die(seed):
    with Bank(seed) as bank:
        plain, once = bank.charge(), bank.note(once=True)
        handles = [plain.defer(account) for account in range(20)] + [once.defer(str(n)) for n in range(20)]
        bank.drain()
        assert {handle.state for handle in handles} == {"SUCCESS"}
        assert set(bank.charged) == set(range(20))
        counts = Counter(bank.order)
        assert set(counts) == {str(n) for n in range(20)}
        # A worker that died after the effect and before the record: no queue can know of it.
        assert sum(counts.values()) - 20 == sum("note" in line and "outcome was" in line for line in bank.chaos.story)
        assert bank.fn.runtime().engine.broker.attributes("default").visible == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_a_fifo_group_is_never_broken(seed):
    with Bank(seed) as bank:
        note = bank.note(queue="log.fifo")
        for n in range(8):
            for group in "abc":
                note.using(group=group).defer(f"{group}{n}")
        bank.drain()
        for group in "abc":
            seen = [text for text in bank.order if text[0] == group]
            # One that a dead worker ran runs again before its follower does.
            first = list(dict.fromkeys(seen))
            assert first == [f"{group}{n}" for n in range(8)]
            assert seen == sorted(seen)


def test_the_order_of_other_queues_is():
    orders = set()
    for seed in SEEDS:
        with Bank(seed, duplicates=False, crashes=False, delays=False) as bank:
            note = bank.note()
            for n in range(6):
                note.defer(str(n))
            bank.drain()
            assert sorted(bank.order) == list("012345")
            orders.add("".join(bank.order))
    assert len(orders) > 15


def test_without_reorder_it_is_kept():
    with Bank(3, duplicates=False, crashes=False, delays=False, reorder=False) as bank:
        note = bank.note()
        for n in range(30):
            note.defer(f"{n:02}")
        bank.drain()
        assert bank.order == sorted(bank.order)


def test_the_same_seed_tells_the_same_story():
    def story(seed: int) -> tuple[list[str], list[str]]:
        with Bank(seed) as bank:
            note = bank.note()
            for n in range(10):
                note.defer(str(n))
            bank.drain()
            return [line.rpartition(" ")[0] for line in bank.chaos.story], bank.order

    assert story(11) == story(11)
    assert story(11) != story(12)


def test_the_same_seed_has_the_same_waits_between_retries():
    def run(seed: int) -> list[str]:
        with Bank(seed) as bank:

            @bank.fn.task(name="flaky", retry=3)  # its waits are drawn
            def flaky(n: int) -> None:
                bank.order.append(f"{n} at {bank.clock.now() - began:.3f}")
                if len(bank.order) % 3:
                    raise ConnectionError

            began = bank.clock.now()
            for n in range(10):
                flaky.defer(n)
            bank.drain.advance(hours=1)
            return bank.order

    assert run(11) == run(11)
    assert run(11) != run(12)


def test_every_kind_of_mishap_happens():
    kinds = set()
    for seed in SEEDS:
        with Bank(seed) as bank:
            charge = bank.charge()
            for account in range(5):
                charge.defer(account)
            bank.drain()
            kinds |= {line.partition(":")[0].partition(" for ")[0].partition(",")[0] for line in bank.chaos.story}
    assert kinds == {
        "copied",
        "given back",
        "died before its outcome was written",
        "died before its message was ended",
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_that_may_run_once_at_most_runs_once(seed):
    with Bank(seed) as bank:
        charge = bank.charge(at_most_once=True)
        for account in range(10):
            charge.defer(account)
        bank.drain()
        assert bank.charged == dict.fromkeys(range(10), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_tried_again_ends_right(seed):
    with Bank(seed) as bank:
        tries: Counter[int] = Counter()

        @bank.fn.task(name="flaky", retry=5)
        def flaky(n: int) -> int:
            tries[n] += 1
            if tries[n] < 2:
                raise RetryLater(30)
            return n

        handles = [flaky.defer(n) for n in range(10)]
        bank.drain.advance(hours=1)
        assert [handle.result() for handle in handles] == list(range(10))


def test_the_seed_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("FNQUEUE_CHAOS_SEED", "42")
    assert Chaos().seed == 42
    assert Chaos(seed=7).seed == 7
    with in_memory(FnQueue()):
        pass  # it is no setting, and no unknown one
    monkeypatch.setenv("FNQUEUE_CHAOS_SEED", "x")
    with pytest.raises(OptionInvalid, match="must be a whole number"):
        Chaos()


def test_a_single_worker_crash_that_would_bury_a_call_is_not_made():
    for seed in SEEDS:
        fn = FnQueue(max_crashes=1)

        @fn.task(name="note")
        def note() -> None: ...

        with in_memory(fn, chaos=Chaos(seed=seed)):
            handle = note.defer()
            Drain(fn.runtime)()
            assert handle.state == "SUCCESS"
