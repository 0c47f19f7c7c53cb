"""Refusals as answers: 403 for a policy that says no, 503 for one that cannot decide, 404 for a bad status token.

The 403 and the 404 are Django's own, with the project's own pages for them.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse

from fnqueue import errors


class PolicyDenied(errors.PolicyDenied, PermissionDenied):
    """fnqueue's and Django's at once: whoever catches either has it."""


def denied(error: errors.PolicyDenied) -> PolicyDenied:
    return PolicyDenied(str(error), task=error.task, reason=error.reason)


def answer_to(request: Any, error: Exception) -> HttpResponse | None:
    """What a view's exception is answered with; None: it is not ours, or Django's own answer is right.

    Raises PolicyDenied, Http404, which Django answers.
    """
    if isinstance(error, errors.PolicyDenied) and not isinstance(error, PermissionDenied):
        raise denied(error) from error
    if isinstance(error, errors.TokenInvalid):
        raise Http404("not found") from error
    return _unavailable(request) if isinstance(error, errors.PolicyUndecided) else None


def _unavailable(request: Any) -> HttpResponse:
    # The reason may quote an exception of the application: it is in the error, for its logs, and not in the answer.
    reason = "it could not be decided whether you may do this; nothing was sent"
    if request.get_preferred_type(["text/plain", "application/json"]) == "application/json":
        response: HttpResponse = JsonResponse({"error": "unavailable", "reason": reason}, status=503)
    else:
        response = HttpResponse(f"{reason}\n", status=503, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response
