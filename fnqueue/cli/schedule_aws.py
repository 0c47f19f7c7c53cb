"""`fnqueue schedule sync --to eventbridge` and `export`: what EventBridge is to be told, shown as a plan, and told.

The store is written first, then EventBridge, so that no ticket is there whose revision the store does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import click

from fnqueue.broker.names import is_fifo
from fnqueue.broker.sqs import SqsBroker, parse_sqs_url
from fnqueue.cli import screen
from fnqueue.cli.faults import Fault
from fnqueue.clock import to_datetime
from fnqueue.errors import OptionInvalid
from fnqueue.runtime import Runtime
from fnqueue.schedule import cloudformation
from fnqueue.schedule.difference import Step, Wanted, plan
from fnqueue.schedule.eventbridge import EventBridge
from fnqueue.schedule.expression import Rate
from fnqueue.scheduling.book import ScheduleBook
from fnqueue.scheduling.publishing import Destination, publication

_GROUP: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+")
_DEAD_LETTER: Final = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+")
_SIGNS: Final = {"create": "+", "update": "~", "delete": "-", "foreign": "?"}
_COLOURS: Final = {"create": "green", "update": "yellow", "delete": "red", "foreign": "yellow"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command's options say."""

    plan: bool
    prune: bool
    role_arn: str | None
    group: str | None
    dead_letter_arn: str | None
    retry_attempts: int
    endpoint_url: str | None
    json: bool


def sync(runtime: Runtime, asked: Asked) -> None:
    broker, role = _sqs(runtime), _role(asked)
    group = group_name(runtime, asked.group)
    if asked.dead_letter_arn is not None and not _DEAD_LETTER.fullmatch(asked.dead_letter_arn):
        raise Fault(f"--dead-letter-arn {asked.dead_letter_arn!r}: must be the ARN of a standard SQS queue")
    book = ScheduleBook(lambda: runtime)
    _write_store(book, asked)
    destination = Destination(
        queue_arn=_arns(broker),
        role_arn=role,
        dead_letter_arn=asked.dead_letter_arn,
        retry_attempts=asked.retry_attempts,
    )
    try:
        made = publication(runtime, book.entries(as_code_says=asked.plan, prune=asked.prune), destination)
    except OptionInvalid as error:
        raise Fault(str(error)) from None
    _check_queues(broker, made.queues)
    bridge = EventBridge(parse_sqs_url(runtime.settings.url), endpoint=asked.endpoint_url)
    try:
        steps = plan(
            made.wanted,
            bridge.schedules(group),
            runtime.ring(),
            environment=runtime.settings.environment,
            now=to_datetime(runtime.clock.now()),
            others=made.others,
        )
        _tell(steps, made.warnings, asked)
        if not asked.plan:
            _apply(bridge, group, steps, asked)
    finally:
        bridge.close()


def export(runtime: Runtime, *, group: str | None, deploy_within_minutes: int, json: bool) -> None:
    """A template on stdout; what to know of it on stderr."""
    book = ScheduleBook(lambda: runtime)
    _check_store(book)
    destination = Destination(
        queue_arn=cloudformation.queue_reference,
        role_arn=cloudformation.ROLE,
        dead_letter_arn=cloudformation.DEAD_LETTER,
        deployed_in_seconds=deploy_within_minutes * 60,
    )
    try:
        made = publication(runtime, book.entries(), destination)
    except OptionInvalid as error:
        raise Fault(str(error)) from None
    schedules = [each.members for each in made.wanted if each.members is not None]
    if len(schedules) >= cloudformation.RESOURCES_MAX:
        raise Fault(
            f"{len(schedules)} schedules, and a stack holds {cloudformation.RESOURCES_MAX} resources: "
            "use fnqueue schedule sync --to eventbridge"
        )
    document = cloudformation.template(schedules, group=group_name(runtime, group), queues=made.queues)
    click.echo((cloudformation.to_json if json else cloudformation.to_yaml)(document), nl=False)
    for warning in [*made.warnings, *_of_a_template(made.wanted, deploy_within_minutes)]:
        click.echo(f"! {warning}", err=True)


def _check_store(book: ScheduleBook) -> None:
    kept = {entry.schedule.name: entry.revision for entry in book.entries()}
    said = book.entries(as_code_says=True)
    differ = [entry.schedule.name for entry in said if kept.get(entry.schedule.name) != entry.revision]
    if differ:
        raise Fault(
            f"the store has not what the code says of {', '.join(differ)}, and its workers would refuse such tickets: "
            "run fnqueue schedule sync first"
        )


def _of_a_template(wanted: list[Wanted], minutes: int) -> list[str]:
    found = []
    if any(each.members and isinstance(each.expression, Rate) for each in wanted):
        found.append(f"a rate() starts after {minutes} minutes: create the stack by then, or export again")
    left = [each.name for each in wanted if each.members and each.members["ActionAfterCompletion"] == "DELETE"]
    if left:
        found.append(f"CloudFormation cannot have {', '.join(left)} deleted after completion: it stays there")
    return found


# ---------------------------------------------------------------- what is asked


def _sqs(runtime: Runtime) -> SqsBroker:
    broker = runtime.engine.broker
    if not isinstance(broker, SqsBroker):
        raise Fault(f"EventBridge sends to Amazon SQS, and FNQUEUE_URL is {runtime.engine.queue_shown}")
    return broker


def _role(asked: Asked) -> str:
    if asked.role_arn is None:
        raise Fault(
            "EventBridge needs a role that may send to the queue: --role-arn, or FNQUEUE_SCHEDULE_ROLE_ARN "
            "(docs/schedules.md has its two policies)"
        )
    if not _ROLE.fullmatch(asked.role_arn):
        raise Fault(f"--role-arn {asked.role_arn!r}: must be like arn:aws:iam::123456789012:role/fnqueue-schedules")
    return asked.role_arn


def group_name(runtime: Runtime, given: str | None) -> str:
    group = given or f"fnqueue-{runtime.settings.environment}"
    if not _GROUP.fullmatch(group):
        raise Fault(f"schedule group {group!r}: must be 1 to 64 of letters, digits and - _ . : give --group")
    return group


def _arns(broker: SqsBroker) -> Any:
    known: dict[str, str] = {}

    def arn(queue: str) -> str:
        if queue not in known:
            known[queue] = broker.arn(queue)
        return known[queue]

    return arn


def _check_queues(broker: SqsBroker, queues: list[str]) -> None:
    without = [name for name in queues if is_fifo(name) and not broker.attributes(name).content_deduplication]
    if without:
        raise Fault(
            f"EventBridge gives no deduplication id, and content-based deduplication is off in {', '.join(without)}: "
            "run fnqueue queues create, which switches it on"
        )


def _write_store(book: ScheduleBook, asked: Asked) -> None:
    if asked.plan:
        return
    try:
        done = book.sync(prune=asked.prune)
    except OptionInvalid as error:
        raise Fault(str(error)) from None
    for name, what in done if not asked.json else []:
        click.echo(f"store: {name}: {what}")


# ---------------------------------------------------------------- the plan


def _tell(steps: list[Step], warnings: list[str], asked: Asked) -> None:
    if asked.json:
        screen.as_json({"steps": [_told(step) for step in steps], "warnings": warnings})
        return
    for step in steps:
        if step.act != "unchanged":
            click.echo(screen.paint(_line(step, asked), _COLOURS[step.act]))
        for change in step.changes:
            click.echo(f"    {change.name}: {_value(change.before)} -> {_value(change.after)}")
    for warning in warnings:
        click.echo(f"! {warning}", err=True)
    click.echo(f"{sum(step.act == 'unchanged' for step in steps)} unchanged")


def _told(step: Step) -> dict[str, Any]:
    changes = [change._asdict() for change in step.changes]
    return {"name": step.name, "act": step.act, "why": step.why, "changes": changes}


def _line(step: Step, asked: Asked) -> str:
    why = f" ({step.why})" if step.why else ""
    if step.act == "foreign":
        return f"? {screen.printable(step.name)}: left alone{why}"
    kept = " with --prune" if step.act == "delete" and not asked.prune else ""
    return f"{_SIGNS[step.act]} {screen.printable(step.name)}: {step.act}{kept}{why}"


def _value(text: str | None) -> str:
    return "none" if text is None else screen.printable(text)


def _apply(bridge: EventBridge, group: str, steps: list[Step], asked: Asked) -> None:
    """What fails ends it; run again, it goes on where it was."""
    if any(step.act == "create" for step in steps):
        bridge.ensure_group(group)
    for step in steps:
        if step.act == "create":
            bridge.create(group, step.members)
        elif step.act == "update":
            bridge.update(group, step.members)
        elif step.act == "delete" and asked.prune:
            bridge.delete(group, step.name)
