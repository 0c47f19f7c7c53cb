"""Wall time in a zone becomes an instant: what a clock change skips does not exist, what it repeats counts once.

Knows time zones; knows nothing of expressions.
Source: EventBridge Scheduler User Guide, "Daylight savings time".
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

NAME_LENGTH_MAX = 50


def find_zone(name: str) -> ZoneInfo | None:
    """The IANA zone of that name; None: there is none, or the machine has no time zone database."""
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a folder of the database, as "America"
        return None


def to_instant(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant, in UTC, at which clocks in `zone` show `wall` (naive). None: they never do.

    Raises OverflowError for one that is outside of the years 1 to 9999 in UTC.
    """
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return instant if to_wall(instant, zone) == wall else None


def to_wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """What clocks in `zone` show at `instant`: naive. Beyond the calendar's end, the end."""
    try:
        return instant.astimezone(zone).replace(tzinfo=None, fold=0)
    except OverflowError:  # whoever can send a ticket can write such a time into it
        return instant.min if instant.year == 1 else instant.max  # both naive
