"""`fnqueue emulator`: Amazon SQS and EventBridge Scheduler on this machine. Needs no application."""

from __future__ import annotations

import re

import click

from fnqueue.cli.faults import Fault, exit_code_of
from fnqueue.emulator.server import Options, serve
from fnqueue.errors import FnQueueError

_MEMORY = ":memory:"


@click.command()
@click.option("--host", default=Options().host, show_default=True, help="The address to listen on.")
@click.option("--port", default=Options().port, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--db", default="fnqueue-emulator.db", show_default=True, help=f"The file; {_MEMORY} keeps nothing.")
@click.option("--account", default=Options().account, show_default=True, help="Of callers whose key names none.")
@click.option("--region", default=Options().region, show_default=True, help="Of callers who sign with none.")
@click.option("--strict", is_flag=True, help="Also the rules that hinder development: 60 s after deletion and purge.")
@click.option(
    "--test-clock", is_flag=True, help="POST /_clock turns the clock forward. In memory: POST /_reset empties all."
)
def emulator(host: str, port: int, db: str, account: str, region: str, strict: bool, test_clock: bool) -> None:
    """Serve Amazon SQS and EventBridge Scheduler on this machine, durable in one file.

    Point any client at it: AWS_ENDPOINT_URL=http://127.0.0.1:9324. Signatures are not checked; their region is the
    caller's, and an access key of twelve digits is an account.
    """
    if not re.fullmatch("[0-9]{12}", account):
        raise click.BadParameter("twelve digits", param_hint="--account")
    if not re.fullmatch("[a-z0-9-]{1,40}", region):
        raise click.BadParameter("a region's name, as eu-west-1", param_hint="--region")
    options = Options(
        host=host,
        port=port,
        db=None if db == _MEMORY else db,
        account=account,
        region=region,
        strict=strict,
        test_clock=test_clock,
    )
    try:
        serve(
            options, lambda url: click.echo(f"fnqueue emulator: SQS and EventBridge Scheduler on {url}, kept in {db}")
        )
    except FnQueueError as error:
        raise Fault(str(error), exit_code_of(error)) from error
