"""Flask apps on queues in a folder of their own, and a worker that works until nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fnqueue import FnQueue
from fnqueue.settings import names
from tests.integrations.working import run_all


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*names(), "test_full", "test_seed"):
        monkeypatch.delenv(f"FNQUEUE_{name.upper()}", raising=False)


@pytest.fixture
def fn() -> Iterator[FnQueue]:
    made = FnQueue()
    yield made
    made.close()


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Flask]:
    """An app whose instance folder is `tmp_path/name`."""

    def make(name: str = "shop", **config: Any) -> Flask:
        app = Flask(name, instance_path=str(tmp_path / name))
        app.config.update(SECRET_KEY="of a test", TESTING=True, **config)
        return app

    return make


@pytest.fixture
def app(make_app: Callable[..., Flask], fn: FnQueue) -> Flask:
    made = make_app()
    fn.init_app(made)
    return made


@pytest.fixture
def work() -> Callable[[Flask], int]:
    """Run all that an app's queue holds."""
    return lambda app: run_all(app.extensions["fnqueue"].runtime)
