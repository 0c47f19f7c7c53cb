"""FNQUEUE_BLOBS_URL: `s3://bucket/prefix?region=eu-west-1`, `file:///var/lib/shop/blobs`, or `none`.

Holds no credential: those come from where AWS's own tools take them, and an error here never quotes one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from fnqueue.aws import is_endpoint, is_loopback
from fnqueue.errors import OptionInvalid

NO_BLOBS = "none"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*)?")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
_NAMES = ("region", "endpoint", "profile")
_HOW = "write s3://bucket/prefix, file:///absolute/folder, or none"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Url:
    """`region` None: the one that AWS's own settings name."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None

    @property
    def loopback(self) -> bool:
        return is_loopback(self.endpoint)

    @property
    def shown(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" + (f" at {self.endpoint}" if self.endpoint else "")


def parse_blobs_url(url: str) -> S3Url | str | None:
    """An S3Url; the path of a folder; None for "none". Raises OptionInvalid, which quotes no credential."""
    if url == NO_BLOBS:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        raise OptionInvalid(f"is no url: {_HOW}") from None
    if "@" in parts.netloc:
        raise OptionInvalid(f"holds credentials, which have no place in a url: {_HOW}")
    if parts.scheme == "file":
        return _folder(url)
    if parts.scheme != "s3":
        raise OptionInvalid(f"begins with neither s3:// nor file://: {_HOW}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    bucket, prefix = parts.netloc, parts.path.strip("/")
    faults = [f"{name!r} is no option of it (there are {', '.join(_NAMES)})" for name in query if name not in _NAMES]
    if not _BUCKET.fullmatch(bucket):
        faults.append("its bucket is none")
    if not _PREFIX.fullmatch(prefix) or ".." in prefix.split("/"):
        faults.append("its prefix takes letters, digits, and -_./")
    if parts.fragment:
        faults.append("# has no meaning in it")
    if "region" in query and not _REGION.fullmatch(query["region"]):
        faults.append("its region must be one of AWS's, as eu-west-1")
    if "endpoint" in query and not is_endpoint(query["endpoint"]):
        faults.append("its endpoint must be like http://127.0.0.1:9000")
    if faults:
        raise OptionInvalid("; ".join(faults))
    return S3Url(
        bucket=bucket,
        prefix=prefix,
        region=query.get("region"),
        endpoint=query.get("endpoint") or None,
        profile=query.get("profile") or None,
    )


def _folder(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.strip("/") or "\x00" in path:
        raise OptionInvalid("a folder is absolute and has three slashes: file:///var/lib/shop/blobs")
    return path.rstrip("/")
