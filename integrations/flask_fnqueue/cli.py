"""`flask fnqueue ...`: the commands of `fnqueue`, for the app that flask found, and `dev`.

The app is loaded when a command asks for it, inside its own context: `flask fnqueue healthcheck` loads none.
Imported by every `flask` command, so this stays light.
"""

from __future__ import annotations

import os
from typing import Any

import click
from flask.cli import AppGroup, ScriptInfo

from fnqueue.cli.context import set_finder
from fnqueue.cli.loading import load
from fnqueue.cli.main import COMMANDS, EPILOG, LazyGroup

FILES = ("wsgi.py", "app.py")  # in Flask's own order


class FlaskCommands(LazyGroup, AppGroup):
    """The commands of `fnqueue`; `@cli.command()` adds one that runs in the app's context, as flask's own do."""


def _begin() -> None:
    ctx = click.get_current_context()
    set_finder(ctx, lambda: _find(ctx))


def _find(ctx: click.Context) -> Any:
    """The `Application` of the app that `flask` was started for, in whose context the command goes on."""
    info = ctx.ensure_object(ScriptInfo)
    path = app_path(info)
    if info.create_app is None and path is not None:
        # Imported here first: of an import that fails ours says in which files, so that --reload can watch them.
        load("fnqueue.cli.discovery:import_path")(path)
    app = info.load_app()
    ctx.with_resource(app.app_context())
    return load("fnqueue.cli.discovery:to_application")(app, path or app.import_name)


def app_path(info: ScriptInfo) -> str | None:
    """What `--app` or FLASK_APP say, else the file that flask would take."""
    if info.app_import_path:
        return info.app_import_path
    return next((file for file in FILES if os.path.isfile(file)), None)


cli = FlaskCommands(
    "fnqueue",
    lazy={**COMMANDS, "dev": ("flask_fnqueue.dev:dev", "Run web and worker together, and reload both.")},
    help="Background functions of this app.",
    epilog=EPILOG,
    callback=_begin,
)
