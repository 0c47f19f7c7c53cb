"""What the newsroom keeps: datasets as they were uploaded, their rows, and what was found in each column."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Dataset(models.Model):
    """A table that an editor uploaded. `imported_at` unset: a worker is at it, or will be."""

    title = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="datasets")
    file = models.FileField(upload_to="datasets/")
    columns = models.JSONField()
    rows_expected = models.PositiveIntegerField()
    uploaded_at = models.DateTimeField(auto_now_add=True)
    imported_at = models.DateTimeField(null=True)
    published_at = models.DateTimeField(null=True)
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    #: The id of the call that imports it.
    call = models.CharField(max_length=26, blank=True)

    class Meta:
        ordering = ("-uploaded_at", "-pk")

    def __str__(self) -> str:
        return self.title


class Row(models.Model):
    """One row as it stood in the file: texts, in the order of the dataset's columns. `number` counts from 1."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField()
    cells = models.JSONField()

    class Meta:
        ordering = ("number",)
        # An import that is repeated writes no row twice.
        constraints = (models.UniqueConstraint(fields=("dataset", "number"), name="one_row_per_number"),)


class Column(models.Model):
    """The figures of one column: see `figures.summary`."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="column_figures")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    figures = models.JSONField()

    class Meta:
        ordering = ("position",)
        constraints = (models.UniqueConstraint(fields=("dataset", "position"), name="one_column_per_position"),)
