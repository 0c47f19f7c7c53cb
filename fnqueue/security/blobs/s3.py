"""Blobs in an S3 bucket, as `prefix/20423/<32 random characters>`, so that what is swept is listed day by day.

The bucket is this process's own configuration: a message names none. Credentials come from where AWS's own tools
take them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fnqueue import forks
from fnqueue.aws import ProcessClient, make_client
from fnqueue.errors import BlobsUnavailable, ExtraMissing
from fnqueue.security.blobs.reference import DAY, FILE
from fnqueue.security.blobs.url import S3Url

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 3
DELETED_AT_ONCE = 1000  # S3's limit for DeleteObjects
_MISSING = frozenset({"NoSuchKey", "404"})
_LONGEST = 300


class S3Place:
    """Safe between threads, and across a fork."""

    def __init__(self, url: S3Url) -> None:
        self._url = url
        self._client = ProcessClient(lambda: _make(url))

    @property
    def shown(self) -> str:
        return self._url.shown

    def put(self, name: str, data: bytes) -> None:
        with self._troubles("put a blob into"):
            self._client().put_object(
                Bucket=self._url.bucket, Key=self._key(name), Body=data, ContentType="application/octet-stream"
            )

    def get(self, name: str, size: int) -> bytes | None:
        with self._troubles("get a blob from"):
            from botocore.exceptions import ClientError  # inside: who has none of it is told what to install

            try:
                found = self._client().get_object(Bucket=self._url.bucket, Key=self._key(name))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _MISSING:
                    return None
                raise
            body = found["Body"]
            try:
                # Its true length is not worth reading when it is another one.
                read: bytes = b"" if found["ContentLength"] != size else body.read(size + 1)
            finally:
                body.close()
            return read

    def delete(self, names: Iterable[str]) -> None:
        self._delete([self._key(name) for name in names])

    def sweep(self, before_day: int) -> int:
        gone = 0
        for day in self._days():
            if int(day) < before_day:
                for keys in self._listed(f"{self._prefix}{day}/"):
                    self._delete(keys)
                    gone += len(keys)
        return gone

    # ---------------------------------------------------------------- helpers

    @property
    def _prefix(self) -> str:
        return f"{self._url.prefix}/" if self._url.prefix else ""

    def _key(self, name: str) -> str:
        day, _, file = name.partition("-")
        return f"{self._prefix}{day}/{file}"

    def _delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), DELETED_AT_ONCE):
            chosen = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
            with self._troubles("delete blobs from"):
                said = self._client().delete_objects(Bucket=self._url.bucket, Delete={"Objects": chosen, "Quiet": True})
            for refused in said.get("Errors", ()):
                raise BlobsUnavailable(f"cannot delete blobs from {self.shown}: {refused.get('Code')}")

    def _days(self) -> list[str]:
        """Folders that are named after a day: in the same place may be other things than ours."""
        with self._troubles("list blobs of"):
            pages = self._client().get_paginator("list_objects_v2")
            found = [
                folder["Prefix"].removeprefix(self._prefix).rstrip("/")
                for page in pages.paginate(Bucket=self._url.bucket, Prefix=self._prefix, Delimiter="/")
                for folder in page.get("CommonPrefixes", ())
            ]
        return [day for day in found if DAY.fullmatch(day)]

    def _listed(self, prefix: str) -> Iterator[list[str]]:
        with self._troubles("list blobs of"):
            pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=self._url.bucket, Prefix=prefix)
            for page in pages:
                keys = [found["Key"] for found in page.get("Contents", ())]
                yield [key for key in keys if FILE.fullmatch(key.removeprefix(prefix))]

    @contextmanager
    def _troubles(self, what: str) -> Iterator[None]:
        with forks.importing():
            try:
                from botocore.exceptions import BotoCoreError, ClientError
            except ModuleNotFoundError:
                raise ExtraMissing("an s3:// url", "aws") from None
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            # Its text is left out: of some refusals it quotes the request that was signed.
            raise BlobsUnavailable(f"cannot {what} {self.shown}: S3 says {said.get('Code')}") from None
        except BotoCoreError as error:
            line = " ".join(str(error).split())[:_LONGEST]
            raise BlobsUnavailable(f"cannot {what} {self.shown}: {line}") from None


def _make(url: S3Url) -> Any:
    return make_client(
        "s3",
        region=url.region,
        endpoint=url.endpoint,
        profile=url.profile,
        connect_seconds=CONNECT_SECONDS,
        read_seconds=READ_SECONDS,
        attempts=ATTEMPTS,
        s3={"addressing_style": "path"} if url.endpoint else None,
    )
