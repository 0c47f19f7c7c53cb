"""Keys of each suite, and what web nodes, workers and dashboards are given of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from fnqueue.security.keyfile import share
from fnqueue.security.keystrings import new_key
from fnqueue.security.suites import DIGITS
from tests.servers import moto_server

SUITES = ("local", "signed", "split", "kms")
SIGNED = ("signed", "split", "kms")
#: What a process without the part is told that it lacks.
NEEDED_TO_SEAL = {"signed": "fnqk1-shared-", "split": "fnqk1-seal-", "kms": ";kms=arn:"}
NEEDED_TO_OPEN = {"signed": "fnqk1-shared-", "split": "fnqk1-open-", "kms": ";kms=arn:"}


def whole(suite: str) -> str:
    return new_key(DIGITS[suite], kms=kms_key() if suite == "kms" else None)


def given(key: str, role: str) -> str:
    """What a process of this role has of a key: in suite 1 all of it."""
    return key if "-root-" in key else share(key, role)


def kms_key(endpoint: str | None = None) -> str:
    """A new key of moto's KMS, as `kms=` names it. `endpoint`: of who stands between, if not moto's own."""
    arn = kms_client().create_key()["KeyMetadata"]["Arn"]
    return f"{arn}?endpoint={endpoint or moto_server()}"


@cache
def kms_client() -> Any:
    """An administrator's."""
    from botocore.session import Session

    session = Session()
    session.set_credentials("x", "x")
    return session.create_client("kms", region_name="eu-west-1", endpoint_url=moto_server())


def sealing_part(key: str) -> str:
    """That of a whole key which says who may read."""
    parts, _, options = key.partition(";")
    return next((each for each in options.split(";") if each.startswith("kms=")), "") or parts.split("+")[1]


def signing_part(key: str) -> str:
    return key.partition(";")[0].split("+")[0]


def with_sealing_part_of(key: str, other: str) -> str:
    return key.replace(sealing_part(key), sealing_part(other))
