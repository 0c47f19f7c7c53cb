"""`flask fnqueue dev`: web and worker as two processes, both reloading, their output side by side."""

from __future__ import annotations

import sys

import click
from flask.cli import ScriptInfo
from flask.helpers import get_debug_flag

from flask_fnqueue.cli import app_path
from fnqueue.cli.faults import reported
from fnqueue.cli.together import Together, check_port


@click.command()
@click.option("--host", "-h", default="127.0.0.1", show_default=True)
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=5000, show_default=True)
@click.option("--concurrency", "-c", type=click.IntRange(1, 1000), help="Threads of the worker.")
@click.pass_context
@reported
def dev(ctx: click.Context, /, host: str, port: int, concurrency: int | None) -> None:
    """Run web and worker together, and reload both when a source file changes."""
    check_port(host, port)
    flask = [sys.executable, "-u", "-m", "flask", *_app_arguments(ctx.ensure_object(ScriptInfo))]
    web = [*flask, "run", "--host", host, "--port", str(port), "--reload"]
    worker = [*flask, "fnqueue", "worker", "--reload", "--log-format", "text"]
    if concurrency is not None:
        worker += ["--concurrency", str(concurrency)]
    ctx.exit(Together({"web": web, "worker": worker}).run())


def _app_arguments(info: ScriptInfo) -> list[str]:
    path = app_path(info)
    return [*(["--app", path] if path else []), *(["--debug"] if get_debug_flag() else [])]
