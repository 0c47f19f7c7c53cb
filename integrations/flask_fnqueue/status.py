"""The status page of one call: `/fnqueue/status/<token>`, JSON for a page that shows progress.

The token is signed, expires, and is bound to whoever asked for it; all that is wrong with one looks like 404.
"""

from __future__ import annotations

from flask import Flask, Response, current_app, jsonify, url_for

from flask_fnqueue.state import EXTENSION, FlaskState
from fnqueue.reads import status_json

RULE = "/fnqueue/status/<token>"
ENDPOINT = "fnqueue_status"


def register(app: Flask) -> None:
    app.add_url_rule(RULE, ENDPOINT, status, methods=["GET"])


def status(token: str) -> Response:
    """Raises TokenInvalid, whose handler makes a 404 of it."""
    state: FlaskState = current_app.extensions[EXTENSION]
    response = jsonify(status_json(state.fn.reads().by_token(token)))
    response.cache_control.no_store = True
    return response


def status_url(token: str) -> str:
    return url_for(ENDPOINT, token=token)
