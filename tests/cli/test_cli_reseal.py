"""`fnqueue keys reseal`: a backlog and dead letters under a new key, or in another queue; the calls stay the calls."""

from __future__ import annotations

import json
import threading

import pytest

from fnqueue import FnQueue
from fnqueue.clock import SystemClock
from fnqueue.security import keyfile
from fnqueue.security.keyring import KeyRing
from fnqueue.worker.worker import Worker
from tests.security.rings import SIGNED, given, whole

SHOP = """
from fnqueue import FnQueue
fn = FnQueue(default_policy="public")
RUNS = []

@fn.task(name="shop.add")
def add(a: int, b: int) -> int:
    RUNS.append((a, b))
    return a + b

@fn.task(name="shop.breaks", dead_letter=True)
def breaks(text: str) -> None:
    raise ValueError(text)
"""


@pytest.fixture(params=["local", *SIGNED])
def site(request, project, monkeypatch):
    """A file with a key of the suite, and the application that uses it."""
    folder = project(shop=SHOP)
    path = folder / "k"
    path.write_text(f"primary:{whole(request.param)}\n")
    path.chmod(0o600)
    monkeypatch.setenv("FNQUEUE_KEYS_FILE", str(path))
    monkeypatch.setenv("FNQUEUE_URL", f"sqlite:///{folder}/q.db")
    monkeypatch.syspath_prepend(str(folder))
    import shop

    yield shop, path
    shop.fn.close()


def rotated(path) -> str:
    """A new primary key, and the old one's id."""
    old = keyfile.load(path).primary.key_id
    keyfile.update(path, keyfile.add_successor)
    new = next(record.key_id for record in keyfile.load(path) if record.key_id != old)
    keyfile.update(path, lambda text: keyfile.promote(text, new))
    return old


def opened_anew(shop) -> FnQueue:
    shop.fn.close()
    return shop.fn


def work(fn: FnQueue) -> None:
    thread = threading.Thread(target=Worker(fn.runtime(), burst=True, concurrency=1).run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_a_backlog_is_sealed_anew_and_runs_after_the_old_key_is_revoked(fnqueue, site):
    shop, path = site
    handles = [shop.add.defer(n, n) for n in range(25)]
    old = rotated(path)
    opened_anew(shop)
    done = fnqueue("keys", "reseal", "default", "--reason", "rotation", "--app", "shop")
    assert done.exit_code == 0, done.output
    assert "25 messages sealed anew" in done.stdout
    keyfile.update(path, lambda text: keyfile.revoke(text, old))
    fn = opened_anew(shop)
    work(fn)
    assert sorted(shop.RUNS) == [(n, n) for n in range(25)]
    assert fn.handle(handles[7].id).result(timeout_seconds=5) == 14, "the call kept its id"
    again = fnqueue("keys", "reseal", "default", "--reason", "rotation", "--app", "shop")
    assert "0 messages sealed anew" in again.stdout


def test_a_backlog_is_moved_to_another_queue(fnqueue, site):
    shop, _ = site
    shop.add.defer(1, 2)
    fnqueue("queues", "create", "other", "--app", "shop")
    done = fnqueue("keys", "reseal", "default", "--to", "other", "--reason", "moved", "--app", "shop")
    assert done.exit_code == 0, done.output
    broker = shop.fn.runtime().engine.broker
    assert (broker.attributes("default").visible, broker.attributes("other").visible) == (0, 1)
    thread = threading.Thread(target=Worker(shop.fn.runtime(), burst=True, concurrency=1, queues=("other",)).run)
    thread.start()
    thread.join(30)
    assert shop.RUNS == [(1, 2)]


def test_dead_letters_stay_dead_letters_and_can_be_sent_back_after_the_old_key_is_revoked(fnqueue, site):
    shop, path = site
    shop.breaks.defer("no")
    work(shop.fn)
    old = rotated(path)
    opened_anew(shop)
    done = fnqueue("keys", "reseal", "default__dead", "--reason", "rotation", "--app", "shop")
    assert "1 message sealed anew" in done.stdout, done.output
    keyfile.update(path, lambda text: keyfile.revoke(text, old))
    opened_anew(shop)
    shown = json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout)
    assert [row["task"] for row in shown] == ["shop.breaks"]
    assert "1 message sent back" in fnqueue("dlq", "redrive", "default", "--app", "shop").stdout


def test_what_is_not_ours_is_left_where_it_is(fnqueue, site):
    from fnqueue.broker.base import Entry

    shop, path = site
    shop.add.defer(1, 1)
    rotated(path)
    fn = opened_anew(shop)
    broker = fn.runtime().engine.broker
    (message,) = broker.receive("default", visibility_seconds=0)
    broker.send("default", [Entry(id="0", body=message.body.replace("shop.add", "shop.bad", 1))])
    done = fnqueue("keys", "reseal", "default", "--reason", "rotation", "--app", "shop")
    assert "1 message sealed anew" in done.stdout
    assert "1 message left: not ours" in done.stderr
    assert fn.runtime().engine.broker.attributes("default").visible == 2


@pytest.mark.parametrize("operate", ["reseal", "release"])
def test_what_its_key_was_not_for_is_not_sealed_anew_with_one_that_is(fnqueue, site, monkeypatch, operate):
    """Else a thief of a limited key would only have to wait until somebody rotates, or empties the dead letters."""
    shop, path = site
    shop.add.defer(1, 1)
    path.write_text(f"primary:{whole(keyfile.load(path).primary.suite_name)}\n{limited(path, 'tasks=shop.breaks')}")
    work(opened_anew(shop))
    (row,) = json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout)
    assert (row["task"], row["reason"]) == ("shop.add", "KEY_NOT_FOR_TASK")
    if operate == "release":
        now = SystemClock.now
        monkeypatch.setattr(SystemClock, "now", staticmethod(lambda: now() + 500_000))
        done = fnqueue("dlq", "release", "default", "--reason", "it expired", "--app", "shop")
        assert "0 messages released" in done.stdout, done.output
    else:
        done = fnqueue("keys", "reseal", "default__dead", "--reason", "rotation", "--app", "shop")
        assert "0 messages sealed anew" in done.stdout, done.output
        fnqueue("dlq", "redrive", "default", "--app", "shop")
    work(opened_anew(shop))
    assert shop.RUNS == []


def limited(path, limit: str) -> str:
    return path.read_text().strip().replace("primary:", "accept:") + f";{limit}\n"


def test_what_its_queue_does_not_take_is_not_sealed_anew_as_a_suite_that_it_takes(fnqueue, site, monkeypatch):
    shop, path = site
    shop.add.defer(1, 1)
    rotated(path)
    own = keyfile.load(path).primary.suite_name
    monkeypatch.setenv("FNQUEUE_SUITES", "split" if own != "split" else "signed")
    opened_anew(shop)
    done = fnqueue("keys", "reseal", "default", "--reason", "rotation", "--app", "shop")
    assert "0 messages sealed anew" in done.stdout, done.output


def test_without_a_reason_or_without_the_parts_nothing_is_done(fnqueue, site):
    shop, path = site
    shop.add.defer(1, 1)
    assert fnqueue("keys", "reseal", "default", "--app", "shop").exit_code == 2
    text = path.read_text()
    if "-root-" not in text:
        path.write_text(given(text, "worker"))
        opened_anew(shop)
        done = fnqueue("keys", "reseal", "default", "--reason", "x", "--app", "shop")
        assert done.exit_code == 1
        assert "needs fnqk1-sign-" in done.stderr
    assert KeyRing.from_text(text).primary
