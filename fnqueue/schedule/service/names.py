"""Where a schedule is: region, account, group and name, or its ARN. And what is said to one who asks for what is not.

Rows in brackets, here and in all of this room, are those of the specification sheet.
Knows nothing of tables.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from fnqueue.errors import BrokerRefused

DEFAULT_GROUP: Final = "default"
INVALID: Final = "ValidationException"
MISSING: Final = "ResourceNotFoundException"
CONFLICT: Final = "ConflictException"
QUOTA: Final = "ServiceQuotaExceededException"

_GROUP_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:scheduler:([a-z0-9-]{1,40}):([0-9]{12}):schedule-group/([0-9A-Za-z_.-]{1,64})"
)


class Place(NamedTuple):
    region: str
    account: str

    @property
    def full(self) -> str:
        """Its name in the file."""
        return f"{self.region}/{self.account}"

    def schedule_arn(self, group: str, name: str) -> str:  # [W12]
        return f"arn:aws:scheduler:{self.region}:{self.account}:schedule/{group}/{name}"

    def group_arn(self, group: str) -> str:
        return f"arn:aws:scheduler:{self.region}:{self.account}:schedule-group/{group}"


def of_full(full: str) -> Place:
    return Place(*full.split("/"))


def of_group_arn(arn: str) -> tuple[Place, str] | None:
    """The place and the group's name."""
    found = _GROUP_ARN.fullmatch(arn)
    return (Place(found[1], found[2]), found[3]) if found else None


def refuse(text: str, shape: str = INVALID) -> NoReturn:
    raise BrokerRefused(shape, text)


def refuse_missing_schedule(name: str) -> NoReturn:
    refuse(f"Schedule {name} does not exist.", MISSING)


def refuse_missing_group(name: str) -> NoReturn:
    refuse(f"Schedule group {name} does not exist.", MISSING)
