"""`kms=` of a key: the ARN of a KMS key, and where KMS is asked when that is not Amazon's own place for the region.

    arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab?endpoint=http://127.0.0.1:4566

Holds no secret: credentials come from where AWS's own tools take them. Knows nothing of botocore.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from fnqueue.aws import is_endpoint, is_loopback
from fnqueue.errors import KeyInvalid
from fnqueue.security.keystrings import key_id_of

_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z]{2,}(?:-[a-z0-9]+)+):[0-9]{12}:key/[A-Za-z0-9-]{1,64}")
_NAMES: Final = ("endpoint", "profile")
_LIKE: Final = "write it as kms=arn:aws:kms:REGION:ACCOUNT:key/ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """`endpoint` None: Amazon's own for the region. `profile`: one of ~/.aws/config."""

    arn: str
    region: str
    endpoint: str | None = None
    profile: str | None = None

    @property
    def key_id(self) -> str:
        """8 characters a-z2-7: what the header's `ek` says."""
        return key_id_of(b"kms " + self.arn.encode())

    @property
    def loopback(self) -> bool:
        """The endpoint is this machine's own."""
        return is_loopback(self.endpoint)

    @property
    def shown(self) -> str:
        """For errors and logs."""
        return self.arn + (f" at {self.endpoint}" if self.endpoint else "")


def parse_kms_key(text: str) -> KmsKey:
    """Raises KeyInvalid, which quotes nothing that may be a credential."""
    arn, _, rest = text.partition("?")
    if ":alias/" in arn:
        # An alias can be pointed at another key, and whatever was sealed before would not open any more.
        raise KeyInvalid("kms= names an alias; name the key that it stands for, so that what waits stays readable")
    match = _ARN.fullmatch(arn)
    if match is None:
        raise KeyInvalid(f"kms= is no ARN of a KMS key; {_LIKE}")
    try:
        pairs = parse_qsl(rest, keep_blank_values=True, strict_parsing=True) if rest else []
    except ValueError:
        pairs = [("", "")]
    options = dict(pairs)
    if len(options) != len(pairs) or not set(options) <= set(_NAMES) or "" in options.values():
        raise KeyInvalid(f"kms= takes {' and '.join(_NAMES)} behind the ARN's '?', once each, and no others")
    endpoint = options.get("endpoint")
    if endpoint is not None and not is_endpoint(endpoint):
        raise KeyInvalid("the endpoint in kms= must be like http://127.0.0.1:4566")
    return KmsKey(
        arn=arn,
        region=match[1],
        endpoint=endpoint.rstrip("/") if endpoint else None,
        profile=options.get("profile"),
    )
