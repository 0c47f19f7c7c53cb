"""The ring of a secret in AWS Secrets Manager: FNQUEUE_KEYS=secretsmanager://REGION/NAME[?endpoint=...].

The secret's text is a ring's text. It is asked for at first use and once a minute; whoever asks meanwhile gets the
ring of before and waits for nothing. What cannot be had is asked for again after some seconds and not at every call,
and a ring that was good once stays: a process that runs does not stop because AWS does not answer.
Credentials are botocore's own business. Knows nothing of settings or messages.
"""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from fnqueue import forks
from fnqueue.aws import hide_answers, is_endpoint, make_client
from fnqueue.clock import Clock
from fnqueue.errors import ExtraMissing, FnQueueError, KeyInvalid, KeysMissing
from fnqueue.security.keyring import KeyRing

SCHEME: Final = "secretsmanager://"
FRESH_SECONDS: Final = 60.0
#: After a failure.
RETRY_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 2
ATTEMPTS: Final = 2
READ_SECONDS: Final = 5  # a request of a web process may wait for it
_CURES: Final = {
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on it to this process",
    "DecryptionFailure": "allow kms:Decrypt with its KMS key to this process",
    "ResourceNotFoundException": "there is no such secret in this account and region",
}
_log = logging.getLogger("fnqueue.keys")


class SecretKeys:
    """Safe between threads, and across a fork. Raises KeyInvalid for a url that is none."""

    def __init__(self, url: str, clock: Clock) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._region, self._name = parts.netloc, unquote(parts.path[1:])
        self._endpoint = query.pop("endpoint", [None])[0]
        no_place = self._endpoint is not None and not is_endpoint(self._endpoint)
        if not url.startswith(SCHEME) or not self._region or "@" in self._region or not self._name or query or no_place:
            raise KeyInvalid(f"it is no url of a secret: {SCHEME}REGION/NAME, and perhaps ?endpoint=http://...")
        self._clock, self._lock = clock, forks.ProcessLock()
        #: What is wrong with the secret as it is now; None while the ring is the secret's.
        self.fault: str | None = None
        self._ring: KeyRing | None = None
        self._version: str | None = None
        self._next = 0.0

    def ring(self) -> KeyRing:
        """The keys of now, at most a minute old. Raises SettingsInvalid, KeysMissing or ExtraMissing when there never
        was a good one."""
        ring, lock = self._ring, self._lock.here()
        if ring is not None and (self._clock.monotonic() < self._next or not lock.acquire(blocking=False)):
            return ring
        if ring is None:
            lock.acquire()
        try:
            return self._refreshed()
        finally:
            lock.release()

    def text(self) -> str:
        """The secret's text as it is now, for whoever changes it."""
        return self._get()[0]

    def _refreshed(self) -> KeyRing:
        now, ring = self._clock.monotonic(), self._ring
        if now < self._next:
            if ring is None:
                raise KeysMissing(self.fault)
            return ring
        try:
            text, version = self._get()
            if ring is None or version != self._version:
                fresh = KeyRing.from_text(text, source=str(self))
                if ring is not None:
                    _log.info("reread %s: %r", self, fresh)
                self._ring = ring = fresh
        except FnQueueError as error:
            self._next = now + RETRY_SECONDS
            if ring is not None and str(error) != self.fault:
                _log.warning("the keys of before stay in use: %s", error)
            self.fault = str(error)
            if ring is None:
                raise
            return ring
        self._version, self.fault, self._next = version, None, now + FRESH_SECONDS
        return ring

    def _get(self) -> tuple[str, str]:
        """Its text and its version. Raises KeysMissing, ExtraMissing."""
        with forks.importing():
            try:
                from botocore.exceptions import BotoCoreError, ClientError
            except ModuleNotFoundError:
                raise ExtraMissing(f"FNQUEUE_KEYS={SCHEME}...", "aws") from None
        try:
            # A client for each time: once a minute, and no connection that a forked child could inherit.
            with forks.UNFORKED.here():
                client = _client(self._region, self._endpoint)
            said = client.get_secret_value(SecretId=self._name)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            cure = f"; {_CURES[code]}" if code in _CURES else ""
            raise KeysMissing(f"cannot read {self}: AWS says {code}{cure}") from None
        except BotoCoreError as error:
            raise KeysMissing(f"cannot read {self}: {' '.join(str(error).split())[:300]}") from None
        if not isinstance(said.get("SecretString"), str):
            raise KeysMissing(f"cannot read {self}: the secret is no text")
        return said["SecretString"], str(said.get("VersionId"))

    def __str__(self) -> str:
        return f"{SCHEME}{self._region}/{self._name}"

    def __repr__(self) -> str:
        return f"<SecretKeys {self} {self._ring!r}>"


def _client(region: str, endpoint: str | None) -> Any:
    hide_answers(b'"SecretString"')
    return make_client(
        "secretsmanager",
        region=region,
        endpoint=endpoint,
        connect_seconds=CONNECT_SECONDS,
        read_seconds=READ_SECONDS,
        attempts=ATTEMPTS,
    )
