"""A call per request, and how the process is that made it."""

import os
import threading

from django.http import HttpRequest, JsonResponse
from django.urls import path

from desk.tasks import note

VERSION = "first"


def defer(request: HttpRequest, text: str) -> JsonResponse:
    return as_it_is(note.defer(text).id)


async def adefer(request: HttpRequest, text: str) -> JsonResponse:
    return as_it_is((await note.adefer(text)).id)


def as_it_is(id: str) -> JsonResponse:
    threads = sorted(thread.name for thread in threading.enumerate())
    return JsonResponse({"id": id, "pid": os.getpid(), "threads": threads, "version": VERSION})


urlpatterns = [path("defer/<text>", defer), path("adefer/<text>", adefer)]
