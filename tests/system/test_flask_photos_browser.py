"""The gallery as people see it: headless Chromium before the real web process and a real worker.

Screenshots lie in pytest's temporary folder, to be looked at.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Page, expect

from example_apps.demonstration.processes import Stage
from example_apps.flask_photos.demo import APP, PASSWORDS, PHOTOS, ROOT, surroundings, web_address
from tests.system.browsing import Open, needs_chromium

pytestmark = [pytest.mark.system, pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a gallery with a worker behind it, both real processes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("gallery")
    commands = {"web": ["flask", "--app", APP, "run", "--port", "0"], "worker": ["fnqueue", "worker", "--app", APP]}
    with Stage(240) as stage:
        for name, command in commands.items():
            arguments = [sys.executable, "-m", *command]
            stage.start(name, arguments, log=folder / f"{name}.log", folder=ROOT, environment=surroundings(folder))
        yield stage.until("the web process's address", lambda: web_address(folder), seconds=30)


def log_in(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def upload(page: Page, *photos: Path) -> None:
    page.set_input_files("input[type=file]", [str(path) for path in photos])
    page.get_by_role("button", name="Upload").click()


def card_of(page: Page, title: str) -> object:
    return page.locator("article", has=page.get_by_role("heading", name=title, exact=True)).first


def test_an_editor_uploads_sees_progress_end_and_the_pictures_appear(
    address: str, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    log_in(page, address, "ada")
    upload(page, *PHOTOS)
    expect(page.get_by_text("6 photographs uploaded.")).to_be_visible()
    page.screenshot(path=tmp_path / "progress.png", full_page=True)
    expect(page.locator("progress")).to_have_count(0, timeout=40_000)
    pictures = page.locator("article img")
    expect(pictures).to_have_count(len(PHOTOS))
    for picture in pictures.all():
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
        assert len(picture.get_attribute("alt") or "") > 20
    page.get_by_role("button", name="Lay out").click()
    sheet = page.get_by_alt_text(re.compile("Contact sheet of"))
    expect(sheet).to_be_visible(timeout=20_000)
    page.screenshot(path=tmp_path / "gallery.png", full_page=True)


def test_an_editor_deletes_and_the_card_goes(address: str, open_page: Open) -> None:
    page = open_page()
    log_in(page, address, "ada")
    upload(page, PHOTOS[0], PHOTOS[0])
    expect(page.locator("progress")).to_have_count(0, timeout=40_000)
    before = page.locator("article").count()
    page.locator("article").first.get_by_role("button", name=re.compile("Delete")).click()
    expect(page.locator("article")).to_have_count(before - 1)


def test_a_viewer_is_refused_with_the_reason_in_the_page(address: str, open_page: Open, tmp_path: Path) -> None:
    page = open_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    log_in(page, address, "bob")
    upload(page, PHOTOS[1])
    expect(page.locator("progress")).to_have_count(0, timeout=40_000)
    before = page.locator("article").count()
    with page.expect_response(re.compile("/delete$")) as refused:
        page.locator("article").first.get_by_role("button", name=re.compile("Delete")).click()
    assert refused.value.status == 403
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("You may not do this")
    expect(alert).to_contain_text("editor")
    page.screenshot(path=tmp_path / "refused.png")
    expect(page.locator("article")).to_have_count(before)


def test_the_pages_fit_a_phone(address: str, open_page: Open, tmp_path: Path) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.goto(address)
    page.wait_for_load_state("load")
    page.screenshot(path=tmp_path / "login.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    log_in(page, address, "ada")
    page.wait_for_load_state("load")  # the stylesheet and the pictures decide the width
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_no_photograph_is_named_and_left_out(address: str, open_page: Open, tmp_path: Path) -> None:
    fake = tmp_path / "holiday.jpg"
    fake.write_text("<script>alert(1)</script>")
    page = open_page()
    log_in(page, address, "ada")
    before = page.locator("article").count()
    upload(page, fake)
    expect(page.get_by_role("alert")).to_contain_text("holiday.jpg was not taken: it is not a JPEG")
    expect(page.locator("article")).to_have_count(before)


def test_without_javascript_the_page_reloads_until_the_picture_is_there(address: str, open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    log_in(page, address, "ada")
    upload(page, PHOTOS[2])
    expect(page.locator("article").first.locator("img")).to_be_visible(timeout=20_000)
