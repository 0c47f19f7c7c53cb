"""The status view. A plain function: under ASGI Django runs it in a thread, for it reads a file."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from django_fnqueue import fn
from django_fnqueue.requests import remembered
from fnqueue.errors import TokenInvalid
from fnqueue.reads import status_json


@require_safe
def status(request: Any, token: str) -> HttpResponse:
    try:
        with remembered(request):  # also where the middleware is missing: whose token it is must be asked
            found = status_json(fn.reads().by_token(token))
    except TokenInvalid as error:
        raise Http404("not found") from error
    response: HttpResponse = JsonResponse(found)
    response["Cache-Control"] = "no-store"
    return response
