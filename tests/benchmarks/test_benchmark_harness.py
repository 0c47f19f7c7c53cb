"""The benchmark works: everything is measured once, small, and every target gets its row. No figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fnqueue.security.suites import SUITES
from tests.benchmarks.endpoints import MOTO, Arena
from tests.benchmarks.field import environment
from tests.benchmarks.reading import Reading
from tests.benchmarks.report import judged, targets_table
from tests.benchmarks.suites import KINDS, SIZES
from tests.benchmarks.targets import TARGETS
from tests.benchmarks.wire import Refused, Wire

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The floor's bell is a Unix socket, whose path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="fnq-") as folder:
        yield Path(folder)


@pytest.mark.system
def test_a_quick_benchmark_measures_us_and_the_floor(short_folder: Path) -> None:
    found = short_folder / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json", str(found), "--folder", str(short_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    made = json.loads(found.read_text())
    assert made["absent"] == {}
    for figure in ("drain", "cpu", "defer", "beside_p95", "cold", "pickup", "idle", "rss"):
        assert figure in made["medians"]["ours full"], figure
    assert made["medians"]["ours full"]["left"] == 0
    assert made["medians"]["floor full"]["drain"] > 0
    emulator = made["medians"]["emulator fnqueue"]
    rates = [f"{what}_{connections}" for what in ("send", "batch", "drain") for connections in (1, 32)]
    for figure in (*rates, "start", "rss_million", "near_send", "far_send", "near_drain", "far_drain"):
        assert emulator[figure] > 0, figure
    assert emulator["idle"] >= 0  # processes are charged in hundredths of a second
    for suite in SUITES:
        for figure in (*(f"{what} {suite} {size}" for what in KINDS for size in SIZES), f"rubbish {suite}"):
            assert made["medians"]["micro"][figure] > 0, figure
        assert f"suite {suite}" in done.stdout
    assert all(target.what in done.stdout for target in TARGETS)
    assert not list(short_folder.glob("fnqueue-bench-*"))


@pytest.fixture
def a_server_that_fails() -> Iterator[int]:
    """It refuses every request, as fast as can be."""

    class Refuses(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_no_server_is_fast_by_failing(a_server_that_fails: int) -> None:
    with pytest.raises(Refused, match="400"):
        Wire(a_server_that_fails).create("orders")


@pytest.mark.aws
def test_a_server_that_closes_each_connection_is_measured_too(tmp_path: Path) -> None:
    pytest.importorskip("moto.server")
    arena = Arena(tmp_path, tmp_path, environment() | {"PYTHONPATH": str(ROOT)})
    with arena.running(MOTO) as endpoint, arena.client(endpoint) as client:
        client.ask("create", "orders")
        sent = client.ask("send_batch", "orders", connections=2, seconds=0, count=40)
        drained = client.ask("drain", "orders", connections=1, seconds=0, count=40)
        assert (sent["messages"], drained["messages"], client.ask("visible", "orders")["messages"]) == (40, 40, 0)


def test_what_was_not_measured_is_said_and_not_guessed() -> None:
    assert {row["verdict"] for row in judged({})} == {"not measured"}
    assert "not measured" in targets_table({})


def test_a_verdict_says_by_how_much_a_target_was_missed() -> None:
    assert Reading(3.0, 3.0, "", at_least=True).verdict == "met"
    assert Reading(2.4, 3.0, "", at_least=True).verdict == "missed by 20%"
    assert Reading(0.5, 0.5, "").verdict == "met"
    assert Reading(0.6, 0.5, "").verdict == "missed by 20%"
