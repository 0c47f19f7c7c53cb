"""`fnqueue tasks`: which functions are tasks, with `--recent` what became of the calls of late, and revoking calls.

The second reads the store, and says so when there is none. Neither shows an argument or a result.
"""

from __future__ import annotations

from typing import Any

import click

from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.operator import as_option, operator, reason_option, subject_given
from fnqueue.errors import StoreMissing
from fnqueue.runtime import Runtime
from fnqueue.security.ids import is_id
from fnqueue.state.results import Results, TaskRecord
from fnqueue.task.options import Backoff
from fnqueue.task.task import Task

PAGE = 500
COLOURS = {"SUCCESS": "green", "FAILURE": "red", "DENIED": "red", "EXPIRED": "yellow", "REVOKED": "yellow"}


@click.group(invoke_without_command=True)
@click.option("--recent", metavar="N", type=click.IntRange(1, 100_000), help="The last N calls instead, newest first.")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def tasks(ctx: click.Context, recent: int | None, json_: bool) -> None:
    """List registered tasks, or with --recent the calls of late; revoke calls."""
    if ctx.invoked_subcommand is not None:
        return
    app: Application = find_application(ctx)
    app.import_tasks()
    if recent is None:
        _registered(app.runtime, json_)
    else:
        _recent(app.runtime, recent, json_)


@tasks.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option(
    "--root",
    metavar="ID",
    help="The first call of a tree: it, and all that it and its children set going. A later one stops alone.",
)
@click.option("--principal", metavar="WHO", help="All that was deferred for them until now: user:7, service:import.")
@as_option
@reason_option
@click.pass_context
@reported
def revoke(
    ctx: click.Context, id_: str | None, root: str | None, principal: str | None, who: str | None, reason: str
) -> None:
    """Stop calls: from the workers' next heartbeat on they start none of them; what runs is told within two."""
    if sum(given is not None for given in (id_, root, principal)) != 1:
        raise click.UsageError("give one of: ID, --root ID, --principal WHO")
    app: Application = find_application(ctx)
    app.import_tasks()
    runtime = app.runtime
    with operator(runtime, who, reason) as by:
        if id_ is not None:
            if not is_id(id_):
                raise Fault(f"{screen.printable(id_)}: no id of a call; they have 26 characters")
            runtime.operating.revoke_id(id_, by.asker, reason=by.reason)
        elif root is not None:
            runtime.operating.revoke_root(root, by.asker, reason=by.reason)
        elif principal is not None:
            principal = subject_given(principal)
            runtime.operating.revoke_principal(principal, by.asker, reason=by.reason)
    named = id_ or (f"all that began with {root}" if root else f"all that was deferred for {principal} until now")
    click.echo(f"revoked: {named}, as far as {by.subject} may stop it")


# ---------------------------------------------------------------- registered


def _registered(runtime: Runtime, json_: bool) -> None:
    rows = [described(runtime, task) for task in runtime.registry]
    if json_:
        screen.as_json(rows)
        return
    screen.table(
        ["TASK", "QUEUE", "POLICY", "RETRY", "WHERE"],
        [[row["task"], row["queue"], row["policy"], _retry_shown(row["retry"]), row["where"]] for row in rows],
        empty="no task is registered",
    )


def described(runtime: Runtime, task: Task[Any, Any, Any]) -> dict[str, Any]:
    """A task as plain data. `policy`: what holds; "open" where neither task nor settings name one."""
    policy = repr(task.policy) if task.policy is not None else runtime.settings.default_policy or "open"
    return {
        "task": task.name,
        "queue": task.queue,
        "priority": task.priority,
        "policy": policy,
        "retry": _retry(task.retry),
        "once": task.options.once,
        "expires_seconds": task.options.expires_seconds,
        "where": task.where,
    }


def _retry(backoff: Backoff) -> dict[str, Any] | None:
    if backoff.attempts == 0:
        return None
    return {"attempts": backoff.attempts, "first_seconds": backoff.first_seconds, "max_seconds": backoff.max_seconds}


def _retry_shown(retry: dict[str, Any] | None) -> str:
    return "-" if retry is None else f"{retry['attempts']}, from {screen.seconds(retry['first_seconds'])}"


# ---------------------------------------------------------------- recent


def _recent(runtime: Runtime, number: int, json_: bool) -> None:
    if runtime.results is None:
        raise StoreMissing("a list of recent calls")
    rows = [of_record(record) for record in last(runtime.results, number)]
    if json_:
        screen.as_json(rows)
        return
    screen.table(
        ["TASK", "PRINCIPAL", "STATE", "ATTEMPTS", "WAIT", "DURATION", "ID"],
        [
            [
                row["task"],
                row["principal"] or "-",
                row["state"],
                str(row["attempts"]),
                screen.seconds(row["wait_seconds"]),
                screen.seconds(row["duration_seconds"]),
                row["id"],
            ]
            for row in rows
        ],
        empty="no call has a record yet: defer one, and let a worker run it",
        colour=lambda row: COLOURS.get(row[2]),
    )


def last(results: Results, number: int) -> list[TaskRecord]:
    """The last `number` records, newest first."""
    found: list[TaskRecord] = []
    cursor: str | None = None
    while len(found) < number:
        page = results.recent(min(PAGE, number - len(found)), cursor)
        found += page.records
        cursor = page.cursor
        if cursor is None:
            break
    return found


def of_record(record: TaskRecord) -> dict[str, Any]:
    """A record as plain data, without value and error text. Times ISO 8601, durations seconds."""
    started, deferred, finished = record.started_at, record.deferred_at, record.finished_at
    return {
        "id": record.id,
        "task": record.task,
        "principal": record.principal,
        "state": record.state,
        "attempts": record.attempts,
        "wait_seconds": _between(deferred, started),
        "duration_seconds": _between(started, finished),
        "queue": record.queue,
        "worker": record.worker,
        "reason": record.reason,
        "error": record.error.type if record.error else None,
        "deferred_at": _iso(deferred),
        "started_at": _iso(started),
        "finished_at": _iso(finished),
    }


def _between(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(max(0.0, after - before), 6)


def _iso(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else screen.moment(unix_seconds)
