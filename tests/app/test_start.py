"""What web and worker refuse to start with: all faults at once, each with what to do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnqueue import FnQueue, SettingsInvalid, StoreMissing
from fnqueue.errors import DatabaseReadOnly
from fnqueue.policies import public
from fnqueue.security.keyring import new_key
from fnqueue.settings import Settings
from fnqueue.worker.worker import Worker

LOOPBACK = "sqs://us-east-1/?endpoint=http://127.0.0.1:1"


def test_all_wrong_settings_are_reported_at_once_with_the_nearest_known_name():
    with pytest.raises(SettingsInvalid) as caught:
        Settings.build(
            {"FNQUEUE_CONCURENCY": 4, "visibility_seconds": 0, "durability": "maybe"},
            environment={"FNQUEUE_WAIT_TIME_SECONDS": "21", "OTHER": "x"},
        )
    assert str(caught.value) == (
        "4 settings are wrong:\n"
        "  - FNQUEUE_CONCURENCY is no setting of fnqueue; did you mean FNQUEUE_CONCURRENCY?\n"
        "  - visibility_seconds=0: must be 1 to 43,200\n"
        "  - durability='maybe': must be one of 'full', 'relaxed'\n"
        "  - FNQUEUE_WAIT_TIME_SECONDS='21': must be 0 to 20"
    )


def test_the_environment_wins_over_code():
    built = Settings.build({"concurrency": 2}, concurrency=3, environment={"FNQUEUE_CONCURRENCY": "4"})
    assert built.concurrency == 4


def test_keys_are_in_no_text_of_the_settings():
    key = new_key()
    assert key not in repr(Settings.build({"keys": key}, environment={}))
    with pytest.raises(SettingsInvalid) as caught:
        Settings.build({"keys": 12345}, environment={})
    assert "12345" not in str(caught.value)


def test_relative_paths_resolve_against_the_applications_folder():
    settings = Settings.build({"url": "sqlite:///q.db", "store_url": "sqlite:////abs/s.db"}, environment={})
    resolved = settings.resolved("/srv/app")
    assert (resolved.url, resolved.store_url) == ("sqlite:////srv/app/q.db", "sqlite:////abs/s.db")


def test_sqs_without_keys_policies_environment_and_store_says_all_of_it_at_once():
    fn = FnQueue(url="sqs://eu-west-1/shop-")

    @fn.task(name="shop.resize")
    def resize() -> None: ...

    @fn.task(name="shop.pay", policy=public, once=True)
    def pay() -> None: ...

    with pytest.raises(SettingsInvalid) as caught:
        resize.defer()
    faults = caught.value.faults
    assert len(faults) == 4
    assert "FNQUEUE_KEYS is not set" in faults[0]
    assert "FNQUEUE_ENVIRONMENT is not set" in faults[1]
    assert "1 task has no policy: shop.resize (test_start.py:" in faults[2]
    assert "once=True needs a store, and FNQUEUE_STORE_URL is not set: shop.pay" in faults[3]
    with pytest.raises(SettingsInvalid):
        Worker(fn.runtime())


def test_two_primary_keys_and_a_weak_key_are_refused_without_being_shown():
    first, second = new_key(), new_key()
    fn = FnQueue(url=LOOPBACK, keys=f"primary:{first},primary:{second}", default_policy="public")
    with pytest.raises(SettingsInvalid) as caught:
        fn.runtime().check()
    assert "2 keys are primary" in str(caught.value)
    assert first not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"url": "redis://x"}, "must begin with sqlite:// .* or sqs://"),
        ({"url": "sqlite://relative.db"}, "three slashes, as sqlite:///relative.db"),
        ({"url": "sqlite:///x.db?sync=1"}, "'sync' is no option"),
        ({"store_url": "mongodb://x"}, "FNQUEUE_STORE_URL"),
        ({"url": "sqs://eu-west-1/?endpont=http://127.0.0.1:1"}, "endpont"),
    ],
)
def test_a_url_that_is_none_says_what_one_looks_like(settings, text):
    with pytest.raises(SettingsInvalid, match=text):
        FnQueue(**settings).runtime().check()


def test_reading_without_a_store_names_the_setting():
    fn = FnQueue(url=LOOPBACK, keys=new_key(), default_policy="public")
    with pytest.raises(StoreMissing, match="set FNQUEUE_STORE_URL"):
        _ = fn.handle("0" * 26).state


def test_a_hard_time_limit_on_a_thread_task_is_refused_at_worker_start(fn):
    @fn.task(name="shop.slow", time_limit_seconds=5)
    def slow() -> None: ...

    with pytest.raises(SettingsInvalid, match="shop.slow .*use soft_time_limit_seconds="):
        Worker(fn.runtime())


def test_making_an_fnqueue_touches_no_file_and_no_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fn = FnQueue()

    @fn.task(name="x")
    def x() -> None: ...

    fn.runtime().faults
    assert list(tmp_path.iterdir()) == []
    x.defer()
    assert {path.name for path in tmp_path.iterdir()} >= {"fnqueue.db", "fnqueue.keys"}
    fn.close()


def test_two_threads_that_are_first_at_once_share_one_engine(tmp_path):
    import threading

    for _ in range(20):
        fn = FnQueue(url="sqlite://")
        runtime, barrier, engines = fn.runtime(), threading.Barrier(8), []

        def first(runtime=runtime, barrier=barrier, engines=engines):
            barrier.wait()
            engines.append(runtime.engine)

        threads = [threading.Thread(target=first) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(engine) for engine in engines}) == 1
        fn.close()


def test_a_priority_on_sqs_without_its_queue_is_an_error_and_not_ignored():
    fn = FnQueue(url=LOOPBACK, keys=new_key(), default_policy="public")

    @fn.task(name="shop.urgent", priority="high")
    def urgent() -> None: ...

    with pytest.raises(SettingsInvalid, match=r"FNQUEUE_PRIORITY_QUEUES does not name the queue of: shop\.urgent"):
        urgent.defer()


def test_a_priority_of_one_call_on_sqs_without_its_queue_is_refused_and_nothing_is_sent():
    fn = FnQueue(url=LOOPBACK, keys=new_key(), default_policy="public")

    @fn.task(name="shop.plain")
    def plain() -> None: ...

    with pytest.raises(ValueError, match="name 'default' in FNQUEUE_PRIORITY_QUEUES"):
        plain.using(priority=9).defer()


@pytest.fixture
def plain_users_folder() -> Iterator[Path]:
    """A folder of a user who is not root, as whom the test runs: root may write what nobody may."""
    nobody = 65_534
    with tempfile.TemporaryDirectory() as folder:
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)


def test_an_engine_that_is_opened_asks_whether_its_file_takes_writes(plain_users_folder):
    fn = FnQueue(url=f"sqlite:///{plain_users_folder}/q.db")
    fn.runtime().engine.open()
    fn.close()
    (plain_users_folder / "q.db").chmod(0o400)
    with pytest.raises(DatabaseReadOnly):
        fn.runtime().engine.open()


def test_a_queue_and_its_fifo_twin_in_one_application_are_refused():
    fn = FnQueue(url="sqlite://")

    @fn.task(name="a", queue="orders")
    def a() -> None: ...

    @fn.task(name="b", queue="orders.fifo")
    def b() -> None: ...

    with pytest.raises(SettingsInvalid, match=r"'orders' and 'orders.fifo' are one to the seal"):
        a.defer()
