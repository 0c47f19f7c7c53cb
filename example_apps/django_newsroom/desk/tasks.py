"""The work that no editor should wait for: import, figures, mail, publishing, throwing away.

A task may run twice (a worker can be killed after the work and before it could say so), therefore each one can be
repeated: rows and columns are written once whatever happens, and what is gone is no error. What a task defers in a
transaction leaves when that commits, so the next task always finds the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.template.loader import render_to_string
from django.utils import timezone

from django_fnqueue import fn
from django_fnqueue.policies import owns
from example_apps.django_newsroom.desk.accounts import EDITORS
from example_apps.django_newsroom.desk.figures import summary
from example_apps.django_newsroom.desk.models import Column, Dataset, Row
from example_apps.django_newsroom.desk.tables import rows
from fnqueue import TaskContext
from fnqueue.policies import authenticated, role

#: Rows that are written in one transaction. Between two of them a worker may be killed, and another goes on.
BATCH_ROWS = 100


# `read`: everybody who is logged in sees how far an import is, not only its editor.
@fn.task(policy=role(EDITORS), read=authenticated, retry=3, bind=True)
def import_dataset(context: TaskContext, dataset_id: int) -> int:
    """Write the file's rows into the database, from where an earlier try got to. Returns how many there are."""
    dataset = Dataset.objects.filter(pk=dataset_id).first()
    if dataset is None:
        return 0  # its owner threw it away meanwhile
    done = dataset.rows.count()
    with dataset.file.open("rb") as file:
        todo = islice(rows(file.read()), done, None)
    for batch in _batches(todo):
        numbered = [Row(dataset=dataset, number=done + n, cells=cells) for n, cells in enumerate(batch, 1)]
        try:
            Row.objects.bulk_create(numbered, ignore_conflicts=True)
        except IntegrityError:
            return 0  # thrown away just now
        done += len(batch)
        context.progress(done, dataset.rows_expected, "rows")
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset_id, imported_at=None).update(imported_at=timezone.now())
        compute_figures.defer(dataset_id)
    return done


@fn.task(policy=role(EDITORS), read=authenticated, retry=3)
def compute_figures(dataset_id: int) -> int:
    """Say of each column what can be said, then tell the editor. Returns the number of columns."""
    dataset = Dataset.objects.filter(pk=dataset_id).first()
    if dataset is None:
        return 0
    cells = list(dataset.rows.values_list("cells", flat=True))
    found = [
        Column(dataset=dataset, position=n, name=name, figures=summary([row[n] for row in cells]))
        for n, name in enumerate(dataset.columns)
    ]
    with transaction.atomic():
        Column.objects.bulk_create(found, ignore_conflicts=True)
        # Whoever repeats this finds that the mail has been asked for: nobody gets it twice.
        mail_figures.using(dedupe=f"figures of {dataset_id}").defer(dataset_id)
    return len(dataset.columns)


@fn.task(policy=role(EDITORS), retry=5, once=True)
def mail_figures(dataset_id: int) -> bool:
    """Send the figures to the dataset's owner. True if there was somebody to send them to."""
    dataset = Dataset.objects.select_related("owner").filter(pk=dataset_id).first()
    if dataset is None or not dataset.owner.email:
        return False
    columns = list(dataset.column_figures.all())
    text = render_to_string("desk/figures.txt", {"dataset": dataset, "columns": columns})
    # The title is one line of at most 120 characters: the form saw to that, and Django refuses a heading of two.
    send_mail(f"{dataset.title}: {dataset.rows_expected} rows imported", text, None, [dataset.owner.email])
    return True


@fn.task(policy=role("staff"), read=authenticated, retry=3, bind=True)
def publish_dataset(context: TaskContext, dataset_id: int) -> bool:
    """For staff only. True if it was not published before."""
    unpublished = Dataset.objects.filter(pk=dataset_id, published_at=None).exclude(imported_at=None)
    return bool(unpublished.update(published_at=timezone.now(), published_by_id=int(context.principal.id)))


@fn.task(policy=owns(Dataset, argument="dataset_id"), read=authenticated, retry=3)
def delete_dataset(dataset_id: int) -> bool:
    """For its owner only. True if it was still there."""
    dataset = Dataset.objects.filter(pk=dataset_id).first()
    if dataset is None:
        return False
    dataset.delete()
    dataset.file.delete(save=False)  # after the row: a file without a row is untidy, a row without its file is broken
    return True


def _batches(todo: Iterator[list[str]]) -> Iterator[Sequence[list[str]]]:
    while batch := list(islice(todo, BATCH_ROWS)):
        yield batch
