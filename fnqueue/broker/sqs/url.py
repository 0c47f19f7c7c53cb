"""`sqs://eu-west-1/shop-?endpoint=http://127.0.0.1:9324` becomes an `SqsUrl`.

The host is the region, the path is the prefix that every queue name gets. Credentials have no place
in it: they come from where AWS's own tools take them, and an error here never quotes them.
A server on loopback is a laptop's: queues may be made at first use and no account is needed.
Knows nothing of botocore.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from fnqueue import quotas
from fnqueue.aws import is_endpoint, is_loopback
from fnqueue.errors import OptionInvalid

_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
_PREFIX = re.compile(r"[A-Za-z0-9_-]*")
_ACCOUNT = re.compile(r"\d{12}")
_NAMES = ("endpoint", "account", "profile", "max_body_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsUrl:
    """Holds no secret, so its repr may be printed."""

    region: str
    prefix: str = ""
    endpoint: str | None = None  # None: Amazon's own for the region
    account: str | None = None  # twelve digits: queues of another account
    profile: str | None = None  # a profile of ~/.aws/config
    max_body_bytes: int = quotas.BODY_BYTES_MAX

    @property
    def loopback(self) -> bool:
        """The endpoint is this machine's own."""
        return is_loopback(self.endpoint)

    @property
    def shown(self) -> str:
        """For banners and logs: `sqs://eu-west-1/shop- at http://127.0.0.1:9324`."""
        return f"sqs://{self.region}/{self.prefix}" + (f" at {self.endpoint}" if self.endpoint else "")

    @property
    def where(self) -> str:
        """For errors: what did not answer."""
        return self.endpoint or f"Amazon SQS in {self.region}"


def parse_sqs_url(url: str) -> SqsUrl:
    """Raises OptionInvalid (a ValueError) with every fault of the url, and never with a credential."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # Not quoted: what stands before the @ is a key and its secret in other libraries' urls.
        raise OptionInvalid(
            "an sqs url holds no credentials: leave them to AWS_PROFILE, a role or the environment, "
            "as in sqs://eu-west-1/shop-"
        )
    query, faults = _query(parts)
    faults += _place_faults(parts)
    endpoint = query.get("endpoint")
    if endpoint is not None:
        faults += _endpoint_faults(endpoint)
    if "account" in query and not _ACCOUNT.fullmatch(query["account"]):
        faults.append(f"account={query['account']!r} must be twelve digits")
    size = _body_bytes(query.get("max_body_bytes"), faults)
    if faults:
        raise OptionInvalid("; ".join(faults))
    return SqsUrl(
        region=parts.netloc,
        prefix=parts.path.removeprefix("/"),
        endpoint=endpoint.rstrip("/") if endpoint else None,
        account=query.get("account"),
        profile=query.get("profile"),
        max_body_bytes=size,
    )


def _place_faults(parts: SplitResult) -> list[str]:
    faults = []
    if parts.scheme != "sqs":
        faults.append(f"an sqs url begins with sqs://, not {parts.scheme}://")
    if not _REGION.fullmatch(parts.netloc):
        faults.append(f"region {parts.netloc!r} must be one of AWS's, as in sqs://eu-west-1/shop-")
    prefix = parts.path.removeprefix("/")
    if not _PREFIX.fullmatch(prefix):
        faults.append(f"prefix {prefix!r} takes letters, digits, hyphens and underscores only")
    elif len(prefix) >= quotas.QUEUE_NAME_MAX:
        faults.append(f"prefix {prefix!r} leaves no room in the {quotas.QUEUE_NAME_MAX} characters of a queue name")
    if parts.fragment:
        faults.append(f"#{parts.fragment} has no meaning in an sqs url")
    return faults


def _query(parts: SplitResult) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    faults = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f" (there are {', '.join(_NAMES)})"
            faults.append(f"{name!r} is no option of an sqs url{hint}")
        elif name in found:
            faults.append(f"{name!r} stands twice")
        elif not value:
            faults.append(f"{name}= is empty")
        else:
            found[name] = value
    return found, faults


def _endpoint_faults(endpoint: str) -> list[str]:
    if "@" in endpoint:
        return ["the endpoint holds credentials, which have no place in a url"]
    if not is_endpoint(endpoint):
        shown = re.sub("([?#]).*", r"\1...", endpoint)  # what follows may be a token
        return [f"endpoint={shown!r} must be like http://127.0.0.1:9324"]
    return []


def _body_bytes(text: str | None, faults: list[str]) -> int:
    if text is None:
        return quotas.BODY_BYTES_MAX
    if text.isdecimal() and 1024 <= int(text) <= quotas.BODY_BYTES_MAX:
        return int(text)
    faults.append(f"max_body_bytes={text!r} must be 1024 to {quotas.BODY_BYTES_MAX}")
    return quotas.BODY_BYTES_MAX
