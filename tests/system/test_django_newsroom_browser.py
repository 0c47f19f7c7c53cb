"""The newsroom as people see it: headless Chromium before the real web process and a real worker.

Screenshots lie in pytest's temporary folder, to be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Page, expect

from example_apps.demonstration.processes import Stage
from example_apps.demonstration.screen import Screen
from example_apps.django_newsroom.demo import (
    PASSWORDS,
    TABLES,
    Setting,
    run_manage,
    start_worker,
    surroundings,
    web_address,
)
from tests.system.browsing import Open, needs_chromium

AIRPORTS, WEATHER = TABLES
pytestmark = [pytest.mark.system, pytest.mark.browser, pytest.mark.xdist_group("newsroom"), needs_chromium]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a newsroom with a worker behind it, both real processes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("newsroom")
    with Stage(240) as stage:
        setting = Setting(stage, Screen(), folder, surroundings(folder))
        for command in (["migrate", "--verbosity", "0"], ["open_desk"]):
            run_manage(setting.environment, *command)
        setting.manage("web", "runserver", "--noreload", "127.0.0.1:0")
        start_worker(setting, "worker")
        yield stage.until("the web process's address", lambda: web_address(folder), seconds=30)


def log_in(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def upload(page: Page, *tables: Path) -> None:
    page.set_input_files("input[type=file]", [str(path) for path in tables])
    page.get_by_role("button", name="Upload").click()


def open_newest(page: Page, title: str) -> None:
    page.get_by_role("link", name=title).first.click()


def test_an_editor_uploads_a_table_sees_its_import_end_and_the_figures(address, open_page: Open, tmp_path) -> None:
    page = open_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    log_in(page, address, "ada")
    upload(page, AIRPORTS, WEATHER)
    expect(page.get_by_text("airports: 3,376 rows are being imported.")).to_be_visible()
    page.screenshot(path=tmp_path / "desk.png", full_page=True)
    open_newest(page, "airports")
    expect(page.get_by_role("heading", name="Figures")).to_be_visible(timeout=40_000)
    expect(page.locator("progress")).to_have_count(0)
    latitudes = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="latitude"))
    expect(latitudes).to_contain_text("3376")
    expect(latitudes).to_contain_text("71.29")
    page.screenshot(path=tmp_path / "dataset.png", full_page=True)
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("airports is being published.")).to_be_visible()
    expect(page.get_by_text("published by ada").or_(page.get_by_role("button", name="Publish"))).to_be_visible()


def test_who_is_not_of_the_staff_is_refused_with_the_reason(address, open_page: Open, tmp_path) -> None:
    page = open_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    log_in(page, address, "bob")
    upload(page, WEATHER)
    open_newest(page, "seattle weather")
    expect(page.get_by_role("button", name="Publish")).to_be_visible(timeout=40_000)
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    with page.expect_response(re.compile("/publish/$")) as refused:
        page.get_by_role("button", name="Publish").click()
    assert refused.value.status == 403
    expect(page.get_by_role("alert")).to_contain_text("needs role 'staff'")
    page.screenshot(path=tmp_path / "refused.png")


def test_what_is_no_table_is_named_and_left_out(address, open_page: Open, tmp_path) -> None:
    fake = tmp_path / "picture.csv"
    fake.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe<script>alert(1)</script>")
    page = open_page()
    log_in(page, address, "bob")
    upload(page, fake)
    expect(page.get_by_role("alert")).to_contain_text("picture.csv was not taken: it is not text in UTF-8.")


def test_the_pages_fit_a_phone(address, open_page: Open, tmp_path) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.goto(address)
    page.screenshot(path=tmp_path / "login.png")
    log_in(page, address, "ada")
    upload(page, AIRPORTS)
    open_newest(page, "airports")
    expect(page.get_by_role("heading", name="Figures")).to_be_visible(timeout=40_000)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_javascript_the_page_reloads_until_the_figures_are_there(address, open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    log_in(page, address, "bob")
    upload(page, WEATHER)
    open_newest(page, "seattle weather")
    expect(page.get_by_role("heading", name="Figures")).to_be_visible(timeout=40_000)
