"""What is shown of a photograph and of a contact sheet, as plain data: for the template and for JSON alike."""

from __future__ import annotations

from typing import Any

from flask import url_for

from example_apps.flask_photos.extensions import fn
from example_apps.flask_photos.gallery import Photo, Sheet


def photo_card(photo: Photo) -> dict[str, Any]:
    """What page and JSON show. `calls`: those still under way, with the urls that tell their status."""
    thumbnails = [
        {
            "width": each.width,
            "url": url_for("photos.thumbnail", photo_id=photo.id, width=each.width),
            "ready": each.ready,
        }
        for each in photo.thumbnails
    ]
    under_way = [(f"{each.width} px", each.call) for each in photo.thumbnails if not each.ready]
    if photo.deletion:
        under_way = [("deletion", photo.deletion)]
    return {
        "id": photo.id,
        "title": photo.title,
        "alt": photo.alt,
        "size": [photo.width, photo.height],
        "bytes": photo.bytes,
        "owner": photo.owner,
        "deleting": photo.deletion is not None,
        "thumbnails": thumbnails,
        "calls": [{"what": what, "status": _status_url(call)} for what, call in under_way],
        "total": len(photo.thumbnails),
    }


def sheet_card(sheet: Sheet) -> dict[str, Any]:
    calls = [] if sheet.ready or not sheet.call else [{"what": "contact sheet", "status": _status_url(sheet.call)}]
    url = url_for("photos.sheet", sheet_id=sheet.id)
    return {
        "id": sheet.id,
        "photos": sheet.photos,
        "owner": sheet.owner,
        "url": url,
        "ready": sheet.ready,
        "calls": calls,
    }


def _status_url(call: str) -> str:
    """Signed anew for each page: the token in it is for this session and ends after a quarter of an hour."""
    return fn.status_url(fn.handle(call))
