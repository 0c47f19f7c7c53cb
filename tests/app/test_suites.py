"""All that an application does with keys, in every suite: a web process and a worker, each with its own parts only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from fnqueue import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.errors import KeysMissing, SettingsInvalid, TaskFailed
from fnqueue.events import EngineTrouble, MessageRefused
from fnqueue.scheduling.ticking import ScheduleTicker
from fnqueue.security.keyfile import like, share
from fnqueue.security.keyring import KeyRing
from fnqueue.testing import Drain
from fnqueue.worker.worker import Worker
from tests.security.rings import SIGNED, SUITES, given, whole

RUNS: list[str] = []


def application(url: str, keys: str, **settings: str) -> FnQueue:
    fn = FnQueue(url=url, keys=keys, default_policy="public", heartbeat_seconds=0.05, **settings)

    @fn.task(name="shop.add")
    def add(a: int, b: int) -> int:
        RUNS.append(f"add {a} {b}")
        return a + b

    @fn.task(name="shop.fails")
    def fails() -> None:
        raise ValueError("no")

    @fn.task(name="shop.step", queue="steps.fifo")
    def step(n: int) -> None:
        RUNS.append(f"step {n}")

    @fn.task(name="shop.first")
    def first(n: int) -> str:
        return fn.defer(fn.runtime().registry.get("shop.add"), n, n).id

    @fn.task(name="shop.once", once=True)
    def once() -> None:
        RUNS.append("once")

    return fn


class Site:
    def __init__(self, url: str, web: str, worker: str) -> None:
        RUNS.clear()
        self.web, self.worker = application(url, web), application(url, worker)

    def task(self, name: str):
        return self.web.runtime().registry.get(name)

    def work(self) -> None:
        thread = threading.Thread(target=Worker(self.worker.runtime(), burst=True, concurrency=1).run)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()

    def close(self) -> None:
        self.web.close()
        self.worker.close()


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/fnqueue.db"


@pytest.fixture
def make(url: str) -> Iterator[Callable[[str, str], Site]]:
    sites: list[Site] = []

    def made(web: str, worker: str) -> Site:
        sites.append(Site(url, web, worker))
        return sites[-1]

    yield made
    for site in sites:
        site.close()


@pytest.fixture(params=SUITES)
def suite(request) -> str:
    return str(request.param)


@pytest.fixture
def site(make: Callable[[str, str], Site], suite: str) -> Site:
    key = whole(suite)
    return make(given(key, "web"), given(key, "worker"))


def test_what_web_defers_the_worker_runs_and_web_reads_the_result(site: Site) -> None:
    handle = site.task("shop.add").defer(2, 3)
    site.work()
    assert handle.result(timeout_seconds=5) == 5
    failed = site.task("shop.fails").defer()
    site.work()
    with pytest.raises(TaskFailed, match="no"):
        failed.result(timeout_seconds=5)


def test_a_status_token_of_one_web_node_is_read_by_another(site: Site, suite: str) -> None:
    token = site.task("shop.add").defer(2, 3).status_token()
    site.work()
    assert site.web.reads().by_token(token).value == 5


def test_a_dedupe_key_is_one_for_all(site: Site) -> None:
    first = site.task("shop.add").using(dedupe="invoice:42").defer(1, 1)
    assert site.task("shop.add").using(dedupe="invoice:42").defer(2, 2).id == first.id
    site.work()
    assert RUNS == ["add 1 1"]


def test_a_fifo_group_keeps_its_order_and_its_name_is_hidden(site: Site) -> None:
    for n in range(4):
        site.task("shop.step").using(group="customer 42").defer(n)
    (message, *_) = site.web.runtime().engine.broker.receive("steps.fifo", visibility_seconds=0)
    assert message.group is not None
    assert "customer" not in message.group
    site.work()
    assert [run for run in RUNS if run.startswith("step")] == [f"step {n}" for n in range(4)]


def test_what_web_cancels_the_worker_does_not_run(site: Site) -> None:
    handle = site.task("shop.add").defer(1, 1)
    handle.cancel()
    site.work()
    assert RUNS == []
    assert handle.state == "REVOKED"


def test_once_and_delays_work(site: Site) -> None:
    site.task("shop.once").defer()
    site.work()
    assert RUNS == ["once"]


def test_a_delayed_call_is_parked_and_runs(site: Site) -> None:
    site.task("shop.add").using(delay_seconds=0.05).defer(4, 4)
    while not RUNS:
        site.work()
    assert RUNS == ["add 4 4"]


# ------------------------------------------------------------------ workers that defer


def with_workers_own(key: str) -> tuple[str, str]:
    """(web's text, worker's text): the worker signs with a key of its own, and shares the other parts."""
    text = like(key, KeyRing.from_text(key).primary.key_id)
    own = KeyRing.from_text(text).records[1].key_id
    return share(text, "web", signs=own), share(text, "worker", signs=own)


@pytest.mark.parametrize("suite", SIGNED)
def test_a_task_that_defers_says_which_part_its_worker_lacks(suite: str, make: Callable[[str, str], Site]) -> None:
    key = whole(suite)
    site = make(given(key, "web"), given(key, "worker"))
    handle = site.task("shop.first").defer(3)
    site.work()
    with pytest.raises(TaskFailed, match="KeysMissing.*needs fnqk1-sign-"):
        handle.result(timeout_seconds=5)


@pytest.mark.parametrize("suite", SIGNED)
def test_a_worker_with_a_signing_key_of_its_own_defers(suite: str, make: Callable[[str, str], Site]) -> None:
    site = make(*with_workers_own(whole(suite)))
    handle = site.task("shop.first").defer(3)
    site.work()
    second = site.web.handle(handle.result(timeout_seconds=5))
    assert second.result(timeout_seconds=5) == 6, "and web reads what was sealed under the worker's key"


@pytest.mark.parametrize("suite", SIGNED)
def test_groups_and_dedupe_keys_are_the_same_whoever_defers(suite: str) -> None:
    from fnqueue.security.records import dedupe_id, group_id

    web, worker = (KeyRing.from_text(text).primary for text in with_workers_own(whole(suite)))
    assert web.key_id != worker.key_id
    assert group_id(web, "steps", "a") == group_id(worker, "steps", "a")
    assert dedupe_id(web, "t", None, "a") == dedupe_id(worker, "t", None, "a")


@pytest.mark.parametrize("suite", SUITES)
def test_schedules_fire_where_a_worker_may_sign(suite: str, make: Callable[[str, str], Site]) -> None:
    key = whole(suite)
    web, worker = (key, key) if suite == "local" else with_workers_own(key)
    site = make(web, worker)
    clock = ManualClock()
    site.web.runtime().clock = site.worker.runtime().clock = clock
    site.web.schedules.put("hourly", "cron(0 * * * ? *)", site.task("shop.add"), args=(5, 5))
    clock.advance(seconds=3600)
    assert ScheduleTicker(site.worker.runtime()).tick()
    Drain(site.worker.runtime)()
    assert set(RUNS) == {"add 5 5"}


@pytest.mark.parametrize("suite", SIGNED)
def test_a_schedule_that_the_worker_may_not_sign_for_says_what_it_lacks(
    suite: str, make: Callable[[str, str], Site]
) -> None:
    key = whole(suite)
    site = make(given(key, "web"), given(key, "worker"))
    clock = ManualClock()
    site.web.runtime().clock = site.worker.runtime().clock = clock
    site.web.schedules.put("hourly", "cron(0 * * * ? *)", site.task("shop.add"), args=(5, 5))
    clock.advance(seconds=3600)
    told: list[EngineTrouble] = []
    site.worker.on(EngineTrouble, told.append)
    ScheduleTicker(site.worker.runtime()).tick()
    assert ["needs fnqk1-sign-" in event.error for event in told] == [True]
    assert RUNS == []


# ------------------------------------------------------------------ what a process is not given


def test_a_worker_that_cannot_open_does_not_start_and_says_what_to_add(make: Callable[[str, str], Site]) -> None:
    key = whole("split")
    for text, part in ((given(key, "web"), "open"), (given(key, "dashboard"), "open-... and fnqk1-state")):
        site = make(given(key, "web"), text)
        with pytest.raises(KeysMissing, match=f"needs fnqk1-{part}-"):
            Worker(site.worker.runtime(), burst=True, concurrency=1).run()


def test_a_message_of_a_suite_that_is_not_taken_goes_to_the_dead_letter_queue(url: str, suite: str) -> None:
    key = whole(suite)
    site = Site(url, given(key, "web"), given(key, "worker"))
    site.worker.close()
    other = "signed" if suite == "split" else "split"
    site.worker = application(url, given(key, "worker"), suites=other)
    told: list[MessageRefused] = []
    site.worker.on(MessageRefused, told.append)
    site.task("shop.add").defer(1, 1)
    try:
        if suite == "local":
            with pytest.raises(SettingsInvalid, match="takes no message of the primary key, whose suite is local"):
                Worker(site.worker.runtime(), burst=True, concurrency=1).run()
        else:
            site.work()
            assert [event.code for event in told] == ["SUITE"]
        assert RUNS == []
    finally:
        site.close()
