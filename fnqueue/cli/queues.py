"""`fnqueue queues`: list, create, purge. The only place that makes queues on Amazon SQS, at deploy time.

A logical queue is up to three physical ones and a dead-letter queue; names given here are logical, or physical
(with `__`) where one of them is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fnqueue import quotas
from fnqueue.broker.base import Broker, QueueAttributes
from fnqueue.broker.names import PRIORITIES, check_queue, dead_letter, is_dead_letter, is_fifo, logical, physical
from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.operator import operator, reason_option
from fnqueue.errors import QueueMissing
from fnqueue.runtime import Runtime

RETENTION_SECONDS = quotas.RETENTION_SECONDS_MAX
#: A backstop only: crashes are counted by the store, and a long wait is many receives.
RECEIVES_MAX = quotas.RECEIVE_COUNT_MAX


@click.group()
def queues() -> None:
    """List, create and purge queues."""


# ---------------------------------------------------------------- list


@queues.command("list")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def list_(ctx: click.Context, json_: bool) -> None:
    """Every queue with its counts (approximate on Amazon SQS)."""
    app: Application = find_application(ctx, needs_tasks=False)
    broker = app.runtime.engine.broker
    rows = [_row(queue, broker.attributes(queue)) for queue in broker.queues()]
    if json_:
        screen.as_json(rows)
        return
    screen.table(
        ["QUEUE", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST", "DEAD LETTERS GO TO"],
        [
            [
                row["queue"],
                str(row["visible"]),
                str(row["in_flight"]),
                str(row["delayed"]),
                screen.seconds(row["oldest_age_seconds"] if row["visible"] else None),
                row["dead_letter_queue"] or "-",
            ]
            for row in rows
        ],
        empty="there is no queue yet",
    )


def _row(queue: str, attributes: QueueAttributes) -> dict[str, Any]:
    own = None if is_dead_letter(queue) else dead_letter(queue)
    return {
        "queue": queue,
        "visible": attributes.visible,
        "in_flight": attributes.in_flight,
        "delayed": attributes.delayed,
        "oldest_age_seconds": attributes.oldest_age_seconds,
        "visibility_seconds": attributes.visibility_seconds,
        "retention_seconds": attributes.retention_seconds,
        "dead_letter_queue": attributes.dead_letter_queue or own,
        "max_receive_count": attributes.max_receive_count,
    }


# ---------------------------------------------------------------- create


@queues.command()
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.pass_context
@reported
def create(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Make queues with their dead-letter queues; without names those of all tasks.

    For deploy time: a worker or a web process makes none on Amazon SQS. Run again it sets the attributes anew:
    14 days of retention, a dead-letter queue, at most 1000 receives (a backstop only).
    """
    app: Application = find_application(ctx, needs_tasks=not names)
    wanted = [check_queue(name) for name in names] or _of_tasks(app)
    for queue in wanted:
        made = make(app.runtime, queue)
        click.echo(f"{queue}: {', '.join(made)}")


def make(runtime: Runtime, queue: str) -> list[str]:
    """Make the physical queues of a logical one, the dead-letter queue first. Returns their names."""
    broker, visibility = runtime.engine.broker, runtime.settings.visibility_seconds
    dead = dead_letter(queue)
    broker.create(dead, visibility_seconds=visibility, retention_seconds=RETENTION_SECONDS)
    made = physical_queues(runtime, queue)
    for name in made:
        broker.create(
            name,
            visibility_seconds=visibility,
            retention_seconds=RETENTION_SECONDS,
            # Our own sends name their deduplication id, which wins; EventBridge can name none.
            content_deduplication=is_fifo(queue),
            dead_letter_queue=dead,
            max_receive_count=RECEIVES_MAX,
        )
    return [*made, dead]


def physical_queues(runtime: Runtime, queue: str) -> list[str]:
    """One on SQS, or three where FNQUEUE_PRIORITY_QUEUES names it; three on the embedded engine."""
    wanted = runtime.settings.priority_queues
    has = runtime.engine.embedded or "*" in wanted or queue in wanted
    return [physical(queue, priority) for priority in PRIORITIES if has or priority == "normal"]


def _of_tasks(app: Application) -> list[str]:
    app.import_tasks()
    found = app.runtime.registry.queues()
    if not found:
        raise Fault(f"{app.name} has no task, so nothing says which queues are needed: name them")
    return found


# ---------------------------------------------------------------- purge


@queues.command()
@click.argument("queue")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@click.pass_context
@reported
def purge(ctx: click.Context, queue: str, yes: bool, reason: str) -> None:
    """Delete every message of a queue: visible, delayed and in flight. There is no undo."""
    app: Application = find_application(ctx, needs_tasks=False)
    broker = app.runtime.engine.broker
    there = existing(broker, [queue] if "__" in queue else physical_queues(app.runtime, check_queue(queue)))
    if not there:
        raise QueueMissing(queue)
    count = sum(_held(attributes) for attributes in there.values())
    screen.confirm_name(f"{screen.count(count, 'message')} in {', '.join(there)} would be deleted", queue, yes=yes)
    with operator(app.runtime, None, reason) as by:
        by.record("purge", f"purges {', '.join(there)}", queue=queue, messages=count)
    for name in there:
        broker.purge(name)
    click.echo(f"{screen.count(count, 'message')} deleted from {logical(queue) if '__' not in queue else queue}")


def existing(broker: Broker, names: Sequence[str]) -> dict[str, QueueAttributes]:
    found = {}
    for name in names:
        try:
            found[name] = broker.attributes(name)
        except QueueMissing:
            pass  # a priority that was never used, or never made
    return found


def _held(attributes: QueueAttributes) -> int:
    return attributes.visible + attributes.in_flight + attributes.delayed
