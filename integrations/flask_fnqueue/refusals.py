"""Refusals as answers: 403 for a policy that says no, 503 for one that cannot decide, 404 for a bad status token.

As `abort(403)` would answer: the application's own page, if it has an `errorhandler` for the status or for
HTTPException. Else plain text, or JSON for whoever prefers it. An `errorhandler` for our own class wins over both,
whether it was registered before `init_app` or after.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException, default_exceptions

from fnqueue.errors import PolicyDenied, PolicyUndecided, TokenInvalid


def denied(error: PolicyDenied) -> Response:
    return answer(403, "forbidden", error.reason)


def undecided(error: PolicyUndecided) -> Response:
    # The reason may quote an exception of the application: it is in the error, for its logs, and not in the answer.
    return answer(503, "unavailable", "it could not be decided whether you may do this; nothing was sent")


def not_found(error: TokenInvalid) -> Response:
    return answer(404, "not found", "not found")


HANDLERS: tuple[tuple[type[Exception], Callable[..., Response]], ...] = (
    (PolicyDenied, denied),
    (PolicyUndecided, undecided),
    (TokenInvalid, not_found),
)


def register(app: Flask) -> None:
    known = app.error_handler_spec[None][None]
    for error, handler in HANDLERS:
        if error not in known:
            app.register_error_handler(error, handler)


def answer(status: int, title: str, reason: str) -> Response:
    error = default_exceptions[status](reason)
    if _has_page(error):
        response = current_app.make_response(current_app.handle_http_exception(error))
    elif request.accept_mimetypes.best_match(["text/plain", "application/json"]) == "application/json":
        response = jsonify(error=title, reason=reason)
        response.status_code = status
    else:
        response = Response(f"{reason}\n", status, mimetype="text/plain")
    response.cache_control.no_store = True
    return response


def _has_page(error: HTTPException) -> bool:
    """A handler of Exception alone is for the unexpected, and a refusal is none."""
    handlers = [current_app.error_handler_spec[name] for name in (*request.blueprints, None)]
    return any({type(error), HTTPException} & each[code].keys() for each in handlers for code in (error.code, None))
