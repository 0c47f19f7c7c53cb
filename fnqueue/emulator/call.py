"""One call of a client: who asks, where, through which door; what operations are given besides their members."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.address import of_url, refuse, refuse_missing
from fnqueue.emulator.desk import Desk, Work
from fnqueue.emulator.http import Gone

_SCOPE = re.compile(rb"Credential=([^/,\s]{1,128})/[^/,\s]{0,32}/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})/")
_REMEMBERED_MAX = 512
_ACCOUNT = re.compile(r"[0-9]{12}")
_HOST = re.compile(rb"[A-Za-z0-9.:\[\]_-]{1,255}")


class Caller(NamedTuple):
    """Who asks, as the head of a request says it: it is believed, signatures are not checked. `service`: that it was
    signed for; None: it was not. `origin`: what queue URLs begin with."""

    service: str | None
    region: str
    account: str
    origin: str


class Callers:
    """What many requests have in common is looked at once. `otherwise`: where a request does not say it."""

    def __init__(self, otherwise: Caller) -> None:
        self._otherwise = otherwise
        self._known = functools.lru_cache(maxsize=256)(self._of)

    def of(self, headers: Mapping[bytes, bytes]) -> Caller:
        authorization, host = headers.get(b"authorization", b""), headers.get(b"host", b"")
        begin = authorization.partition(b",")[0]  # the rest is different in each request
        said = begin if b"Credential=" in begin else authorization
        return (self._known if len(said) + len(host) <= _REMEMBERED_MAX else self._of)(said, host)

    def _of(self, authorization: bytes, host: bytes) -> Caller:
        origin = f"http://{host.decode('latin-1')}" if _HOST.fullmatch(host) else self._otherwise.origin
        scope = _SCOPE.search(authorization)
        if scope is None:
            return self._otherwise._replace(origin=origin)
        access_key, region, service = (part.decode("latin-1") for part in scope.groups())
        # An access key of twelve digits is an account.
        account = access_key if _ACCOUNT.fullmatch(access_key) else self._otherwise.account
        return Caller(service, region, account, origin)


class Call(NamedTuple):
    service: QueueService
    desk: Desk
    region: str
    account: str
    origin: str  # what queue URLs begin with
    trace: str | None
    gone: Gone

    def url(self, address: Address) -> str:
        return f"{self.origin}/{address.account}/{address.name}"

    def address(self, queue_url: str | None) -> Address:
        """Raises BrokerRefused. The host of a URL does not matter, and a bare name is the caller's own [P4]."""
        if not queue_url:
            refuse_missing("QueueUrl")
        found = of_url(queue_url, self.region, self.account)
        if found is None:
            refuse("The specified queue does not exist.", "QueueDoesNotExist")
        return found


Answer = dict[str, Any]


class Plan(NamedTuple):
    """One work for the engine, and what makes the answer of its value. An operation that takes more is a coroutine;
    this costs half as much.
    """

    work: Work
    shown: Callable[[Any], Answer | None]


Operation = Callable[..., Plan | Awaitable[Answer | None]]
