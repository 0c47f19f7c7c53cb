"""A gallery of photographs: the example of fnqueue in Flask.

    flask --app example_apps.flask_photos.app run                          the web process
    python -m fnqueue worker --app example_apps.flask_photos.app:create_app     a worker, in a second terminal
    python -m example_apps.flask_photos.demo                               both, driven and killed by a script

Read on in tasks.py (what is done in the background), then views.py (who defers it). Everything it keeps is
in one folder: PHOTOS_INSTANCE, or Flask's instance folder.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from example_apps.flask_photos import views
from example_apps.flask_photos.extensions import fn, login_manager
from example_apps.flask_photos.gallery import Gallery
from example_apps.flask_photos.guard import guard
from example_apps.flask_photos.people import open_demo_accounts


def create_app(config: Mapping[str, Any] | None = None, *, folder: str | None = None) -> Flask:
    """The application, for `flask run`, for the worker and for tests. `config` wins over the environment.

    `folder`: where everything is kept, as an absolute path.
    """
    app = Flask(__name__, instance_path=folder or os.environ.get("PHOTOS_INSTANCE"))
    app.config.from_mapping(MAX_CONTENT_LENGTH=64 * 1024 * 1024, SESSION_COOKIE_SAMESITE="Lax")
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    gallery = Gallery(app.instance_path)
    gallery.prepare()
    open_demo_accounts(gallery)
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or _secret_key(gallery.folder / "secret.key")
    login_manager.init_app(app)
    fn.init_app(app)  # opens nothing: the queue is opened when the first call is deferred
    guard(app)
    app.register_blueprint(views.photos)
    views.register_refusals(app)
    return app


def _secret_key(path: Path) -> str:
    """The key of the session cookies, made once and kept in a file that only we can read."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(draft, path)  # whole or not at all, and only the first: web and worker may start together
        except FileExistsError:
            pass  # the other process was first; its key is as good
        draft.unlink()
    return path.read_text()
