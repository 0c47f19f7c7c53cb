"""The pages. A view stores what was uploaded, defers the work, and answers at once.

Nobody's rights are asked here: the policy of a task is asked by `defer`, and a call that is refused
raises PolicyDenied, sends nothing and becomes a 403 with the reason in the page.
"""

from __future__ import annotations

import io
from pathlib import Path

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    flash,
    jsonify,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required, login_user, logout_user
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException

from example_apps.flask_photos.cards import photo_card, sheet_card
from example_apps.flask_photos.extensions import fn, login_manager
from example_apps.flask_photos.guard import check_csrf_token
from example_apps.flask_photos.people import DEMO_ACCOUNTS, user_with_password
from example_apps.flask_photos.pictures import NotAPhotograph, look_at
from example_apps.flask_photos.tasks import delete_photo, gallery, make_contact_sheet, make_thumbnail
from fnqueue.errors import BrokerError, DatabaseError, PolicyDenied

#: Pixels. Browsers choose among them by the width of the screen.
WIDTHS = (80, 160, 240, 320, 400, 440)
PHOTO_BYTES_MAX = 16 * 1024 * 1024

photos = Blueprint("photos", __name__)
photos.before_request(check_csrf_token)
login_manager.login_view = "photos.login"
login_manager.login_message = None


# ---------------------------------------------------------------- the gallery


@photos.get("/")
@login_required  # type: ignore[untyped-decorator]
def index() -> ResponseReturnValue:
    return _page()


@photos.get("/photos.json")
@login_required  # type: ignore[untyped-decorator]
def listing() -> Response:
    """The same for programs: every photograph with its thumbnails and their status urls."""
    sheet = gallery().newest_sheet()
    return jsonify(
        photos=[photo_card(photo) for photo in gallery().photos()], sheet=sheet_card(sheet) if sheet else None
    )


@photos.post("/photos")
@login_required  # type: ignore[untyped-decorator]
def upload() -> ResponseReturnValue:
    """Take the photographs, defer their thumbnails, answer. What is no photograph is named and left out."""
    taken = 0
    for file in request.files.getlist("photos"):
        try:
            _take(file)
            taken += 1
        except NotAPhotograph as error:
            flash(f"{file.filename or 'The file'} was not taken: {error}.", "problem")
    if not request.files.getlist("photos"):
        flash("Choose one or more photographs first.", "problem")
    elif taken:
        flash(f"{taken} {'photograph' if taken == 1 else 'photographs'} uploaded.", "news")
    return redirect(url_for("photos.index"), 303)


@photos.post("/photos/<int:photo_id>/delete")
@login_required  # type: ignore[untyped-decorator]
def delete(photo_id: int) -> ResponseReturnValue:
    if gallery().photo(photo_id) is None:
        abort(404, "That photograph is gone already.")
    handle = delete_photo.defer(photo_id)  # PolicyDenied for whoever is no editor: nothing is sent
    gallery().remember_deletion(photo_id, handle.id)
    return redirect(url_for("photos.index"), 303)


@photos.post("/sheets")
@login_required  # type: ignore[untyped-decorator]
def contact_sheet() -> ResponseReturnValue:
    ids = [photo.id for photo in reversed(gallery().photos())][:60]
    if not ids:
        flash("There is no photograph yet to lay out.", "problem")
        return redirect(url_for("photos.index"), 303)
    sheet_id = gallery().add_sheet(len(ids), current_user.id)
    handle = make_contact_sheet.defer(sheet_id, ids, columns=3)
    gallery().remember_sheet_call(sheet_id, handle.id)
    return redirect(url_for("photos.index") + "#sheet", 303)


@photos.get("/photos/<int:photo_id>/<int:width>.jpg")
@login_required  # type: ignore[untyped-decorator]
def thumbnail(photo_id: int, width: int) -> Response:
    return _file(gallery().thumbnail(photo_id, width), "image/jpeg")


@photos.get("/photos/<int:photo_id>/original")
@login_required  # type: ignore[untyped-decorator]
def original(photo_id: int) -> Response:
    photo = gallery().photo(photo_id) or abort(404)
    return _file(gallery().original(photo.id), f"image/{photo.format.lower()}")


@photos.get("/sheets/<int:sheet_id>.jpg")
@login_required  # type: ignore[untyped-decorator]
def sheet(sheet_id: int) -> Response:
    return _file(gallery().sheet_file(sheet_id), "image/jpeg")


# ---------------------------------------------------------------- coming and going


@photos.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    if request.method == "POST":
        user = user_with_password(request.form.get("name", ""), request.form.get("password", ""))
        if user:
            login_user(user)
            return redirect(url_for("photos.index"), 303)
        flash("Name and password do not fit.", "problem")
    status = 401 if request.method == "POST" else 200
    return render_template("login.html", accounts=DEMO_ACCOUNTS), status


@photos.post("/logout")
def logout() -> ResponseReturnValue:
    logout_user()
    return redirect(url_for("photos.login"), 303)


# ---------------------------------------------------------------- refusals


def register_refusals(app: Flask) -> None:
    """Each refusal is a page that says what happened, or JSON for programs."""

    @app.errorhandler(PolicyDenied)
    def denied(error: PolicyDenied) -> ResponseReturnValue:
        return _refusal(403, "You may not do this", error.reason, in_gallery=current_user.is_authenticated)

    @app.errorhandler(BrokerError)
    @app.errorhandler(DatabaseError)
    def queue_down(error: Exception) -> ResponseReturnValue:
        current_app.logger.error("the call was not sent: %s", error)
        return _refusal(503, "Not now", "The queue cannot be reached, so nothing was begun. Try again in a moment.")

    @app.errorhandler(413)
    def too_large(error: HTTPException) -> ResponseReturnValue:
        most = app.config["MAX_CONTENT_LENGTH"] // 1024**2
        return _refusal(413, "That is too much at once", f"One upload may have {most} MB at most.")

    @app.errorhandler(400)
    @app.errorhandler(404)
    def plain(error: HTTPException) -> ResponseReturnValue:
        return _refusal(error.code or 500, error.name, error.description or "")


def _refusal(status: int, title: str, reason: str, *, in_gallery: bool = False) -> ResponseReturnValue:
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        return jsonify(error=title, reason=reason), status
    if in_gallery:
        return _page(refusal=(title, reason)), status
    return render_template("refusal.html", title=title, reason=reason), status


# ---------------------------------------------------------------- helpers


def _page(refusal: tuple[str, str] | None = None) -> str:
    cards = [photo_card(photo) for photo in gallery().photos()]
    newest = gallery().newest_sheet()
    sheet = sheet_card(newest) if newest else None
    waiting = any(card["calls"] for card in [*cards, *([sheet] if sheet else [])])
    return render_template("gallery.html", cards=cards, sheet=sheet, waiting=waiting, refusal=refusal)


def _take(file: FileStorage) -> None:
    """Keep one upload and defer its thumbnails, in one batch. If they cannot be deferred it is not kept either."""
    content = file.stream.read(PHOTO_BYTES_MAX + 1)
    if len(content) > PHOTO_BYTES_MAX:
        raise NotAPhotograph(f"it is larger than {PHOTO_BYTES_MAX // 1024**2} MB")
    what = look_at(io.BytesIO(content))
    photo_id = gallery().add(_title(file.filename or ""), what, content, current_user.id)
    try:
        handles = fn.defer_many(make_thumbnail, [(photo_id, width) for width in WIDTHS])
    except Exception:
        gallery().delete(photo_id)
        raise
    gallery().remember_calls(photo_id, dict(zip(WIDTHS, (handle.id for handle in handles), strict=True)))


def _title(filename: str) -> str:
    """ "IMG_2041.JPG" -> "IMG 2041"; the name is only shown, never used as a path."""
    stem = filename.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return " ".join(stem.replace("_", " ").replace("-", " ").split())[:80] or "untitled"


def _file(path: Path, mimetype: str) -> Response:
    if not path.exists():
        abort(404)
    response = send_file(path, mimetype=mimetype, conditional=True)
    response.cache_control.private, response.cache_control.max_age = True, 3600
    return response
