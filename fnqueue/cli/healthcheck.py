"""`fnqueue healthcheck`: is the worker beside this alive? For containers and process managers.

Reads the file that the worker writes at every heartbeat, and looks whether its process is there. It imports no
application and asks no queue: a broker that is down is no reason to kill a worker that waits for it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import click

from fnqueue.clock import SystemClock

FRESH_SECONDS = 30.0


@click.command()
@click.option(
    "--health-file",
    "-f",
    envvar="FNQUEUE_HEALTH_FILE",
    required=True,
    type=click.Path(dir_okay=False),
    help="The worker's --health-file. (env: FNQUEUE_HEALTH_FILE)",
)
@click.option(
    "--max-age",
    type=click.FloatRange(1),
    default=FRESH_SECONDS,
    show_default=True,
    help="Seconds since its last heartbeat.",
)
@click.option("--json", "json_", is_flag=True, help="Print what was found.")
def healthcheck(health_file: str, max_age: float, json_: bool) -> None:
    """Exit 0 if the worker beside this is alive, else 1."""
    found, trouble = look(health_file, max_age, now=SystemClock().now())
    if json_:
        click.echo(json.dumps({"ok": trouble is None, "trouble": trouble, **found}))
    elif trouble is None:
        click.echo(f"ok: worker {found['pid']} wrote {found['age_seconds']:.1f} s ago")
    else:
        click.echo(f"fnqueue: {trouble}", err=True)
    raise SystemExit(0 if trouble is None else 1)


def look(path: str, max_age: float, *, now: float) -> tuple[dict[str, Any], str | None]:
    """What the file says with its age in seconds, and what is wrong; None: nothing."""
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        found = {**said, "pid": int(said["pid"]), "age_seconds": round(max(0.0, now - float(said["at"])), 3)}
    except FileNotFoundError:
        return {}, f"no worker: {path} is not there"
    except OSError as error:
        return {}, f"{path} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError):
        return {}, f"{path} is no health file of a worker"
    if not _lives(found["pid"]):
        return found, f"worker {found['pid']} is gone, and left {path} behind"
    if found["age_seconds"] > max_age:
        return found, f"worker {found['pid']} wrote {found['age_seconds']:.0f} s ago; at most {max_age:g} s are ok"
    return found, None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's, so it is there
    return pid > 0
