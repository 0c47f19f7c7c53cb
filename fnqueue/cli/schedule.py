"""`fnqueue schedule`: what is scheduled, when it comes next, and a hand on it.

`run` ticks without working: where workers are told `--no-schedule`, or are functions in a cloud.
"""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from typing import Any

import click

from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.operator import operator, reason_option
from fnqueue.clock import to_datetime
from fnqueue.errors import ExpressionInvalid, OptionInvalid, StoreMissing
from fnqueue.observe import logs
from fnqueue.runtime import Runtime
from fnqueue.schedule.expression import parse
from fnqueue.schedule.published import RETRY_ATTEMPTS_MAX
from fnqueue.scheduling.book import ScheduleBook
from fnqueue.scheduling.entry import Scheduled
from fnqueue.scheduling.ticking import ScheduleTicker
from fnqueue.worker.ticker import Ticker, TickerPowers

_json = click.option("--json", "json_", is_flag=True, help="As JSON.")


@click.group()
def schedule() -> None:
    """List, preview, pause and run schedules."""


# ---------------------------------------------------------------- looking


@schedule.command("list")
@_json
@click.pass_context
@reported
def list_(ctx: click.Context, json_: bool) -> None:
    """Every schedule: when it comes next and when it last did."""
    runtime = _application(ctx)
    rows = ScheduleBook(lambda: runtime).list()
    if json_:
        screen.as_json([_fields(row) for row in rows])
        return
    screen.table(
        ["NAME", "TASK", "WHEN", "STATE", "NEXT (UTC)", "LAST (UTC)"],
        [
            [
                screen.printable(row.name),
                screen.printable(row.task) + ("" if runtime.registry.find(row.task) else " (not here)"),
                row.description,
                row.state,
                _moment(row.next_at),
                _moment(row.last_at),
            ]
            for row in rows
        ],
        empty="there is no schedule yet: @fn.schedule(...) above a task, and start a worker",
        colour=lambda cells: "yellow" if cells[3] == "PAUSED" else None,
    )


@schedule.command()
@click.argument("name")
@_json
@click.pass_context
@reported
def show(ctx: click.Context, name: str, json_: bool) -> None:
    """One schedule, and its next five times."""
    runtime = _application(ctx)
    found = ScheduleBook(lambda: runtime).get(name)
    times = found.upcoming(5, to_datetime(runtime.clock.now())) if found.state != "PAUSED" else []
    if json_:
        screen.as_json({**_fields(found), "upcoming": [time.isoformat() for time in times]})
        return
    for label, value in _facts(found):
        click.echo(f"{label.ljust(12)} {value}")
    for number, time in enumerate(times):
        click.echo(f"{('upcoming' if number == 0 else '').ljust(12)} {_both(time, found.timezone)}")


@schedule.command()
@click.argument("expression")
@click.option("--timezone", "-z", default="UTC", show_default=True, help="An IANA name: Europe/Berlin.")
@click.option("--count", "-n", type=click.IntRange(1, 1000), default=10, show_default=True)
@reported
def preview(expression: str, timezone: str, count: int) -> None:
    """The next times of an expression, as "cron(0 9 ? * MON-FRI *)", and what it says in words."""
    from fnqueue.clock import SystemClock

    try:
        parsed = parse(expression, timezone)
    except ExpressionInvalid as error:
        raise Fault(str(error)) from None
    click.echo(parsed.describe())
    times = [time for _, time in zip(range(count), parsed.after(to_datetime(SystemClock().now())), strict=False)]
    for time in times:
        click.echo(_both(time, timezone))
    if len(times) < count:
        click.echo("and none after that" if times else "it never fires")


# ---------------------------------------------------------------- changing


@schedule.command()
@click.argument("name")
@reason_option
@click.pass_context
@reported
def pause(ctx: click.Context, name: str, reason: str) -> None:
    """Let no time fire until `resume`."""
    _changed(_on_record(ctx, "pause", name, reason).pause(name), "paused")


@schedule.command()
@click.argument("name")
@reason_option
@click.pass_context
@reported
def resume(ctx: click.Context, name: str, reason: str) -> None:
    """Go on with the first time from now; what was missed stays missed."""
    _changed(_on_record(ctx, "resume", name, reason).resume(name), "resumed")


@schedule.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@click.pass_context
@reported
def delete(ctx: click.Context, name: str, yes: bool, reason: str) -> None:
    """Remove it from the store. What code says comes back with the next worker that starts."""
    found = _book(ctx).get(name)
    screen.confirm_name(f"the schedule {name!r} ({found.description}) of {found.task} is deleted", name, yes=yes)
    _on_record(ctx, "delete", name, reason).delete(name)
    click.echo(f"{name}: deleted")


@schedule.command("run-now")
@click.argument("name")
@reason_option
@click.pass_context
@reported
def run_now(ctx: click.Context, name: str, reason: str) -> None:
    """Make its call now, besides its times. Prints the call's id."""
    click.echo(_on_record(ctx, "run now", name, reason).run_now(name))


def _env(name: str, text: str) -> dict[str, Any]:
    return {"envvar": f"FNQUEUE_{name}", "help": f"{text} (env: FNQUEUE_{name})"}


@schedule.command()
@click.option("--to", type=click.Choice(["store", "eventbridge"]), default="store", show_default=True)
@click.option("--prune", is_flag=True, help="Remove what code says no more; from EventBridge, what the store has not.")
@click.option("--plan", is_flag=True, help="EventBridge: show what differs, and change nothing.")
@click.option("--role-arn", metavar="ARN", **_env("SCHEDULE_ROLE_ARN", "What EventBridge sends as."))
@click.option("--group", metavar="NAME", help="The schedule group; default: fnqueue-<environment>.")
@click.option(
    "--dead-letter-arn", metavar="ARN", help="A standard queue for what EventBridge cannot send; default: none."
)
@click.option(
    "--retry-attempts",
    type=click.IntRange(0, RETRY_ATTEMPTS_MAX),
    default=RETRY_ATTEMPTS_MAX,
    show_default=True,
    help="How often EventBridge tries again to send.",
)
@click.option("--endpoint-url", metavar="URL", help="EventBridge's; default: the queue's own, or Amazon's.")
@click.option("--json", "json_", is_flag=True, help="EventBridge: the plan as JSON.")
@click.pass_context
@reported
def sync(
    ctx: click.Context,
    to: str,
    prune: bool,
    plan: bool,
    role_arn: str | None,
    group: str | None,
    dead_letter_arn: str | None,
    retry_attempts: int,
    endpoint_url: str | None,
    json_: bool,
) -> None:
    """Write what the code says into the store, as a worker does when it starts.

    With --to eventbridge also make EventBridge Scheduler hold what is then in the store. It is compared field by field,
    and what somebody edited there is told and changed back. Run again, it changes nothing.
    """
    if to == "eventbridge":
        from fnqueue.cli import schedule_aws  # not at the top: it is for AWS only

        schedule_aws.sync(
            _application(ctx),
            schedule_aws.Asked(
                plan=plan,
                prune=prune,
                role_arn=role_arn,
                group=group,
                dead_letter_arn=dead_letter_arn,
                retry_attempts=retry_attempts,
                endpoint_url=endpoint_url,
                json=json_,
            ),
        )
        return
    if plan or json_:
        raise click.UsageError("--plan and --json go with --to eventbridge")
    try:
        done = _book(ctx).sync(prune=prune)
    except OptionInvalid as error:
        raise Fault(str(error)) from None
    for name, what in done:
        click.echo(f"{name}: {what}")
    if not done:
        click.echo("nothing differs")


@schedule.command()
@click.option("--format", "_format", type=click.Choice(["cloudformation"]), default="cloudformation", show_default=True)
@click.option("--json", "json_", is_flag=True, help="As JSON, not as YAML.")
@click.option("--group", metavar="NAME", help="The schedule group; default: fnqueue-<environment>.")
@click.option(
    "--deploy-within",
    type=click.IntRange(1, 10_080),
    default=60,
    show_default=True,
    metavar="MINUTES",
    help="A rate() starts after that: AWS refuses a start in the past.",
)
@click.pass_context
@reported
def export(ctx: click.Context, _format: str, json_: bool, group: str | None, deploy_within: int) -> None:
    """What the store has as a template for EventBridge Scheduler, on standard output; changes nothing."""
    from fnqueue.cli import schedule_aws  # not at the top: it is for AWS only

    schedule_aws.export(_application(ctx), group=group, deploy_within_minutes=deploy_within, json=json_)


@schedule.command()
@click.option("--log-level", type=click.Choice(list(logs.LEVELS)), default="info", show_default=True)
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]), default="auto", show_default=True)
@click.pass_context
@reported
def run(ctx: click.Context, log_level: str, log_format: str) -> None:
    """Fire what falls due until stopped, and run no task. Any number of these and of workers may do so at once."""
    runtime = _application(ctx)
    logs.configure(format=log_format, level=log_level)
    logs.subscribe(runtime.events, format=log_format)
    runtime.check()
    made = ScheduleBook(lambda: runtime).sync()
    click.echo(
        f"fnqueue: firing schedules of {runtime.engine.queue_shown}; {len(made)} written. Ctrl-C stops", err=True
    )
    _tick_until_stopped(runtime)


# ---------------------------------------------------------------- helpers


def _tick_until_stopped(runtime: Runtime) -> None:
    engine, stopped = runtime.engine, threading.Event()
    if engine.store is None or runtime.parked is None:
        raise StoreMissing("a schedule")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    ticker = Ticker(
        TickerPowers(
            broker=engine.broker,
            store=engine.store,
            parked=runtime.parked,
            clock=runtime.clock,
            events=runtime.events,
            schedules=ScheduleTicker(runtime).tick,
        )
    )
    ticker.start()
    stopped.wait()
    ticker.close()
    ticker.join(10)


def _application(ctx: click.Context) -> Runtime:
    app: Application = find_application(ctx)
    app.import_tasks()
    if app.runtime.schedules is None:
        raise StoreMissing("a schedule")
    return app.runtime


def _book(ctx: click.Context) -> ScheduleBook:
    runtime = _application(ctx)
    return ScheduleBook(lambda: runtime)


def _on_record(ctx: click.Context, action: str, name: str, reason: str) -> ScheduleBook:
    """Raises UnknownSchedule, AuditUnwritable: then nothing is done."""
    runtime = _application(ctx)
    book = ScheduleBook(lambda: runtime)
    task = book.get(name).task
    with operator(runtime, None, reason) as by:
        by.record(f"schedule {action}", f"schedule {action} {name}", schedule=name, task=task)
    return book


def _changed(found: Scheduled, what: str) -> None:
    click.echo(f"{found.name}: {what}" + (f", next at {_moment(found.next_at)}" if found.state == "ENABLED" else ""))


def _facts(found: Scheduled) -> list[tuple[str, str]]:
    schedule = found.schedule
    facts = [
        ("name", found.name),
        ("task", screen.printable(found.task)),
        ("when", f"{found.expression}: {found.description}"),
        ("state", found.state),
        ("from", "code" if schedule.origin == "code" else "fn.schedules.put"),
        ("misfire", f"{schedule.misfire}, within {screen.seconds(schedule.misfire_within_seconds)}"),
        ("overlap", schedule.overlap),
        ("runs as", f"service {schedule.runs_as!r}" if schedule.runs_as else f"schedule {found.name!r}"),
        ("last", f"{_moment(found.last_at)} {found.last_id or ''}".rstrip()),
    ]
    if schedule.flexible_minutes:
        facts.append(("window", f"{schedule.flexible_minutes} minutes"))
    return facts


def _fields(found: Scheduled) -> dict[str, Any]:
    return {
        "name": found.name,
        "task": found.task,
        "expression": found.expression,
        "timezone": found.timezone,
        "description": found.description,
        "state": found.state,
        "next_at": found.next_at,
        "last_at": found.last_at,
        "last_id": found.last_id,
        "origin": found.schedule.origin,
        "misfire": found.schedule.misfire,
        "overlap": found.schedule.overlap,
    }


def _moment(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S") if time is not None else "-"


def _both(time: datetime, timezone: str) -> str:
    if timezone == "UTC":
        return f"{_moment(time)} UTC"
    zone = parse("rate(1 day)", timezone).zone
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}  ({_moment(time)} UTC)"
