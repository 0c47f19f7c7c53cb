"""Headless Chromium for the examples' pages: whatever a console says fails the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync", "--no-first-run"]
Open = Callable[..., Any]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens pages of a new session each, and fails the test for whatever their consoles say."""
    troubles: list[str] = []
    contexts = []

    def note(message: Any) -> None:
        # Chromium itself notes a document that is a 403; that one is asked for.
        if message.type in ("error", "warning") and "status of 403" not in message.text:
            troubles.append(f"{message.type}: {message.text}")

    def open_one(**options: object) -> Any:
        # Without motion a screenshot does not catch pictures that are still fading in.
        contexts.append(browser.new_context(reduced_motion="reduce", **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", note)
        page.on("pageerror", lambda error: troubles.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url} {request.failure}"))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []
