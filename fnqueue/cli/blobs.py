"""`fnqueue blobs`: what is too large for messages and records, and kept elsewhere."""

from __future__ import annotations

import click

from fnqueue.cli.context import find_application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.screen import count


@click.group()
def blobs() -> None:
    """Look after large arguments and results, which are kept outside of messages and records."""


@blobs.command()
@click.pass_context
@reported
def sweep(ctx: click.Context) -> None:
    """Delete what no message and no record can lead to any more.

    Workers do it every hour. What is swept are orphans (of a process that died between putting its arguments there
    and sending the call) and what ended without being deleted: 15 days after their calls expired, so that all that
    is still in a queue, in a dead-letter queue or parked finds its arguments.
    """
    kept = find_application(ctx, needs_tasks=False).runtime.blobs
    if kept is None:
        raise Fault("nothing is kept: FNQUEUE_BLOBS_URL is not set")
    click.echo(f"{count(kept.sweep(), 'blob')} deleted from {kept.place.shown}")
