"""The queue's file: in the wrong place, not ours, not writable, or full."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnqueue import FnQueue
from tests.commands import environment
from tests.first_hour.conftest import Says

SHOP = """
from fnqueue import FnQueue
fn = FnQueue()
@fn.task
def resize(photo_id: int): ...
"""
pytestmark = pytest.mark.system


def both(says: Says, url: str) -> None:
    """The web process, the worker, and the check."""
    says.write(shop=SHOP)
    env = environment(FNQUEUE_URL=url)
    code = "import shop\nshop.resize.defer(7)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=says.folder, env=env, capture_output=True, text=True)
    says.note(f"FNQUEUE_URL={url}\n>>> resize.defer(7)\n{ended.stderr.strip().splitlines()[-1]}")
    says.worker(env={"FNQUEUE_URL": url})
    says.check(env={"FNQUEUE_URL": url})


def test_the_folder_is_not_there(says: Says) -> None:
    both(says, "sqlite:///data/fnqueue.db")


def test_the_stores_own_file_cannot_be_used(says: Says) -> None:
    says.write(shop=SHOP)
    for url in ("sqlite:///data/store.db", "sqlite:///shop.py"):
        says.check(env={"FNQUEUE_STORE_URL": url})
        says.worker(env={"FNQUEUE_STORE_URL": url})


def test_the_file_is_a_folder(says: Says) -> None:
    (says.folder / "data").mkdir()
    both(says, "sqlite:///data")


def test_the_file_is_no_database(says: Says) -> None:
    (says.folder / "notes.txt").write_text("These are my notes, and they are longer than a header.\n" * 20)
    both(says, "sqlite:///notes.txt")


def test_the_file_is_the_applications_own_database(says: Says) -> None:
    connection = sqlite3.connect(says.folder / "app.db")
    connection.execute("CREATE TABLE users (id INTEGER)")
    connection.close()
    both(says, "sqlite:///app.db")


def test_the_file_was_written_by_a_newer_fnqueue(says: Says) -> None:
    fn = FnQueue(url=f"sqlite:///{says.folder}/fnqueue.db")
    fn.runtime().engine.open()
    fn.close()
    connection = sqlite3.connect(says.folder / "fnqueue.db", isolation_level=None)
    connection.execute("UPDATE fnqueue_schema SET steps = 99 WHERE component = 'broker'")
    connection.close()
    both(says, "sqlite:///fnqueue.db")


@pytest.fixture
def plain_user(says: Says) -> Iterator[None]:
    """As a user who is not root, who may write everywhere. The folder is his."""
    nobody = 65_534
    if os.geteuid() != 0:
        yield
        return
    for folder in says.folder.parents:  # pytest's own are closed to others
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    os.chown(says.folder, nobody, nobody)
    "".encode("utf-8-sig")  # loaded now: as that user Python's own files may be out of reach
    FnQueue(url="sqlite://").runtime().engine.open()
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


def deferred(says: Says, **settings: str) -> None:
    fn = FnQueue(url="sqlite:///fnqueue.db", **settings)
    says.python("resize.defer(7)", resize=fn.task(name="shop.resize")(lambda photo_id: None))
    fn.close()


def test_the_folder_may_not_be_written(says: Says, plain_user: None) -> None:
    says.folder.chmod(0o500)
    deferred(says)
    says.folder.chmod(0o700)


def test_the_file_may_not_be_written(says: Says, plain_user: None) -> None:
    deferred(says)
    Path("fnqueue.db").chmod(0o400)
    deferred(says)


def test_the_disk_is_full(says: Says) -> None:
    says.write(shop=SHOP)
    code = (
        "import resource, signal, shop\n"
        "shop.resize.defer(0)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, -1))\n"
        "for n in range(10_000): shop.resize.defer(n)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=says.folder, env=environment(), capture_output=True, text=True
    )
    says.note(f">>> resize.defer(7)\n{ended.stderr.strip().splitlines()[-1]}")


def test_web_and_worker_on_two_files(says: Says) -> None:
    """Each says its absolute path: the worker in its banner, whoever waits in vain in the error."""
    says.write(shop=SHOP)
    (says.folder / "web").mkdir()
    code = "import sys; sys.path.insert(0, '..')\nimport shop\nshop.resize.defer(7).result(timeout_seconds=0.01)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=says.folder / "web", env=environment(), capture_output=True, text=True
    )
    says.note(f"web$ python ...\n{ended.stderr.strip().splitlines()[-1]}")
    says.worker()
