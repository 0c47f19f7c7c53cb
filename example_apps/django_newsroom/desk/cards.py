"""Datasets as pages and programs see them."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse

from example_apps.django_newsroom.desk.models import Column, Dataset, Row


def with_progress() -> QuerySet[Dataset]:
    """All datasets, each with `rows_there` and `columns_there`: so many of its rows, and of its columns' figures."""
    return Dataset.objects.select_related("owner", "published_by").annotate(
        rows_there=_count(Row), columns_there=_count(Column)
    )


def _count(model: type[Model]) -> Coalesce:
    """By a query of its own: joined, every row would be counted once for each column."""
    counted = model.objects.filter(dataset=OuterRef("pk")).order_by().values("dataset").annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n")), 0)


def card(dataset: Any) -> dict[str, Any]:
    """`dataset` comes from `with_progress`."""
    return {
        "id": dataset.pk,
        "title": dataset.title,
        "owner": dataset.owner.get_username(),
        "columns": dataset.columns,
        "rows": {"there": dataset.rows_there, "expected": dataset.rows_expected},
        "figures": dataset.columns_there == len(dataset.columns),
        "imported": dataset.imported_at is not None,
        "published": dataset.published_at is not None,
        "page": reverse("dataset", args=[dataset.pk]),
        "status": reverse("status", args=[dataset.pk]),
    }
