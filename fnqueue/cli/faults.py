"""What goes wrong, as a text and an exit code. A command never shows a traceback of our own making.

0 ok   1 error   2 usage   3 the queue cannot be reached   4 the application cannot be imported   5 forced stop
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import IO, Any, ParamSpec, TypeVar

import click

from fnqueue.errors import AppNotFound, BrokerUnreachable, FnQueueError

P = ParamSpec("P")
R = TypeVar("R")

OURS = ("fnqueue", "flask_fnqueue", "django_fnqueue")
ERROR, USAGE, UNREACHABLE, IMPORT = 1, 2, 3, 4


class Fault(click.ClickException):
    """Shown as `fnqueue: text` on stderr."""

    def __init__(self, text: str, exit_code: int = ERROR) -> None:
        super().__init__(text)
        self.exit_code = exit_code  # type: ignore[misc] # click declares it on the class, and reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"fnqueue: {self.message}", file=file or sys.stderr)


class ImportFailed(Fault):
    """A module of the application raised while it was imported. Its own traceback is the message.

    `files`: those that the traceback names, for whoever waits until one of them is mended. `ours`: the files, and
    folders, whose frames lead to the application's and are left out.
    """

    def __init__(self, name: str, error: BaseException, *ours: str) -> None:
        error.__traceback__ = _theirs(error.__traceback__, ours)
        self.files = _files(error)
        if isinstance(error, FnQueueError) or _is_our_hint(error):
            _cut_ours(error.__traceback__)
        text = "".join(traceback.format_exception(error)).rstrip()
        super().__init__(f"importing {name} failed:\n\n{text}", IMPORT)


def reported(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose FnQueueErrors are shown as one text, with their exit code."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except FnQueueError as error:
            raise Fault(str(error), exit_code_of(error)) from error

    return guarded


def exit_code_of(error: FnQueueError) -> int:
    if isinstance(error, BrokerUnreachable):
        return UNREACHABLE
    return IMPORT if isinstance(error, AppNotFound) else ERROR


def _theirs(trace: TracebackType | None, ours: tuple[str, ...]) -> TracebackType | None:
    """The traceback from the first frame that is neither `ours` nor the import system's; None if none is."""
    at = trace
    while at is not None and (at.tb_frame.f_code.co_filename.startswith(ours) or _is_machinery(at)):
        at = at.tb_next
    return at


def _cut_ours(trace: TracebackType | None) -> None:
    """Leave out where we raised what we found wrong: the application's line that called us is the one to look at."""
    last = None
    while trace is not None:
        last, trace = (last if _is_ours(trace) else trace), trace.tb_next
    if last is not None:
        last.tb_next = None


def _is_our_hint(error: BaseException) -> bool:
    """An AttributeError of ours, that says what is meant."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)[-1:]] == ["__getattr__"]


def _is_ours(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in OURS


def _is_machinery(trace: TracebackType) -> bool:
    name = trace.tb_frame.f_code.co_filename
    return name.startswith("<frozen importlib") or "/importlib/" in name or name.endswith("/fnqueue/cli/loading.py")


def _files(error: BaseException) -> list[str]:
    found = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        found.append(error.filename)
    return found
