"""botocore's clients: made when first used, once per process.

Two of them from one session, because a client has one read timeout: `quick` for calls that answer at
once, so that a web request does not hang for the half minute that a long poll may, and `patient`
for long polls. After a fork the child makes its own and abandons its parent's: two processes on one
TLS connection would read each other's answers.

Knows nothing of queues.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

from fnqueue import forks, quotas
from fnqueue.aws import make_client, make_session
from fnqueue.broker.sqs.faults import translate
from fnqueue.broker.sqs.url import SqsUrl
from fnqueue.errors import ExtraMissing

CONNECT_SECONDS = 5
QUICK_SECONDS = 10
PATIENT_SECONDS = quotas.WAIT_TIME_SECONDS_MAX + 10  # or a poll that is only slow is cut, and what it brought is hidden
QUICK_ATTEMPTS = 3
PATIENT_ATTEMPTS = 2  # the poller has a loop of its own; this one is for an idle connection that the server closed
CONNECTIONS = 64

_live: weakref.WeakSet[Clients] = weakref.WeakSet()
_abandoned: list[object] = []  # what a fork left behind: collecting it would close the parent's TLS sessions


class Clients:
    """Safe between threads, and across a fork."""

    def __init__(self, url: SqsUrl) -> None:
        self._url = url
        self._lock = forks.ProcessLock()
        self._made: dict[str, Any] = {}
        self._session: Any = None
        self._pid = os.getpid()
        _live.add(self)

    def quick(self) -> Any:
        self._look_whose_they_are()
        return self._made.get("quick") or self._make("quick", QUICK_SECONDS, QUICK_ATTEMPTS)

    def patient(self) -> Any:
        self._look_whose_they_are()
        return self._made.get("patient") or self._make("patient", PATIENT_SECONDS, PATIENT_ATTEMPTS)

    def close(self) -> None:
        self._look_whose_they_are()
        with self._lock.here():
            made = list(self._made.values())
            self._made, self._session = {}, None
        for client in made:
            client.close()

    def abandon(self) -> None:
        """In a child after a fork: begin anew."""
        _abandoned.append((self._made, self._session))
        self._made, self._session, self._pid = {}, None, os.getpid()

    def _look_whose_they_are(self) -> None:
        """A fork that Python was not told of (uWSGI's) is seen at the next use."""
        if self._pid != os.getpid():
            with self._lock.here():
                if self._pid != os.getpid():
                    self.abandon()

    def _make(self, name: str, read_seconds: int, attempts: int) -> Any:
        with forks.UNFORKED.here(), self._lock.here():
            try:
                from botocore.exceptions import BotoCoreError
            except ModuleNotFoundError:
                raise ExtraMissing("an sqs:// url", "aws") from None
            if name not in self._made:
                try:
                    self._session = self._session or make_session(self._url.endpoint, self._url.profile)
                    self._made[name] = _client(self._session, self._url, read_seconds, attempts)
                except BotoCoreError as error:
                    raise translate(error, where=self._url.where, queue="") from error
            return self._made[name]


def _client(session: Any, url: SqsUrl, read_seconds: int, attempts: int) -> Any:
    return make_client(
        "sqs",
        region=url.region,
        endpoint=url.endpoint,
        connect_seconds=CONNECT_SECONDS,
        read_seconds=read_seconds,
        attempts=attempts,
        session=session,
        max_pool_connections=CONNECTIONS,
        # SQS checks every parameter itself, and botocore checks types only.
        parameter_validation=False,
    )


def _abandon_all() -> None:
    for clients in list(_live):
        clients.abandon()


os.register_at_fork(after_in_child=_abandon_all)
