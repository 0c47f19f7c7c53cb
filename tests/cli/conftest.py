"""Projects in a folder of their own, and commands on them: in this process, or as real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fnqueue.cli.main import cli
from fnqueue.settings import names

SHOP = """
import time
from fnqueue import Backoff, DeadLetter, FnQueue
from fnqueue.policies import public, role

fn = FnQueue(url="sqlite:///q.db")

@fn.task(policy=public, retry=Backoff(3, first_seconds=2))
def resize(photo: int, width: int = 200) -> int:
    return photo * width

@fn.task(policy=role("editor"), queue="billing")
def pay(card: str) -> None: ...

@fn.task(policy=public)
def fail(secret: str) -> None:
    raise ValueError("out of order")

@fn.task(policy=public, once=True)
def give_up(secret: str) -> None:
    raise DeadLetter("nobody wants it")

@fn.task(policy=public)
def sleep(seconds: float) -> None:
    time.sleep(seconds)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Write files into a folder and make it the working directory; what is imported from there is forgotten."""
    for name in [*names(), "app", "queues", "health_file", "log_level", "burst", "max_tasks", "reload", "allow_empty"]:
        monkeypatch.delenv(f"FNQUEUE_{name.upper()}", raising=False)
    for name in ("FLASK_APP", "DJANGO_SETTINGS_MODULE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path = path if path.suffix else path.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or file.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def fnqueue(project: Callable[..., Path]) -> Callable[..., Result]:
    """`fnqueue ...` in this process: `.exit_code`, `.stdout`, `.stderr`."""

    def run(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=given, prog_name="fnqueue")

    return run


@pytest.fixture
def shop(project: Callable[..., Path]) -> Path:
    """The folder of a project whose `shop.py` has five tasks."""
    return project(shop=SHOP)
