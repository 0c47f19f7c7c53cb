"""AWS's services through botocore: where one is asked, with whose credentials, and how patiently.

botocore without boto3's layer on top: the same client class, 50 ms and 3 MB less at the start. It is imported when a
first client is made; who makes one has told already, in its own words, when it is not installed.
Knows no service: queues, keys, secrets and blobs say what they ask.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from fnqueue import forks


def is_endpoint(text: str) -> bool:
    """Whether it is a url of a server, as http://127.0.0.1:9324, and holds no credentials."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, a broken IPv6 address
        return False
    return valid and not (parts.query or parts.fragment or "@" in text)


def is_loopback(endpoint: str | None) -> bool:
    """Whether the endpoint is this machine's own. None: Amazon's."""
    host = urlsplit(endpoint).hostname or "" if endpoint is not None else ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_session(endpoint: str | None, profile: str | None) -> Any:
    from botocore.credentials import EnvProvider
    from botocore.session import Session

    session = Session(profile=profile)
    if is_loopback(endpoint) and profile is None and EnvProvider().load() is None:
        # A server on this machine asks for a signature and does not check it. Not looking further also
        # keeps a real account's credentials away from it, and spares a laptop the wait for a role.
        session.set_credentials("x", "x")
    return session


def make_client(
    service: str,
    *,
    region: str | None,
    endpoint: str | None,
    profile: str | None = None,
    connect_seconds: float,
    read_seconds: float,
    attempts: int,
    session: Any = None,
    **config: Any,
) -> Any:
    """A client of one service. `attempts` counts the first; `config`: more of botocore's Config."""
    import botocore
    from botocore.config import Config

    return (session or make_session(endpoint, profile)).create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            tcp_keepalive=True,
            # botocore would put its own text together anew, twice a call: 0.3 of 2 ms.
            user_agent=f"fnqueue Botocore/{botocore.__version__}",
            # A proxy knows no way to our loopback.
            proxies={} if is_loopback(endpoint) else None,
            **config,
        ),
    )


class ProcessClient:
    """A client that is made when first used, once per process: two processes on one TLS connection would read each
    other's answers. Safe between threads, and across a fork."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = forks.ProcessLock()
        self._made: tuple[int, Any] | None = None
        self._abandoned: list[Any] = []  # a parent's: collecting it would close the parent's TLS sessions

    def __call__(self) -> Any:
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        with forks.UNFORKED.here(), self._lock.here():
            if self._made is None or self._made[0] != os.getpid():
                self._abandoned.append(self._made)
                self._made = (os.getpid(), self._make())
            return self._made[1]


def hide_answers(marker: bytes) -> None:
    """Where all loggers write everything, botocore's would write each answer: those with this text are left out."""
    logging.getLogger("botocore.parsers").addFilter(_without(marker))


@cache  # one filter for a marker, however often it is asked for
def _without(marker: bytes) -> Callable[[logging.LogRecord], bool]:
    def holds_none(record: logging.LogRecord) -> bool:
        return not any(isinstance(each, bytes) and marker in each for each in record.args or ())

    return holds_none
