"""The status page of one call: `/fnqueue/status/<token>`, JSON for a page that shows progress.

The token is signed, expires, and is bound to whoever asked for it; all that is wrong with one looks like 404.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, current_app, jsonify, request, session, url_for
from flask.sessions import NullSession

from flask_fnqueue.contexts import in_request
from flask_fnqueue.state import EXTENSION, FlaskState

RULE = "/fnqueue/status/<token>"
ENDPOINT = "fnqueue_status"
#: In the session of a visitor who is not logged in: to whom status tokens are bound.
MARKER = "_fnqueue_visitor"


def register(app: Flask) -> None:
    app.add_url_rule(RULE, ENDPOINT, status, methods=["GET"])


def status(token: str) -> Response:
    """Raises TokenInvalid, whose handler makes a 404 of it."""
    state: FlaskState = current_app.extensions[EXTENSION]
    response = jsonify(state.fn.reads().status(token))
    response.cache_control.no_store = True
    return response


def status_url(token: str) -> str:
    return url_for(ENDPOINT, token=token)


def session_marker(make: bool) -> str | None:
    """Of a request that came with a session, or whose view has begun one: none is begun here."""
    if not in_request() or isinstance(session._get_current_object(), NullSession):  # type: ignore[attr-defined]
        return None
    if current_app.config["SESSION_COOKIE_NAME"] not in request.cookies and not (session.modified and session):
        return None
    found = session.get(MARKER)
    if not isinstance(found, str) and make:
        found = session[MARKER] = secrets.token_urlsafe(16)
    return found if isinstance(found, str) else None
