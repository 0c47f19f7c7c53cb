"""A visitor of an example who speaks HTTP as a browser does: cookies, forms with their token, files.

Standard library only, and nothing of the application: what works here works over the network.
"""

from __future__ import annotations

import json
import re
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Forms:
    """What an application's forms call things."""

    login: str = "/login"
    name: str = "name"
    password: str = "password"
    token: str = "csrf_token"


class Visitor:
    """One session. `base`: as http://127.0.0.1:5000. Every request ends after `timeout_seconds`."""

    def __init__(self, base: str, *, forms: Forms | None = None, timeout_seconds: float = 15) -> None:
        self.base, self._forms, self._timeout = base, forms or Forms(), timeout_seconds
        self._token = ""
        # No proxy: a proxy of the environment must not be asked for 127.0.0.1.
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        ).open

    def log_in(self, name: str, password: str) -> None:
        forms = self._forms
        self._take_token(self.get(forms.login))
        answer = self.post(forms.login, {forms.name: name, forms.password: password})
        if answer.status != 200:
            raise ValueError(f"{name} could not log in: HTTP {answer.status}")
        self._take_token(self.get("/"))  # a session that begins may have another

    def _take_token(self, page: Answer) -> None:
        found = re.search(rf'name="{self._forms.token}" value="([^"]+)"', page.body.decode())
        if found is None:
            raise ValueError(f"a page has no form with {self._forms.token}: HTTP {page.status}")
        self._token = found[1]

    def get(self, url: str, *, accept: str = "*/*") -> Answer:
        return self._ask(urllib.request.Request(self._absolute(url), headers={"Accept": accept}))

    def read(self, url: str) -> Any:
        """The JSON at `url`. Raises ValueError for any answer but 200."""
        answer = self.get(url, accept="application/json")
        if answer.status != 200:
            raise ValueError(f"GET {urllib.parse.urlsplit(url).path}: HTTP {answer.status}")
        return answer.json()

    def post(self, url: str, fields: Mapping[str, str] | None = None) -> Answer:
        """Send a form; refusals come as JSON."""
        body = urllib.parse.urlencode({**(fields or {}), self._forms.token: self._token}).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        return self._ask(urllib.request.Request(self._absolute(url), body, headers, method="POST"))

    def upload(self, url: str, field: str, files: Sequence[Path], *, kind: str = "image/jpeg") -> Answer:
        """Send the files as one multipart form."""
        boundary = secrets.token_hex(16)
        parts = [_part(boundary, f'name="{self._forms.token}"', None, self._token.encode())]
        for file in files:
            parts.append(_part(boundary, f'name="{field}"; filename="{file.name}"', kind, file.read_bytes()))
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        headers = {"Accept": "application/json", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._ask(urllib.request.Request(self._absolute(url), body, headers, method="POST"))

    def _absolute(self, url: str) -> str:
        return urllib.parse.urljoin(self.base, url)

    def _ask(self, request: urllib.request.Request) -> Answer:
        try:
            with self._open(request, timeout=self._timeout) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:  # an answer as good as any
            with error:
                return Answer(error.code, error.read())


def _part(boundary: str, disposition: str, kind: str | None, content: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n"
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + content + b"\r\n"
