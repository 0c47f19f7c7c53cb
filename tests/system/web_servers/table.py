"""What was served by what: a table at the end of a run, of all tests that say so with `served`.

Under pytest-xdist the tests' processes send their rows with their reports, so this is loaded from tests/conftest.py,
which the process that prints has loaded, too.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import pytest

HEADINGS = ("framework", "version", "Python", "server", "case", "")

OF_THE_FRAMEWORK = ("flask run", "runserver", "-")


@pytest.fixture
def served(request: pytest.FixtureRequest) -> None:
    """For a test that is marked `row(framework, server, case)`. A server is named as its distribution is."""
    row = request.node.get_closest_marker("row")
    request.node.user_properties.append(("served", with_versions(*row.args)))


def with_versions(framework: str, server: str, case: str) -> list[str]:
    program, _, how = server.partition(" ")
    named = f"{program} {version(program)} {how}".strip() if server not in OF_THE_FRAMEWORK else server
    return [framework, version(framework), platform.python_version(), named, case]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = sorted(rows_of(terminalreporter.stats))
    if rows:
        terminalreporter.section("web servers")
        for line in aligned([HEADINGS, *rows]):
            terminalreporter.write_line(line)


def rows_of(stats: dict[str, list[Any]]) -> Iterable[tuple[str, ...]]:
    for word in ("passed", "failed", "error", "skipped"):
        for report in stats.get(word, []):
            yield from ((*found, word) for name, found in getattr(report, "user_properties", ()) if name == "served")


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [" | ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
