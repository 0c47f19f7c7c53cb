"""Where a queue is: region, account and name, or its ARN or URL. And what is said to one who asks for what cannot be.

In the file a queue of the service is named `region/account/name`, so queues of one name do not meet, and none
meets a queue that a worker made there: those have no slash.
Knows nothing of tables.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from fnqueue.errors import BrokerRefused

INVALID_VALUE = "InvalidParameterValueException"
MISSING = "MissingRequiredParameterException"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
_ARN = re.compile(r"arn:aws[a-z-]*:sqs:([a-z0-9-]{1,40}):([0-9]{12}):([A-Za-z0-9_.-]{1,80})")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REMEMBERED_MAX = 300
_URL_MAX = 2048


class Address(NamedTuple):
    region: str
    account: str
    name: str

    @property
    def full(self) -> str:
        """Its name in the file."""
        return f"{self.region}/{self.account}/{self.name}"

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"


def of_full(full: str) -> Address | None:
    """None for a queue that a worker made."""
    parts = full.split("/")
    return Address(*parts) if len(parts) == 3 else None


def of_arn(arn: str) -> Address | None:
    found = _ARN.fullmatch(arn)
    return Address(*found.groups()) if found else None


def of_url(url: str, region: str, account: str) -> Address | None:
    """Of a queue URL. Its host does not matter, and a bare name is the caller's own [P4]."""
    return (_known if len(url) <= _REMEMBERED_MAX else _of_url)(url, region, account)


def _of_url(url: str, region: str, account: str) -> Address | None:
    found = of_path(url_path(url), account)
    return None if found is None else Address(region, *found)


_known = functools.lru_cache(maxsize=1024)(_of_url)


def url_path(url: str) -> str:
    if len(url) > _URL_MAX:  # no queue's, and `urlsplit` remembers a hundred of what it was given
        return ""
    try:
        return urlsplit(url).path
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


def name_is_good(name: str) -> bool:
    return bool(_NAME.fullmatch(name) or _FIFO_NAME.fullmatch(name))


def refuse(text: str, shape: str = INVALID_VALUE) -> NoReturn:
    raise BrokerRefused(shape, text)


def refuse_value(value: object, parameter: str, why: str) -> NoReturn:
    refuse(f"Value {value} for parameter {parameter} is invalid. Reason: {why}")


def refuse_missing(parameter: str) -> NoReturn:
    refuse(f"The request must contain the parameter {parameter}.", MISSING)
