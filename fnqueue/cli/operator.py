"""Who runs a command, what they may do with calls of others, and that it is on record.

A command acts as the service `operator`: whoever runs it holds the keys. With `--as USER` it acts as that user, loaded
as he is now: so a team can work with its own names, and each task's `operate=` policy decides. What changes or shows a
call is put on record before it is done; where that cannot be written, it is not done.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import click

from fnqueue.cli.context import find_application, names_application, of_environment
from fnqueue.cli.faults import Fault, ImportFailed
from fnqueue.errors import PolicyDenied
from fnqueue.operating import OPERATOR
from fnqueue.runtime import Runtime
from fnqueue.security.principal import KINDS, Principal
from fnqueue.settings import environment_value

F = TypeVar("F", bound=Callable[..., Any])


def as_option(function: F) -> F:
    return click.option("--as", "who", metavar="USER", help="Act as this user; else as the service 'operator'.")(
        function
    )


def reason_option(function: F) -> F:
    return click.option("--reason", metavar="TEXT", default="", help="Why, in words, for the audit.")(function)


class Operator:
    """`asker` in the middle of one command."""

    def __init__(self, runtime: Runtime, asker: Principal, reason: str) -> None:
        self.runtime, self.asker, self.reason = runtime, asker, reason
        self._decided: dict[str, bool] = {}

    @property
    def subject(self) -> str:
        return self.asker.subject

    def may(self, task: str) -> bool:
        """Whether they may operate on calls of this task. "": of what nobody can prove to be a task's."""
        if task not in self._decided:
            try:
                self.runtime.operating.check(task, self.asker)
                self._decided[task] = True
            except PolicyDenied:
                self._decided[task] = False
        return self._decided[task]

    def record(self, action: str, text: str, **told: Any) -> None:
        """Raises AuditUnwritable: then do not do it."""
        line = f"OPERATOR {self.subject} {text}: {self.reason or 'no reason given'}"
        self.runtime.audit.must("operator", line, {"action": action, **self._who(), **told})

    def _who(self) -> dict[str, str]:
        return {"by": self.subject, "unix_user": unix_user(), "reason": self.reason}


@contextmanager
def operator(runtime: Runtime, who: str | None, reason: str, *, needs_reason: str = "") -> Iterator[Operator]:
    """`needs_reason`: what for, as "to show arguments"; then a reason must be given. Inside an app context, if the
    framework has one."""
    if needs_reason and not reason.strip():
        raise click.UsageError(f"{needs_reason} give --reason: it is put on record")
    task = next(iter(runtime.registry), None)
    with runtime.hooks.scope(task) if task is not None else nullcontext():
        yield Operator(runtime, _asker(runtime, who), reason.strip())


def on_record(ctx: click.Context, reason: str, action: str, text: str, **told: Any) -> None:
    """Of a command that may need no application: on record where one is named, or an audit's folder. Before it is done.

    An application that cannot be imported keeps nobody from revoking a stolen key: then the environment's settings say
    where the audit is, and where they do not, that is told. Raises as `Operator.record` and `find_application`.
    """
    audited = environment_value("AUDIT_DIR")
    if not names_application(ctx) and not audited:
        return
    try:
        runtime = find_application(ctx, needs_tasks=False).runtime
    except ImportFailed as error:
        if not audited:
            click.echo(f"fnqueue: not on record, for the application says where: {error.message}", err=True)
            return
        if not environment_value("URL"):
            raise
        runtime = of_environment().runtime
    Operator(runtime, OPERATOR, reason.strip()).record(action, text, **told)


def _asker(runtime: Runtime, who: str | None) -> Principal:
    if who is None:
        return OPERATOR
    load = runtime.hooks.load_principal
    if load is None:
        raise Fault("--as USER: nobody says who that is; give @fn.load_principal (or Flask-Login's user_loader)")
    found = load(who)
    if found is None:
        raise Fault(f"--as {who}: this user is gone or inactive")
    return found


def unix_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def subject_given(text: str) -> str:
    """ "user:7" as it is; "7" is a user's."""
    return text if text.partition(":")[0] in KINDS.values() else f"user:{text}"
