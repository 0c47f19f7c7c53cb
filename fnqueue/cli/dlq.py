"""`fnqueue dlq`: the dead-letter queues, for operators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from fnqueue.broker.names import is_dead_letter
from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.dead_letters import Dead, Visit, dead_letter_queue, each, home
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import reported
from fnqueue.runtime import Runtime

_ids = click.option("--id", "ids", multiple=True, metavar="ID", help="Only this call; may be repeated.")


@click.group()
def dlq() -> None:
    """Look into dead-letter queues; send messages back, or discard them.

    QUEUE is a queue's own name, as billing, or its dead-letter queue's, billing__dead.
    """


@dlq.command("list")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def list_(ctx: click.Context, json_: bool) -> None:
    """Every dead-letter queue with its count."""
    broker = _runtime(ctx).engine.broker
    rows = [
        {"queue": home(name), "dead_letter_queue": name, "messages": attributes.visible + attributes.in_flight}
        for name in broker.queues()
        if is_dead_letter(name) and (attributes := broker.attributes(name))
    ]
    if json_:
        screen.as_json(rows)
        return
    shown = [[str(row["queue"]), str(row["messages"]), str(row["dead_letter_queue"])] for row in rows]
    screen.table(["QUEUE", "MESSAGES", "IN"], shown, empty="no dead letters: no dead-letter queue was made yet")


@dlq.command()
@click.argument("queue")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def show(ctx: click.Context, queue: str, limit: int, json_: bool) -> None:
    """What the messages say of themselves, and why they are there. Arguments stay sealed."""
    with _visit(ctx, queue) as visit:
        rows = [dead.facts() for batch in visit.walk(limit) for dead in batch]
    if json_:
        screen.as_json(rows)
        return
    names = ["task", "reason", "principal_kind", "dead_lettered_at", "expires_at", "bytes", "id"]
    screen.table(
        [name.replace("_", " ").upper() for name in names],
        [[screen.printable(str(row[name] if row[name] is not None else "-")) for name in names] for row in rows],
        empty=f"{visit.queue} is empty",
    )


@dlq.command()
@click.argument("queue")
@_ids
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.pass_context
@reported
def redrive(ctx: click.Context, queue: str, ids: tuple[str, ...], limit: int | None) -> None:
    """Send messages back to their queue, to run again. Expired ones stay: no worker would run them."""
    runtime = _runtime(ctx)
    now, expired = runtime.clock.now(), 0

    def chosen(dead: Dead) -> bool:
        nonlocal expired
        wanted = not ids or dead.id in ids
        expired += wanted and dead.expired(now)
        return wanted and not dead.expired(now)

    with _visit(ctx, queue) as visit:
        sent = each(visit, limit, chosen, visit.send_back)
    click.echo(f"{screen.count(sent, 'message')} sent back to {home(visit.queue)}")
    if expired:
        click.echo(f"{screen.count(expired, 'message')} left in {visit.queue}: expired; discard them", err=True)


@dlq.command()
@click.argument("queue")
@_ids
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
@reported
def discard(ctx: click.Context, queue: str, ids: tuple[str, ...], all_: bool, yes: bool) -> None:
    """Delete messages for ever: those given with --id, or --all."""
    if bool(ids) == all_:
        raise click.UsageError("give --id (once or more), or --all")
    broker, name = _runtime(ctx).engine.broker, dead_letter_queue(queue)
    attributes = broker.attributes(name)
    what = screen.count(attributes.visible + attributes.in_flight if all_ else len(ids), "message")
    screen.confirm_name(f"{what} in {name} would be deleted", name, yes=yes)
    with _visit(ctx, queue) as visit:
        gone = each(visit, None, lambda dead: all_ or dead.id in ids, visit.throw_away)
    click.echo(f"{screen.count(gone, 'message')} deleted from {name}")


@contextmanager
def _visit(ctx: click.Context, queue: str) -> Iterator[Visit]:
    visit = Visit(_runtime(ctx), dead_letter_queue(queue))
    try:
        yield visit
    finally:
        visit.close()


def _runtime(ctx: click.Context) -> Runtime:
    app: Application = find_application(ctx, needs_tasks=False)
    return app.runtime
