"""The pages. A view stores what was uploaded, defers the work, and answers at once.

Nobody's rights are asked here: the policy of a task is asked by `defer`, and a call that is refused raises
PolicyDenied, which Django takes for its own PermissionDenied: a 403, and nothing was sent.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from django_fnqueue import fn
from example_apps.django_newsroom.desk.cards import card, with_progress
from example_apps.django_newsroom.desk.models import Dataset
from example_apps.django_newsroom.desk.tables import BYTES_MAX, NotATable, look_at
from example_apps.django_newsroom.desk.tasks import delete_dataset, import_dataset, publish_dataset
from fnqueue.errors import PolicyDenied

ROWS_SHOWN = 5
STAGES = {"FAILURE": "failed", "DENIED": "was refused", "EXPIRED": "came too late", "REVOKED": "was called off"}


# ---------------------------------------------------------------- reading


@login_required
@require_GET
@never_cache
def desk(request: HttpRequest) -> HttpResponse:
    return render(request, "desk/desk.html", {"cards": [card(each) for each in with_progress()]})


@login_required
@require_GET
@never_cache
def listing(request: HttpRequest) -> HttpResponse:
    """The same for programs."""
    return JsonResponse({"datasets": [card(each) for each in with_progress()]})


@login_required
@require_GET
@never_cache
def dataset(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(with_progress(), pk=pk)
    return render(
        request,
        "desk/dataset.html",
        {
            "dataset": found,
            "card": card(found),
            "columns": found.column_figures.all(),
            "working": found.columns_there < len(found.columns),
            "rows": found.rows.all()[:ROWS_SHOWN],
        },
    )


@require_GET
@never_cache
async def status(request: HttpRequest, pk: int) -> HttpResponse:
    """How far the import is, for the page that waits for it: an async view."""
    user = await request.auser()
    if not user.is_authenticated:
        return JsonResponse({"error": "log in first"}, status=401)
    found = await with_progress().filter(pk=pk).afirst()
    if found is None:
        raise Http404
    record = await sync_to_async(lambda: fn.handle(found.call).record())()
    return JsonResponse(
        {
            # An id alone says nothing of a call that no worker has looked at; we know that it was deferred.
            "state": "PENDING" if record.state == "UNKNOWN" else record.state,
            "trouble": STAGES.get(record.state, ""),
            "attempts": record.attempts,
            "rows": {"there": found.rows_there, "expected": found.rows_expected},
            "figures": found.columns_there == len(found.columns),
        }
    )


# ---------------------------------------------------------------- writing


@login_required
@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    """Take the files, defer their imports, answer. What is no table is named and left out."""
    files = request.FILES.getlist("files")
    if not files:
        messages.error(request, "Choose one or more CSV files first.")
    for file in files:
        try:
            taken = take(file, request.user)
        except NotATable as error:
            messages.error(request, f"{file.name} was not taken: {error}.")
        else:
            messages.success(request, f"{taken.title}: {taken.rows_expected:,} rows are being imported.")
    return redirect("desk")


@transaction.atomic
def take(file: UploadedFile, owner: Any) -> Dataset:
    """One dataset and its import, or neither: the call leaves when the transaction commits."""
    content = file.read(BYTES_MAX + 1)
    shape = look_at(content)
    made = Dataset(title=_title(file.name or ""), owner=owner, columns=shape.columns, rows_expected=shape.rows)
    made.file.save("table.csv", ContentFile(content), save=False)
    try:
        made.save()
        made.call = import_dataset.defer(made.pk).id
        made.save(update_fields=["call"])
    except BaseException:
        made.file.storage.delete(made.file.name)  # a rollback takes back rows, not files
        raise
    return made


@login_required
@require_POST
def publish(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Dataset, pk=pk)
    publish_dataset.defer(found.pk)
    messages.success(request, f"{found.title} is being published.")
    return redirect("dataset", pk=pk)


@login_required
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Dataset, pk=pk)
    delete_dataset.defer(found.pk)
    messages.success(request, f"{found.title} is being thrown away.")
    return redirect("desk")


# ---------------------------------------------------------------- refusals


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The 403 page, with the policy's reason; JSON for programs."""
    reason = exception.reason if isinstance(exception, PolicyDenied) else "you may not see this"
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse({"error": "forbidden", "reason": reason}, status=403)
    return render(request, "desk/denied.html", {"reason": reason}, status=403)


def _title(filename: str) -> str:
    """ "seattle-weather.csv" -> "seattle weather"; the name is only shown, never used as a path."""
    stem = PurePath(filename.replace("\\", "/")).stem
    return " ".join(stem.replace("_", " ").replace("-", " ").split())[:80] or "untitled"
