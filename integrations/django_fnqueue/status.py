"""The status page of one call, JSON for a page that shows progress: `path("fnqueue/", include("django_fnqueue.urls"))`.

The token is signed, expires, and is bound to whoever asked for it; all that is wrong with one looks like 404.
"""

from __future__ import annotations

from django.urls import NoReverseMatch, reverse

from fnqueue.errors import AppNotFound

VIEW = "fnqueue:status"


def status_url(token: str) -> str:
    """Where the view answers. Raises AppNotFound when the project's urls do not have it."""
    try:
        return str(reverse(VIEW, kwargs={"token": token}))
    except NoReverseMatch as error:
        raise AppNotFound(
            "the project's urls have no status view: add to urlpatterns in the ROOT_URLCONF: "
            'path("fnqueue/", include("django_fnqueue.urls"))'
        ) from error
