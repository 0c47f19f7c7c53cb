"""`django_fnqueue.middleware.FnQueueMiddleware`: remembers the request, and answers refusals.

    MIDDLEWARE = [..., "django.contrib.auth.middleware.AuthenticationMiddleware",
                  "django_fnqueue.middleware.FnQueueMiddleware"]

Without it nobody is logged in where a view defers, and a policy that could not decide is a 500 instead of a 503.
A denied call is Django's PermissionDenied, and so a 403, with it and without. For WSGI and ASGI alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.utils.module_loading import import_string

from django_fnqueue.refusals import answer_to
from django_fnqueue.requests import remembered


class FnQueueMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self._is_async:
            return self._acall(request)
        with remembered(request):
            return self.get_response(request)

    async def _acall(self, request: Any) -> Any:
        with remembered(request):
            return await self.get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> HttpResponse | None:
        return answer_to(request, exception)


def is_installed() -> bool:
    """Whether MIDDLEWARE has it, or a class derived from it."""
    return any(map(_is_ours, settings.MIDDLEWARE))


def _is_ours(path: str) -> bool:
    try:
        found = import_string(path)
    except Exception:
        return False  # Django says so, and better
    return isinstance(found, type) and issubclass(found, FnQueueMiddleware)
