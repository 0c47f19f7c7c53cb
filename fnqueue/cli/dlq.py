"""`fnqueue dlq`: the dead-letter queues, for operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from fnqueue.broker.names import is_dead_letter
from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.dead_letters import Dead, Visit, dead_letter_queue, each, home
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.operator import Operator, as_option, operator, reason_option
from fnqueue.errors import EnvelopeError
from fnqueue.runtime import Runtime
from fnqueue.security.principal import Principal

_ids = click.option("--id", "ids", multiple=True, metavar="ID", help="Only this call; may be repeated.")


@click.group()
def dlq() -> None:
    """Look into dead-letter queues; send messages back, release or discard them.

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
@_ids
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--arguments", "with_arguments", is_flag=True, help="Open them, too; needs --reason.")
@as_option
@reason_option
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def show(
    ctx: click.Context,
    queue: str,
    ids: tuple[str, ...],
    limit: int,
    with_arguments: bool,
    who: str | None,
    reason: str,
    json_: bool,
) -> None:
    """What the messages say of themselves, and why they are there. Arguments stay sealed, but for --arguments."""
    runtime = _runtime(ctx)
    with (
        operator(runtime, who, reason, needs_reason="to show arguments" if with_arguments else "") as by,
        _visit(runtime, queue) as visit,
    ):
        walk = visit.walk(None if ids else limit)  # what is asked for by its id may be the last
        found = [dead for batch in walk for dead in batch if not ids or dead.id in ids][:limit]
        rows = [dead.facts() for dead in found]
        if with_arguments:
            rows = _with_arguments(by, visit, found, rows)
    if json_:
        screen.as_json(rows)
        return
    names = ["task", "reason", "principal_kind", "dead_lettered_at", "expires_at", "bytes", "id"]
    names += ["arguments"] if with_arguments else []
    screen.table(
        [name.replace("_", " ").upper() for name in names],
        [[screen.printable(str(row[name] if row[name] is not None else "-")) for name in names] for row in rows],
        empty=f"{visit.queue} is empty" if not ids else f"none of these is in {visit.queue}",
    )


def _with_arguments(by: Operator, visit: Visit, found: list[Dead], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    allowed = [dead.id for dead in found if by.may(visit.task_of(dead))]
    if allowed:
        by.record("show arguments", f"looks at arguments in {visit.queue}", queue=visit.queue, ids=allowed)
    return [
        row | {"arguments": _arguments(visit, dead) if dead.id in allowed else "(not for you)"}
        for dead, row in zip(found, rows, strict=True)
    ]


def _arguments(visit: Visit, dead: Dead) -> Any:
    try:
        return visit.arguments(dead)
    except EnvelopeError as error:
        return f"({error.code})"


@dlq.command()
@click.argument("queue")
@_ids
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@as_option
@reason_option
@click.pass_context
@reported
def redrive(
    ctx: click.Context, queue: str, ids: tuple[str, ...], limit: int | None, who: str | None, reason: str
) -> None:
    """Send messages back to their queue, to run again. Expired ones stay: `release` them, or discard them."""
    runtime = _runtime(ctx)
    now, left = runtime.clock.now(), Left()
    with operator(runtime, who, reason) as by, _visit(runtime, queue) as visit:

        def chosen(dead: Dead) -> bool:
            if ids and dead.id not in ids:
                return False
            return left.unless(dead.expired(now), "expired") and left.unless(
                not by.may(visit.task_of(dead)), "forbidden"
            )

        def send_back(group: Sequence[Dead]) -> None:
            _record(by, "redrive", f"sends messages of {visit.queue} back", visit, group)
            visit.send_back(group)

        sent = each(visit, limit, chosen, send_back)
    click.echo(f"{screen.count(sent, 'message')} sent back to {home(visit.queue)}")
    left.tell(visit.queue, by.asker)


@dlq.command()
@click.argument("queue")
@_ids
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@as_option
@reason_option
@click.pass_context
@reported
def release(
    ctx: click.Context, queue: str, ids: tuple[str, ...], limit: int | None, who: str | None, reason: str
) -> None:
    """Send expired messages in new envelopes, for the same users, to run now. Needs --reason, and a key that seals.

    Whether the user may still do it is asked before the run, as of every call. The new call's id is shown.
    """
    runtime = _runtime(ctx)
    lacking = runtime.ring().primary.lacks("sign", "seal")
    if lacking:
        raise Fault(lacking)
    now, left = runtime.clock.now(), Left()
    with (
        operator(runtime, who, reason, needs_reason="to release messages") as by,
        _visit(runtime, queue) as visit,
    ):

        def chosen(dead: Dead) -> bool:
            if (ids and dead.id not in ids) or not left.unless(not dead.expired(now), "fresh"):
                return False
            forbidden = not by.may(visit.task_of(dead))
            if not (left.unless(not visit.is_taken(dead), "untrue") and left.unless(forbidden, "forbidden")):
                return False
            return left.unless(visit.succeeded(dead), "succeeded") and left.unless(not opens(dead), "closed")

        def opens(dead: Dead) -> bool:
            try:
                visit.arguments(dead)
            except EnvelopeError as error:
                click.echo(f"{screen.printable(dead.id)}: {error.code}: {screen.printable(error.detail)}", err=True)
                return False
            return True

        def send_anew(group: Sequence[Dead]) -> None:
            _record(by, "release", f"releases messages of {visit.queue}", visit, group)
            for dead in group:
                click.echo(f"{screen.printable(dead.id)} -> {visit.release(dead, by.subject)}")

        sent = each(visit, limit, chosen, send_anew)
    click.echo(f"{screen.count(sent, 'message')} released to {home(visit.queue)}")
    left.tell(visit.queue, by.asker)


@dlq.command()
@click.argument("queue")
@_ids
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_option
@reason_option
@click.pass_context
@reported
def discard(
    ctx: click.Context, queue: str, ids: tuple[str, ...], all_: bool, yes: bool, who: str | None, reason: str
) -> None:
    """Delete messages for ever: those given with --id, or --all."""
    if bool(ids) == all_:
        raise click.UsageError("give --id (once or more), or --all")
    runtime, name = _runtime(ctx), dead_letter_queue(queue)
    attributes = runtime.engine.broker.attributes(name)
    what = screen.count(attributes.visible + attributes.in_flight if all_ else len(ids), "message")
    screen.confirm_name(f"{what} in {name} would be deleted", name, yes=yes)
    left = Left()
    with operator(runtime, who, reason) as by, _visit(runtime, queue) as visit:

        def chosen(dead: Dead) -> bool:
            return (all_ or dead.id in ids) and left.unless(not by.may(visit.task_of(dead)), "forbidden")

        def discard_for_good(group: Sequence[Dead]) -> None:
            _record(by, "discard", f"discards messages of {visit.queue}", visit, group)
            visit.throw_away(group)

        gone = each(visit, None, chosen, discard_for_good)
    click.echo(f"{screen.count(gone, 'message')} deleted from {name}")
    left.tell(name, by.asker)


#: Why messages stay, and what to do.
_STAY = {
    "expired": "expired; release or discard them",
    "fresh": "not expired: redrive them",
    "untrue": "no envelopes of ours, or beyond what their key may do",
    "succeeded": "have succeeded already, so they are copies: discard them",
    "closed": "they do not open here",
    "forbidden": "{who} may not operate on their tasks (operate=)",
}


class Left:
    """Counts the messages that are left where they are, by why."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def unless(self, stays: bool, why: str) -> bool:
        """False, and counted, if it stays."""
        if stays:
            self._counts[why] = self._counts.get(why, 0) + 1
        return not stays

    def tell(self, queue: str, who: Principal) -> None:
        for why, count in self._counts.items():
            click.echo(f"{screen.count(count, 'message')} left in {queue}: {_STAY[why].format(who=who)}", err=True)


def _record(by: Operator, action: str, text: str, visit: Visit, group: Sequence[Dead]) -> None:
    if group:
        by.record(action, text, queue=visit.queue, ids=[dead.id for dead in group])


@contextmanager
def _visit(runtime: Runtime, queue: str) -> Iterator[Visit]:
    visit = Visit(runtime, dead_letter_queue(queue))
    try:
        yield visit
    finally:
        visit.close()


def _runtime(ctx: click.Context) -> Runtime:
    app: Application = find_application(ctx, needs_tasks=False)
    app.import_tasks()  # their `operate=` policies decide
    return app.runtime
