"""One call of a client: who asks, where, through which door; what operations are given besides their members."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.address import refuse, refuse_missing
from fnqueue.emulator.desk import Desk

_SCOPE = re.compile(r"Credential=([^/,\s]{1,128})/[^/,\s]{0,32}/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})/")
_ACCOUNT = re.compile(r"[0-9]{12}")
_URL_MAX = 2048
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
    gone: Callable[[], asyncio.Task[None]]

    def url(self, address: Address) -> str:
        return f"{self.origin}/{address.account}/{address.name}"

    def address(self, queue_url: str | None) -> Address:
        """Raises BrokerRefused. The host of a URL does not matter, and a bare name is the caller's own [P4]."""
        if not queue_url:
            refuse_missing("QueueUrl")
        found = of_path(queue_url_path(queue_url), self.account)
        if found is None:
            refuse("The specified queue does not exist.", "QueueDoesNotExist")
        account, name = found
        return Address(self.region, account, name)


def scope_of(authorization: str) -> Scope | None:
    found = _SCOPE.search(authorization)
    return Scope(*found.groups()) if found else None


def account_of(access_key: str, otherwise: str) -> str:
    """An access key of twelve digits is an account."""
    return access_key if _ACCOUNT.fullmatch(access_key) else otherwise


def origin_of(host: str, otherwise: str) -> str:
    return f"http://{host if _HOST.fullmatch(host) else otherwise}"


def queue_url_path(queue_url: str) -> str:
    if len(queue_url) > _URL_MAX:  # no queue's, and `urlsplit` remembers a hundred of what it was given
        return ""
    try:
        return urlsplit(queue_url).path
    except ValueError:
        return ""


def of_path(path: str, account: str) -> tuple[str, str] | None:
    """Account and name, from the last two parts of a path. None where that is no queue's."""
    parts = [part for part in path.split("/") if part]
    if len(parts) == 1:
        return account, parts[0]
    if len(parts) >= 2 and _ACCOUNT.fullmatch(parts[-2]):
        return parts[-2], parts[-1]
    return None


Operation = Callable[..., Awaitable[dict[str, object] | None]]
