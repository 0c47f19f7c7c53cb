"""Servers that tests talk to over real HTTP: one of a kind per test process, on 127.0.0.1 and a port of its own.

A server runs in a process of its own, which ends when its standard input does: however a test run
dies, it leaves none behind.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_MOTO = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="session")
def moto_endpoint() -> str:
    """moto's server, as `http://127.0.0.1:PORT`. Queues of one test are kept from another's by their prefix."""
    return moto_server()


@cache
def moto_server() -> str:
    """The same for what is no fixture. It ends with this process."""
    pytest.importorskip("moto.server")
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it prints a traceback for every operation that it does not know
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(_end, process)
    endpoint = process.stdout.readline().strip()
    assert endpoint.startswith("http://127.0.0.1:"), "moto's server did not start"
    return endpoint


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()


_EMULATOR = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from fnqueue.cli.main import cli
cli(["emulator", *sys.argv[1:]])
"""


class EmulatorProcess:
    """`fnqueue emulator` on a free port, in a process of its own, which ends with this one."""

    def __init__(self, db: Path | str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EMULATOR, "--port", "0", "--db", str(db), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        found = re.search(r"http://[0-9.:\[\]]+", self._process.stdout.readline())
        assert found, "the emulator did not start"
        self.endpoint, self.pid = found[0], self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def terminate(self) -> int:
        self._process.terminate()
        self._process.wait(timeout=30)
        return self.end()

    def end(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        code = self._process.wait(timeout=30)
        self._process.stdout.close()
        return code


@pytest.fixture(scope="session")
def emulator_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`fnqueue emulator` with a clock to turn, as `http://127.0.0.1:PORT`. Queues of tests differ by account."""
    pytest.importorskip("uvicorn")
    process = EmulatorProcess(tmp_path_factory.mktemp("emulator") / "emulator.db", "--test-clock")
    yield process.endpoint
    process.end()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own, as the folder of its socket: user and database are `postgres`, no password."""
    programs = [*Path("/usr").glob("lib/postgresql/*/bin/initdb"), Path(shutil.which("initdb") or "/missing")]
    if not programs[0].exists():
        pytest.skip("needs PostgreSQL's server programs (apt-get install postgresql)")
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="fnqueue-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    folder.chmod(0o755)
    bin, data = programs[0].parent, folder / "data"
    options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run([bin / "initdb", *options, "-D", data], user=user, check=True, capture_output=True, cwd=folder)
    server = f"'{bin}/postgres' -D '{data}' -k '{folder}' -c listen_addresses= -c fsync=off & cat > /dev/null"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"{server}; kill -INT $!; wait"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
    )  # fmt: skip
    try:
        ready = [bin / "pg_isready", "-h", folder, "-t", "1"]
        for _ in range(300):
            if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        yield str(folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
