"""The work that no visitor should wait for. Each task runs in a worker process, inside the app's context.

A task may run twice (a worker can be killed after the work and before it could say so), therefore each
one can be repeated: files are replaced whole, and deleting what is gone is no error.
Arguments are ids and sizes, not photographs: those lie in the folder that web and worker share.
"""

from __future__ import annotations

from flask import current_app

from example_apps.flask_photos.extensions import fn
from example_apps.flask_photos.gallery import Gallery
from example_apps.flask_photos.pictures import cut_thumbnail, lay_out_sheet
from fnqueue import DeadLetter, TaskContext
from fnqueue.policies import authenticated, role


def gallery() -> Gallery:
    return Gallery(current_app.instance_path)


# `read`: everybody who is logged in sees the progress of all pictures, not only of their own.
@fn.task(policy=authenticated, read=authenticated, retry=3, bind=True)
def make_thumbnail(context: TaskContext, photo_id: int, width: int) -> list[int]:
    """Cut one thumbnail of `width` pixels. Returns [width, height]."""
    source = gallery().original(photo_id)
    if not source.exists():
        raise DeadLetter(f"photograph {photo_id} was deleted before its thumbnail was cut")
    return list(cut_thumbnail(source, gallery().thumbnail(photo_id, width), width, context.progress))


@fn.task(policy=authenticated, read=authenticated, retry=3, bind=True)
def make_contact_sheet(context: TaskContext, sheet_id: int, photo_ids: list[int], columns: int) -> list[int]:
    """Lay out the photographs that are still there. Returns [width, height] in pixels."""
    kept = gallery()
    wanted = {photo.id: photo for photo in kept.photos()}
    pictures = [(kept.original(each), wanted[each].title) for each in photo_ids if each in wanted]
    return list(lay_out_sheet(pictures, kept.sheet_file(sheet_id), columns, context.progress))


@fn.task(policy=role("editor"), read=authenticated, retry=3)
def delete_photo(photo_id: int) -> bool:
    """Delete a photograph and its thumbnails. True if it was still there."""
    return gallery().delete(photo_id)
