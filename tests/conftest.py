"""What all tests share: servers, marks, and contracts whose assertions explain themselves."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.servers"]
pytest.register_assert_rewrite("tests.conformance")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "turned: needs hours, which only an engine with our clock can give")
    config.addinivalue_line("markers", "wrong_in(engine, row, why): a row of the specification that a server has wrong")
