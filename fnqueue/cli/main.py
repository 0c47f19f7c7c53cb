"""The `fnqueue` command: global options, and commands that are imported when they are asked for.

Import nothing of the machinery here: `fnqueue healthcheck` runs every few seconds beside a worker and must
neither load the application nor half the package.
"""

from __future__ import annotations

import copy
import difflib
from typing import Any

import click

from fnqueue import __version__
from fnqueue.cli.context import APP_KEY
from fnqueue.cli.loading import load

#: Name -> where it is, and its line in `--help`. A name is listed in `--help` without its module being imported.
COMMANDS = {
    "worker": ("fnqueue.cli.worker:worker", "Run tasks until stopped."),
    "tasks": ("fnqueue.cli.tasks:tasks", "List tasks, or the calls of late; revoke calls."),
    "queues": ("fnqueue.cli.queues:queues", "List, create and purge queues."),
    "dlq": ("fnqueue.cli.dlq:dlq", "Look into dead-letter queues; send back or discard."),
    "blobs": ("fnqueue.cli.blobs:blobs", "Sweep large arguments and results."),
    "schedule": ("fnqueue.cli.schedule:schedule", "List, preview, pause and run schedules."),
    "keys": ("fnqueue.cli.keys:keys", "Make, list, check and rotate keys."),
    "audit": ("fnqueue.cli.audit:audit", "Check the audit, or show its last lines."),
    "policy": ("fnqueue.cli.policy:policy", "List the policies of tasks; explain a decision."),
    "emulator": ("fnqueue.cli.emulator:emulator", "Serve Amazon SQS and EventBridge Scheduler on this machine."),
    "check": ("fnqueue.cli.check:check", "Say whether web and worker could start, and start nothing."),
    "healthcheck": ("fnqueue.cli.healthcheck:healthcheck", "Exit 0 if the worker beside this is alive."),
}

EPILOG = (
    "Exit codes: 0 ok, 1 error, 2 usage, 3 the queue cannot be reached, 4 the application cannot be imported, "
    "5 a worker was stopped by force."
)


class LazyGroup(click.Group):
    """A group whose commands are imported when used. `lazy`: as COMMANDS."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        return self.adopt(load(self.lazy[cmd_name][0]))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None

    def adopt(self, command: click.Command) -> click.Command:
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._help(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _help(self, ctx: click.Context, name: str) -> str:
        if name in self.lazy:
            return self.lazy[name][1]
        command = super().get_command(ctx, name)
        return command.get_short_help_str(limit=80) if command else ""


class MainGroup(LazyGroup):
    """`--app` may stand before the command or after it."""

    def adopt(self, command: click.Command) -> click.Command:
        changed = copy.copy(command)
        if isinstance(changed, click.Group):
            changed.commands = {name: self.adopt(each) for name, each in changed.commands.items()}
        alone = not isinstance(changed, click.Group) or changed.invoke_without_command
        if alone and "app" not in {parameter.name for parameter in changed.params} and command.name != "healthcheck":
            changed.params = [*changed.params, app_option()]
        return changed


def app_option() -> click.Option:
    return click.Option(
        ["--app", "-A"],
        metavar="MODULE[:NAME]",
        expose_value=False,
        callback=_remember_app,
        help="The application: shop:app, shop:create_app, or shop alone. (env: FNQUEUE_APP)",
    )


def _remember_app(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[APP_KEY] = value


cli = MainGroup(
    "fnqueue",
    lazy=COMMANDS,
    help="Background functions on SQLite or Amazon SQS.",
    epilog=EPILOG,
    params=[
        app_option(),
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
click.version_option(__version__, prog_name="fnqueue", message="%(prog)s %(version)s")(cli)


def main() -> None:
    cli.main(prog_name="fnqueue")
