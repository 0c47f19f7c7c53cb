"""Sites on queues of their own: in a file, or at moto's server."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import run
from tests.system.web_servers.serving import Site


@pytest.fixture
def site(tmp_path: Path) -> Callable[[str], Site]:
    return lambda framework: Site(tmp_path, framework)


@pytest.fixture
def sqs_site(tmp_path: Path, moto_endpoint: str) -> Callable[[str], Site]:
    env = {
        "FNQUEUE_URL": f"sqs://us-east-1/{secrets.token_hex(4)}-?endpoint={moto_endpoint}",
        "FNQUEUE_STORE_URL": f"sqlite:///{tmp_path}/store.db",
        "FNQUEUE_KEYS_FILE": f"{tmp_path}/fnqueue.keys",
        "FNQUEUE_WAIT_TIME_SECONDS": "1",
    }
    made = run("fnqueue", "keys", "new", "--file", env["FNQUEUE_KEYS_FILE"], cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    return lambda framework: Site(tmp_path, framework, env)
