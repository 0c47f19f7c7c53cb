"""`manage.py fnqueue dev`: runserver and worker as two processes, both reloading, their output side by side."""

from __future__ import annotations

import os

import click

from django_fnqueue.project import command_line
from fnqueue.cli.faults import reported
from fnqueue.cli.together import Together, check_port


@click.command()
@click.option("--host", "-h", default="127.0.0.1", show_default=True)
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--concurrency", "-c", type=click.IntRange(1, 1000), help="Threads of the worker.")
@click.pass_context
@reported
def dev(ctx: click.Context, /, host: str, port: int, concurrency: int | None) -> None:
    """Run web and worker together, and reload both when a source file changes."""
    check_port(host, port)
    os.environ["PYTHONUNBUFFERED"] = "1"  # noqa: TID251 - runserver starts another Python, whose lines would wait
    shown = f"[{host}]" if ":" in host else host
    web = command_line("runserver", f"{shown}:{port}")
    worker = command_line("fnqueue", "worker", "--reload", "--log-format", "text")
    if concurrency is not None:
        worker += ["--concurrency", str(concurrency)]
    ctx.exit(Together({"web": web, "worker": worker}).run())
