"""What all tests share: servers, marks, and contracts whose assertions explain themselves.

In CI nothing may be skipped: a test that needs a program must have it there.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

pytest_plugins = ["tests.servers", "tests.system.web_servers.table"]
pytest.register_assert_rewrite("tests.conformance")

IN_CI = os.environ.get("CI") == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-texts", action="store_true", help="write tests/first_hour/texts anew")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "not_on(engine, why): a server that cannot even be asked this")
    config.addinivalue_line("markers", "row(framework, server, case): a row of the table of web servers")
    config.addinivalue_line("markers", "wrong_in(engine, row, why): a row of the specification that a server has wrong")


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_shell() -> Iterator[None]:
    """A queue that the shell is set up for must be neither used nor spoilt; and FNQUEUE_TEST_... are no settings.

    For the whole session, because servers that a whole module uses are started before its first test.
    """
    with pytest.MonkeyPatch.context() as shell:
        for name in list(os.environ):
            if name.startswith("FNQUEUE_"):
                shell.delenv(name)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {item.nodeid}: {report.longrepr}"
    return report
