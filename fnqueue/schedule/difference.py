"""What differs between the schedules that are wanted and those that EventBridge has, field by field.

EventBridge replaces a schedule as a whole, so a single field that somebody edited there is enough for an update. A
ticket is compared by what it says, for each sealing differs; what its arguments are is not shown. Three things are
left as they are: a KMS key that was chosen there, a start that is still one of the schedule's times, and schedules in
the group whose ticket no key of ours opens or is of another environment, or that have none: those are somebody else's.
Pure: knows no network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from fnqueue.schedule.expression import Cron, Expression, Rate
from fnqueue.schedule.ticket import Ticket, read_input
from fnqueue.security.keyring import KeyRing

Act = Literal["create", "update", "delete", "unchanged", "foreign"]
_NOT_OURS_TO_SAY: Final = frozenset(
    {"Arn", "GroupName", "CreationDate", "LastModificationDate", "KmsKeyArn", "ResponseMetadata", "StartDate"}
)
_SECRET: Final = frozenset({"args", "kwargs", "options"})
_LONGEST: Final = 120


class Change(NamedTuple):
    """Of one field. None: it is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`members` None: it is over. `ticket`: what is sealed in its Input."""

    name: str
    members: dict[str, Any] | None
    ticket: Ticket
    expression: Expression


@dataclass(frozen=True, kw_only=True)
class Step:
    """`members`: of the request. `why`: in words, where the changes do not say it."""

    act: Act
    name: str
    members: dict[str, Any] = field(default_factory=dict, repr=False)
    changes: tuple[Change, ...] = ()
    why: str = ""


def plan(
    wanted: Sequence[Wanted],
    there: Sequence[Mapping[str, Any]],
    ring: KeyRing,
    *,
    environment: str,
    now: datetime,
    others: Collection[str] = (),
) -> list[Step]:
    """By name. `there`: what GetSchedule says of each of the group. `others`: names of the store that are another
    application's."""
    found = {str(each["Name"]): each for each in there if each["Name"] not in others}
    names = {each.name for each in wanted}
    steps = [step for each in wanted if (step := _step(each, found.get(each.name), ring, now)) is not None]
    steps += [_left_over(name, each, ring, environment) for name, each in found.items() if name not in names]
    return sorted(steps, key=lambda step: step.name)


def _step(wanted: Wanted, remote: Mapping[str, Any] | None, ring: KeyRing, now: datetime) -> Step | None:
    if remote is None:
        return None if wanted.members is None else Step(act="create", name=wanted.name, members=wanted.members)
    sealed = read_input(_input(remote), ring)
    if sealed is None and not _input(remote).startswith("fqs1."):
        return Step(act="foreign", name=wanted.name, why="it has this name and no ticket: choose another --group")
    if sealed is not None and sealed[0].environment != wanted.ticket.environment:
        return _of_another_environment(wanted.name, sealed[0], ": choose another --group")
    if wanted.members is None:
        return Step(act="delete", name=wanted.name, why="it is over")
    changes = _changes(wanted, remote, sealed, ring, now)
    if not changes:
        return Step(act="unchanged", name=wanted.name)
    members = dict(wanted.members)
    if remote.get("KmsKeyArn"):
        members["KmsKeyArn"] = remote["KmsKeyArn"]
    return Step(act="update", name=wanted.name, members=members, changes=tuple(changes))


def _left_over(name: str, remote: Mapping[str, Any], ring: KeyRing, environment: str) -> Step:
    sealed = read_input(_input(remote), ring)
    if sealed is None:
        return Step(act="foreign", name=name, why="it has no ticket that a key of ours opens")
    if sealed[0].environment != environment:
        return _of_another_environment(name, sealed[0])
    return Step(act="delete", name=name, why="it is not in the store")


def _of_another_environment(name: str, ticket: Ticket, advice: str = "") -> Step:
    return Step(act="foreign", name=name, why=f"its ticket is of environment {ticket.environment!r}{advice}")


# ------------------------------------------------------------------ one schedule


def _changes(
    wanted: Wanted, remote: Mapping[str, Any], sealed: tuple[Ticket, str] | None, ring: KeyRing, now: datetime
) -> list[Change]:
    assert wanted.members is not None
    before, after = _flat(remote), _flat(wanted.members)
    names = [*after, *(name for name in before if name not in after)]
    found = [
        Change(name, before.get(name), after.get(name))
        for name in names
        if name != "Target.Input" and before.get(name) != after.get(name)
    ]
    start = _start(wanted, remote, now)
    return [*found, *([start] if start else []), *_ticket(wanted.ticket, sealed, ring)]


def _start(wanted: Wanted, remote: Mapping[str, Any], now: datetime) -> Change | None:
    assert wanted.members is not None
    after: datetime | None = wanted.members.get("StartDate")
    before = _instant(remote.get("StartDate"))
    if isinstance(wanted.expression, Rate):
        # Any of its times that has come is as good a start as any other.
        fits = before is not None and _is_one(wanted.expression, before) and after is not None and before <= after
    elif isinstance(wanted.expression, Cron) and after is None:
        fits = before is None or before <= now
    else:
        fits = before is None if after is None else before == after.astimezone(UTC).replace(microsecond=0)
    return None if fits else Change("StartDate", _shown(before), _shown(after))


def _is_one(expression: Rate, instant: datetime) -> bool:
    assert expression.start is not None
    return (instant - expression.start.replace(microsecond=0)) % expression.every == expression.every * 0


def _ticket(ticket: Ticket, sealed: tuple[Ticket, str] | None, ring: KeyRing) -> list[Change]:
    if sealed is None:
        return [Change("ticket", "one that no key of ours opens", f"revision {ticket.revision}")]
    before, key = sealed
    found = [
        Change(f"ticket.{name}", _shown(getattr(before, name)), _shown(getattr(ticket, name)))
        for name in Ticket.__struct_fields__
        if name != "schedule" and getattr(before, name) != getattr(ticket, name)
    ]
    for name in type(ticket.schedule).__struct_fields__:
        old, new = getattr(before.schedule, name), getattr(ticket.schedule, name)
        if old != new:
            shown = ("other", "sealed") if name in _SECRET else (_shown(old), _shown(new))
            found.append(Change(f"ticket.{name}", *shown))
    if key != ring.primary.key_id:
        found.append(Change("ticket.sealed with", f"key {key}", f"key {ring.primary.key_id}"))
    return found


# ------------------------------------------------------------------ helpers


def _input(remote: Mapping[str, Any]) -> str:
    return str(remote.get("Target", {}).get("Input") or "")


def _flat(value: Mapping[str, Any], under: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, each in value.items():
        if each is None or (not under and name in _NOT_OURS_TO_SAY):
            continue
        if isinstance(each, Mapping):
            found.update(_flat(each, f"{under}{name}."))
        else:
            found[f"{under}{name}"] = _shown(each) or ""
    return found


def _instant(value: Any) -> datetime | None:
    return value.astimezone(UTC).replace(microsecond=0) if isinstance(value, datetime) else None


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(microsecond=0).isoformat()
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
