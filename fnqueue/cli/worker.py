"""`fnqueue worker`: finds the application, says what it will do, and works until it is stopped.

All faults are said at once and before anything is received. Exit codes are the worker's own (0, 5) or `faults`'.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from fnqueue.broker.names import check_queue
from fnqueue.cli.banner import Banner, banner
from fnqueue.cli.context import RELOADER_KEY, find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.reload import Reloader
from fnqueue.errors import FnQueueError, OptionInvalid
from fnqueue.observe import logs
from fnqueue.runtime import Runtime
from fnqueue.worker.worker import Worker

DEFAULT_QUEUE = "default"  # of a worker without tasks, which --allow-empty lets start


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    queues: tuple[str, ...] | None
    concurrency: int | None
    burst: bool
    max_tasks: int | None
    log_level: str
    log_format: str | None
    health_file: str | None
    allow_empty: bool
    no_schedule: bool
    name: str | None


def _queues(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    try:
        return tuple(check_queue(part.strip()) for part in value.split(",") if part.strip()) or None
    except OptionInvalid as error:
        raise click.BadParameter(str(error)) from None


def _env(name: str, text: str) -> dict[str, Any]:
    return {"envvar": f"FNQUEUE_{name}", "help": f"{text} (env: FNQUEUE_{name})"}


@click.command()
@click.option("--queues", "-q", metavar="A,B", callback=_queues, **_env("QUEUES", "These only; default: all tasks'."))
@click.option(
    "--concurrency", "-c", type=click.IntRange(1, 1000), help="Threads that run tasks. (env: FNQUEUE_CONCURRENCY)"
)
@click.option("--burst", is_flag=True, **_env("BURST", "End when the queues are empty."))
@click.option("--max-tasks", type=click.IntRange(1), **_env("MAX_TASKS", "End after so many."))
@click.option("--reload", "reloads", is_flag=True, **_env("RELOAD", "Start anew when a source file changes."))
@click.option(
    "--log-level",
    type=click.Choice(list(logs.LEVELS)),
    default="info",
    show_default=True,
    **_env("LOG_LEVEL", "From here up."),
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    help="auto: text on a terminal. (env: FNQUEUE_LOG_FORMAT)",
)
@click.option("--health-file", type=click.Path(dir_okay=False), **_env("HEALTH_FILE", "Written at every heartbeat."))
@click.option("--allow-empty", is_flag=True, **_env("ALLOW_EMPTY", "Start without any task."))
@click.option("--no-schedule", is_flag=True, **_env("NO_SCHEDULE", "Leave schedules to others."))
@click.option("--name", **_env("WORKER_NAME", "In records and logs; default: host and pid."))
@click.pass_context
@reported
def worker(ctx: click.Context, /, reloads: bool, **options: Any) -> None:
    """Run tasks until stopped.

    SIGTERM or Ctrl-C: receive no more, let running tasks finish, give back the rest. A second one: give back at once.
    """
    chosen = WorkerOptions(**options)
    reloader: Reloader | None = ctx.meta.get(RELOADER_KEY, Reloader)() if reloads else None
    try:
        code = _work(ctx, chosen, reloader)
    except click.ClickException as error:
        if reloader is None:
            raise
        error.show()
        reloader.wait_for_change(getattr(error, "files", ()))
        code = 0
    if reloader is not None and reloader.changed:
        reloader.start_anew()
    ctx.exit(code)


@reported
def _work(ctx: click.Context, options: WorkerOptions, reloader: Reloader | None) -> int:
    app: Application = find_application(ctx)
    looked_for = app.import_tasks()
    if len(app.runtime.registry) == 0 and not options.allow_empty:
        raise Fault(no_tasks(app.name, looked_for))
    format_ = options.log_format or app.runtime.settings.log_format
    # Before the worker is made: it makes the key file if there is none, and says so in the log.
    logs.configure(format=format_, level=options.log_level)
    logs.subscribe(app.runtime.events, format=format_)
    with _ends_when_told():
        made = _make(app, options)
        _open(app.runtime)
        _say(banner(app.runtime, app.name, made.queues, made.describe()), format_)
        if reloader is not None:
            reloader.watch(made.stop)
        gc.freeze()  # what is imported stays: the collector need not walk over it again and again
        return made.run()


@contextmanager
def _ends_when_told() -> Iterator[None]:
    """SIGTERM before the worker began: nothing was received, so it ends at once, and well."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _make(app: Application, options: WorkerOptions) -> Worker:
    return Worker(
        app.runtime,
        queues=options.queues or app.runtime.registry.queues() or (DEFAULT_QUEUE,),
        concurrency=options.concurrency,
        burst=options.burst,
        max_tasks=options.max_tasks,
        name=options.name,
        health_file=options.health_file,
        schedules=not options.no_schedule,
    )


def _open(runtime: Runtime) -> None:
    """Ends the command for what no waiting mends: a file that is no database, say, or boto3 that is missing."""
    try:
        runtime.engine.open()
    except FnQueueError as error:
        if not error.retryable:
            raise


def _say(said: Banner, format_: str) -> None:
    if logs.chosen(format_, sys.stderr) == "json":
        click.echo(json.dumps({"level": "info", "logger": "fnqueue.worker", **said.fields()}), err=True)
        return
    for line in said.lines():
        click.echo(line, err=True)


def no_tasks(app: str, looked_for: list[str]) -> str:
    where = f", and in {', '.join(looked_for)}" if looked_for else ""
    return (
        f"{app} has no task: looked at what it imports{where}.\n"
        "Name the modules with tasks in FNQUEUE_IMPORTS=shop.tasks,shop.mail, or start with --allow-empty."
    )
