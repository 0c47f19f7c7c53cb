"""What every page of the gallery is guarded with: a token against forged forms, and strict headers.

A form carries the session's token; a page of another site can make a browser send the cookie, but cannot
read the token. (`SameSite=Lax` cookies alone stop most of this; the token does not depend on the browser.)
"""

from __future__ import annotations

import hmac
import secrets

from flask import Flask, Response, abort, request, session

_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def csrf_token() -> str:
    """The session's token, made when first asked for."""
    if "csrf_token" not in session:
        session["csrf_token"] = secrets.token_urlsafe(32)
    return str(session["csrf_token"])


def check_csrf_token() -> None:
    """Before each request of the gallery: 400 for a form without the session's token."""
    if request.method == "POST":
        given, expected = request.form.get("csrf_token", ""), str(session.get("csrf_token", ""))
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            abort(400, "The form was too old or came from another site. Load the page again.")


def add_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


def guard(app: Flask) -> None:
    app.after_request(add_headers)
    app.jinja_env.globals["csrf_token"] = csrf_token
