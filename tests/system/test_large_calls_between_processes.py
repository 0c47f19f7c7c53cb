"""Large arguments and results between real processes: through a folder beside the database, and through S3 and SQS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from fnqueue import FnQueue
from fnqueue.clock import SystemClock
from fnqueue.security.keyring import new_key
from tests.worker.helpers import burst

pytestmark = pytest.mark.system

SHOP = """
import os, signal
from fnqueue import FnQueue
fn = FnQueue(url="sqlite:///{folder}/shop.db")

@fn.task(name="double", retry=0)
def double(text: str) -> str:
    return text * 2

@fn.task(name="dies")
def dies(text: str) -> int:
    if not os.path.exists("{folder}/died"):
        open("{folder}/died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return len(text)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP.format(folder=tmp_path))
    return tmp_path


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)


def worker(folder: Path, **environment: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "fnqueue", "worker", "--app", "shop", "--burst"],
        cwd=folder, capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    ).returncode  # fmt: skip


def blobs(folder: Path) -> list[Path]:
    return [path for path in (folder / "shop.blobs").rglob("*") if path.is_file()]


def test_one_process_defers_another_runs_it_and_a_third_reads_the_result(shop: Path) -> None:
    said = python(shop, "import shop; print(shop.double.defer('x' * 2_000_000).id)")
    (arguments,) = blobs(shop)
    assert b"xxxx" not in arguments.read_bytes()
    assert worker(shop) == 0
    (result,) = blobs(shop)
    assert result != arguments
    read = python(shop, f"import shop; print(len(shop.fn.handle({said.stdout.strip()!r}).result()))")
    assert read.stdout.strip() == "4000000", read.stderr


def test_a_worker_that_is_killed_leaves_the_arguments_for_the_next(shop: Path) -> None:
    python(shop, "import shop; shop.dies.defer('x' * 2_000_000)")
    assert worker(shop, FNQUEUE_VISIBILITY_SECONDS="1") == -signal.SIGKILL
    assert len(blobs(shop)) == 1
    for _ in range(20):
        assert worker(shop, FNQUEUE_VISIBILITY_SECONDS="1") == 0
        if not blobs(shop):
            return
    raise AssertionError("it never ran to its end")


def test_a_web_process_that_is_killed_before_it_sends_leaves_an_orphan_and_no_message(shop: Path) -> None:
    code = """
import os, signal, shop
from fnqueue.claims import Claims
broker = shop.fn.runtime().engine.broker
type(broker).send = lambda *given, **options: os.kill(os.getpid(), signal.SIGKILL)
shop.double.defer("x" * 2_000_000)
"""
    assert python(shop, code).returncode == -signal.SIGKILL
    assert len(blobs(shop)) == 1
    assert worker(shop) == 0
    assert len(blobs(shop)) == 1, "not before its time: nobody knows that it is an orphan"
    swept = python(shop, "import shop; b = shop.fn.runtime().blobs; print(b.place.sweep(99_999))")
    assert swept.stdout.strip() == "1"
    assert blobs(shop) == []


@pytest.mark.aws
def test_through_sqs_and_s3(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    bucket, prefix = f"large-{uuid.uuid4().hex[:10]}", f"large{uuid.uuid4().hex[:10]}-"
    urlopen(Request(f"{moto_endpoint}/{bucket}", method="PUT"), timeout=10).close()
    fn = FnQueue(
        url=f"sqs://us-east-1/{prefix}?endpoint={moto_endpoint}",
        store_url=f"sqlite:///{tmp_path}/store.db",
        blobs_url=f"s3://{bucket}/calls?region=us-east-1&endpoint={moto_endpoint}",
        keys=f"primary:{new_key()}",
        default_policy="public",
        wait_time_seconds=0,
    )

    @fn.task(name="double")
    def double(text: str) -> str:
        return text * 2

    handle = double.defer("x" * 3_000_000)
    assert burst(fn) == 0
    assert handle.result() == "x" * 6_000_000
    blobs = fn.runtime().blobs
    assert blobs is not None
    assert blobs.place.sweep(int(SystemClock().now() // 86_400) + 400) == 1, "the result; the arguments are gone"
