"""Blobs in an S3 bucket, as `prefix/20423/<32 random characters>`, so that what is swept is listed day by day.

The bucket is this process's own configuration: a message names none. Credentials come from where AWS's own tools
take them. botocore without boto3's layer on top, as for the queue; made when first used, once per process, because
two processes on one TLS connection would read each other's answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fnqueue import forks
from fnqueue.errors import BlobsUnavailable, ExtraMissing
from fnqueue.security.blobs.url import S3Url

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 3
DELETED_AT_ONCE = 1000  # S3's limit for DeleteObjects
_MISSING = frozenset({"NoSuchKey", "404"})
_DAY = re.compile(r"[0-9]{5}")
_LONGEST = 300


class S3Place:
    """Safe between threads, and across a fork."""

    def __init__(self, url: S3Url) -> None:
        self._url = url
        self._lock = forks.ProcessLock()
        self._made: tuple[int, Any] | None = None
        self._abandoned: list[Any] = []  # a parent's: collecting it would close the parent's TLS sessions

    @property
    def shown(self) -> str:
        return self._url.shown

    def put(self, name: str, data: bytes) -> None:
        with self._troubles("put a blob into"):
            self._client().put_object(
                Bucket=self._url.bucket, Key=self._key(name), Body=data, ContentType="application/octet-stream"
            )

    def get(self, name: str, size: int) -> bytes | None:
        from botocore.exceptions import ClientError

        with self._troubles("get a blob from"):
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
        return [day for day in found if _DAY.fullmatch(day)]

    def _listed(self, prefix: str) -> Iterator[list[str]]:
        with self._troubles("list blobs of"):
            pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=self._url.bucket, Prefix=prefix)
            for page in pages:
                yield [found["Key"] for found in page.get("Contents", ())]

    def _client(self) -> Any:
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        with forks.UNFORKED.here(), self._lock.here():
            if self._made is None or self._made[0] != os.getpid():
                self._abandoned.append(self._made)
                self._made = (os.getpid(), _make(self._url))
            return self._made[1]

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
    import botocore
    from botocore.config import Config
    from botocore.credentials import EnvProvider
    from botocore.session import Session

    session = Session(profile=url.profile)
    if url.loopback and url.profile is None and EnvProvider().load() is None:
        # A server on this machine does not check who signs, and needs no real account's credentials.
        session.set_credentials("x", "x")
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
        user_agent=f"fnqueue Botocore/{botocore.__version__}",
        proxies={} if url.loopback else None,
        s3={"addressing_style": "path"} if url.endpoint else None,
    )
    return session.create_client("s3", region_name=url.region, endpoint_url=url.endpoint, config=config)
