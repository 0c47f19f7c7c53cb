"""The status view. A plain function: under ASGI Django runs it in a thread, for it reads a file.

No answer of it may be kept by a cache, a 404 neither: the same address may have an answer for somebody else.
"""

from __future__ import annotations

import inspect
from typing import Any

from asgiref.sync import async_to_sync
from django.http import Http404, HttpResponse, JsonResponse
from django.urls import get_resolver, get_urlconf
from django.views.decorators.http import require_safe

from django_fnqueue import fn
from django_fnqueue.requests import remembered
from fnqueue.errors import TokenInvalid


@require_safe
def status(request: Any, token: str) -> HttpResponse:
    try:
        with remembered(request):  # also where the middleware is missing: whose token it is must be asked
            response: HttpResponse = JsonResponse(fn.reads().status(token))
    except TokenInvalid:
        response = _not_found(request)
    response["Cache-Control"] = "no-store"
    return response


def _not_found(request: Any) -> HttpResponse:
    """The project's own page, as Django would answer Http404 without DEBUG."""
    handler = get_resolver(get_urlconf()).resolve_error_handler(404)
    handler = async_to_sync(handler) if inspect.iscoroutinefunction(handler) else handler
    response: HttpResponse = handler(request, exception=Http404("not found"))
    return response
