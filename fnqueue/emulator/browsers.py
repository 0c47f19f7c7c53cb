"""Web pages are kept out: a browser lets any page call a server on its own machine.

It says so in its headers, unless the page's own name was made to point here (DNS rebinding): then the Host is that
name. Programs send neither, and what a page may not call needs no answer about CORS.
Knows nothing of SQS.
"""

from __future__ import annotations

import functools
import ipaddress
from urllib.parse import urlsplit

from fnqueue.emulator.http import Request
from fnqueue.emulator.refusals import Refusal

#: No page has a name under these: they are never given out.
_NEVER_PUBLIC = ("localhost", "local", "internal", "test")


def refusal(request: Request, *, on_loopback: bool) -> Refusal | None:
    """Why this request is not answered; None when it is. `on_loopback`: only this machine is to reach the server."""
    headers = request.headers
    host = headers[b"host"].decode("latin-1") if b"host" in headers else ""
    if b"origin" in headers or b"sec-fetch-site" in headers:
        origin, site = request.header(b"origin"), request.header(b"sec-fetch-site")
        if (origin and origin != f"http://{host}") or site in ("cross-site", "same-site"):
            text = f"A web page of {origin[:200] or 'another site'} may not call the emulator. Call it from a program."
            return Refusal("AccessDenied", text)
    if on_loopback and may_be_a_pages(host):
        text = (
            f"The emulator listens on this machine only, and may not be called {host[:200]!r}, as a web page could "
            "be. Call it 127.0.0.1 or localhost, or start it with the --host that it is to be reached on."
        )
        return Refusal("AccessDenied", text)
    return None


@functools.lru_cache(maxsize=16)
def may_be_a_pages(host: str) -> bool:
    """Names without a dot are those of containers and of hosts files."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return True
    return "." in name and name.rpartition(".")[2] not in _NEVER_PUBLIC and not _is_ip(name)


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
