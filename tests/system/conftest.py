"""What the tests with real processes share: how large they are, by what seed, and workers that end with the test.

`FNQUEUE_TEST_FULL=1` runs them at full size (`make test-full`), `FNQUEUE_TEST_SEED=123` with that seed. Each test
prints its seed, so that a failure can be repeated.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.browsing import browser, open_page  # noqa: F401 - fixtures
from tests.system.fleet import Fleet

FULL = os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0")
SEED = os.environ.get("FNQUEUE_TEST_SEED")


@pytest.fixture
def full() -> bool:
    return FULL


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    seed = int(SEED) if SEED else secrets.randbelow(2**32)
    print(f"\n{request.node.name}: FNQUEUE_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Workers on a queue in a file of their own. All that are left are killed at the end."""
    made = Fleet(tmp_path, {"FNQUEUE_URL": f"sqlite:///{tmp_path}/queue.db"})
    yield made
    made.close()


@pytest.fixture
def sqs_fleet(tmp_path: Path, moto_endpoint: str) -> Iterator[Fleet]:
    """The same on moto's server, with the records in a file."""
    made = Fleet(
        tmp_path,
        {
            "FNQUEUE_URL": f"sqs://us-east-1/{secrets.token_hex(4)}-?endpoint={moto_endpoint}",
            "FNQUEUE_STORE_URL": f"sqlite:///{tmp_path}/store.db",
            "FNQUEUE_KEYS_FILE": f"{tmp_path}/fnqueue.keys",
            "FNQUEUE_DEFAULT_POLICY": "public",
            "FNQUEUE_WAIT_TIME_SECONDS": "1",
        },
    )
    yield made
    made.close()
