"""One call of a client: who asks, where, through which door; what operations are given besides their members."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.address import of_url, refuse, refuse_missing
from fnqueue.emulator.desk import Desk
from fnqueue.emulator.http import Gone

_SCOPE = re.compile(rb"Credential=([^/,\s]{1,128})/[^/,\s]{0,32}/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})/")
_REMEMBERED_MAX = 250
_ACCOUNT = re.compile(r"[0-9]{12}")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


class Scope(NamedTuple):
    """What a signature says of who signed. It is believed: signatures are not checked."""

    access_key: str
    region: str
    service: str


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


def scope_of(authorization: bytes) -> Scope | None:
    # What a caller's requests have in common is before the first comma.
    begin = authorization.partition(b",")[0]
    return _scope_of(begin) if len(begin) <= _REMEMBERED_MAX and b"Credential=" in begin else _found(authorization)


def _found(authorization: bytes) -> Scope | None:
    found = _SCOPE.search(authorization)
    return Scope(*[part.decode("latin-1") for part in found.groups()]) if found else None


_scope_of = functools.lru_cache(maxsize=256)(_found)


def account_of(access_key: str, otherwise: str) -> str:
    """An access key of twelve digits is an account."""
    return access_key if _ACCOUNT.fullmatch(access_key) else otherwise


@functools.lru_cache(maxsize=64)
def origin_of(host: str, otherwise: str) -> str:
    return f"http://{host if _HOST.fullmatch(host) else otherwise}"


Operation = Callable[..., Awaitable[dict[str, object] | None]]
