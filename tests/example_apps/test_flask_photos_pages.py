"""The gallery's pages, asked without a browser, on a real queue in a file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from example_apps.flask_photos import pictures
from example_apps.flask_photos.app import create_app
from example_apps.flask_photos.extensions import fn
from example_apps.flask_photos.gallery import Gallery
from example_apps.flask_photos.people import DEMO_ACCOUNTS
from example_apps.flask_photos.views import WIDTHS
from fnqueue.worker.worker import Worker

PHOTO = Path(pictures.__file__).parent / "photos" / "chelsea.jpg"
PASSWORDS = {account.id: account.password for account in DEMO_ACCOUNTS}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    yield create_app({"TESTING": True}, folder=str(tmp_path / "instance"))
    fn.close()


@pytest.fixture
def kept(app: Flask) -> Gallery:
    return Gallery(app.instance_path)


class Session:
    """A logged-in visitor whose forms carry the session's token."""

    def __init__(self, app: Flask, name: str) -> None:
        self.client: FlaskClient = app.test_client()
        page = self.client.get("/login").text
        self.token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
        self.post("/login", name=name, password=PASSWORDS[name])

    def post(self, url: str, **form: object):
        return self.client.post(url, data={"csrf_token": self.token, **form}, content_type="multipart/form-data")

    def picture(self, url: str) -> Image.Image:
        with self.client.get(url) as answer:
            assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
            return Image.open(io.BytesIO(answer.data))

    def upload(self, *files: tuple[bytes, str]):
        return self.post("/photos", photos=[(io.BytesIO(content), name) for content, name in files])


LogIn = Callable[[str], Session]


@pytest.fixture
def log_in(app: Flask) -> LogIn:
    return lambda name: Session(app, name)


@pytest.fixture
def work() -> Callable[[Flask], None]:
    """Runs a worker in this process until the queue is empty."""

    def until_empty(app: Flask) -> None:
        with app.app_context():
            runtime = fn.runtime()
        worker = Thread(target=Worker(runtime, concurrency=2, burst=True).run)  # a thread: signals stay pytest's
        worker.start()
        worker.join(60)
        assert not worker.is_alive()

    return until_empty


def waiting(app: Flask) -> int:
    """Messages in the queue."""
    with app.app_context():
        return fn.runtime().engine.broker.attributes("default").visible


def test_a_stranger_is_sent_to_the_login_page(app: Flask) -> None:
    for url in ("/", "/photos.json", "/photos/1/80.jpg", "/photos/1/original", "/sheets/1.jpg"):
        answer = app.test_client().get(url)
        assert (answer.status_code, answer.location.split("?")[0]) == (302, "/login")


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", "x"), ("", "")])
def test_a_wrong_password_and_an_unknown_name_look_alike(app: Flask, name: str, password: str) -> None:
    client = app.test_client()
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)[1]
    answer = client.post("/login", data={"csrf_token": token, "name": name, "password": password})
    assert answer.status_code == 401
    assert "Name and password do not fit." in answer.text


@pytest.mark.parametrize("token", [None, "", "forged"])
def test_a_form_without_the_sessions_token_does_nothing(log_in: LogIn, kept: Gallery, token: str | None) -> None:
    ada = log_in("ada")
    form = {"photos": (io.BytesIO(PHOTO.read_bytes()), "cat.jpg")} | ({} if token is None else {"csrf_token": token})
    assert ada.client.post("/photos", data=form).status_code == 400
    assert kept.photos() == []


def test_every_page_forbids_scripts_and_styles_of_others(app: Flask) -> None:
    answer = app.test_client().get("/login")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", answer.text)


def test_an_upload_defers_a_call_for_each_width(app: Flask, log_in: LogIn, kept: Gallery) -> None:
    answer = log_in("ada").upload((PHOTO.read_bytes(), "my_cat.JPG"), (PHOTO.read_bytes(), "../../etc/cat.jpg"))
    assert (answer.status_code, answer.location) == (303, "/")
    assert [photo.title for photo in kept.photos()] == ["cat", "my cat"]
    assert [each.width for each in kept.photos()[0].thumbnails] == list(WIDTHS)
    assert waiting(app) == 2 * len(WIDTHS)


def test_the_description_of_the_file_becomes_the_text_for_who_cannot_see(log_in: LogIn) -> None:
    ada = log_in("ada")
    ada.upload((PHOTO.read_bytes(), "chelsea.jpg"))
    assert 'alt="The face of Chelsea, a tabby cat with green eyes, from very near"' in ada.client.get("/").text


def test_what_is_no_photograph_is_named_and_the_rest_is_taken(app: Flask, log_in: LogIn, kept: Gallery) -> None:
    ada = log_in("ada")
    ada.upload((b"<svg onload=alert(1)>", "<b>evil</b>.jpg"), (PHOTO.read_bytes(), "cat.jpg"))
    page = ada.client.get("/").text
    assert "&lt;b&gt;evil&lt;/b&gt;.jpg was not taken: it is not a JPEG, PNG or WEBP picture." in page
    assert [photo.title for photo in kept.photos()] == ["cat"]
    assert waiting(app) == len(WIDTHS)


def test_an_upload_over_the_bound_is_a_413_with_the_bound_in_it(app: Flask, log_in: LogIn) -> None:
    ada = log_in("ada")
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    with ada.upload((bytes(1024 * 1024 + 1), "big.jpg")) as answer:
        assert answer.status_code == 413
        assert "1 MB at most" in answer.text
        answer.request.input_stream.close()


def test_a_viewer_may_not_delete_and_nothing_is_sent(app: Flask, log_in: LogIn, kept: Gallery) -> None:
    log_in("ada").upload((PHOTO.read_bytes(), "cat.jpg"))
    before = waiting(app)
    answer = log_in("bob").post(f"/photos/{kept.photos()[0].id}/delete")
    assert answer.status_code == 403
    assert "You may not do this" in answer.text
    assert "editor" in answer.text
    assert waiting(app) == before
    assert kept.photos()[0].deletion is None


def test_workers_cut_every_thumbnail_and_the_page_shows_them(
    app: Flask, log_in: LogIn, kept: Gallery, work: Callable[[Flask], None]
) -> None:
    ada = log_in("ada")
    ada.upload((PHOTO.read_bytes(), "cat.jpg"))
    (card,) = ada.client.get("/photos.json").json["photos"]
    assert len(card["calls"]) == len(WIDTHS)
    work(app)
    states = [ada.client.get(call["status"]).json["state"] for call in card["calls"]]
    assert states == ["SUCCESS"] * len(WIDTHS)
    (card,) = ada.client.get("/photos.json").json["photos"]
    assert card["calls"] == []
    for each in card["thumbnails"]:
        with ada.picture(each["url"]) as image:
            assert (image.format, image.width) == ("JPEG", each["width"])


def test_an_editor_deletes_photograph_and_files(
    app: Flask, log_in: LogIn, kept: Gallery, work: Callable[[Flask], None]
) -> None:
    ada = log_in("ada")
    ada.upload((PHOTO.read_bytes(), "cat.jpg"))
    work(app)
    photo = kept.photos()[0]
    assert kept.thumbnail(photo.id, 80).exists()
    assert ada.post(f"/photos/{photo.id}/delete").status_code == 303
    assert "Deleting" in ada.client.get("/").text
    work(app)
    assert kept.photos() == []
    assert not kept.original(photo.id).parent.exists()
    assert ada.post(f"/photos/{photo.id}/delete").status_code == 404


def test_a_person_who_left_before_the_work_began_deletes_nothing(
    app: Flask, log_in: LogIn, kept: Gallery, work: Callable[[Flask], None]
) -> None:
    ada = log_in("ada")
    ada.upload((PHOTO.read_bytes(), "cat.jpg"))
    work(app)
    ada.post(f"/photos/{kept.photos()[0].id}/delete")
    with kept._connection() as db:
        db.execute("UPDATE people SET active = 0 WHERE id = 'ada'")
    work(app)
    assert len(kept.photos()) == 1
    bob = log_in("bob")
    (card,) = bob.client.get("/photos.json").json["photos"]
    assert bob.client.get(card["calls"][0]["status"]).json["state"] == "DENIED"


def test_the_contact_sheet_is_laid_out_by_a_worker(
    app: Flask, log_in: LogIn, kept: Gallery, work: Callable[[Flask], None]
) -> None:
    ada = log_in("ada")
    ada.upload((PHOTO.read_bytes(), "one.jpg"), (PHOTO.read_bytes(), "two.jpg"))
    assert ada.post("/sheets").status_code == 303
    work(app)
    sheet = ada.client.get("/photos.json").json["sheet"]
    assert (sheet["ready"], sheet["photos"], sheet["calls"]) == (True, 2, [])
    with ada.picture(sheet["url"]) as image:
        assert image.format == "JPEG"
