"""One command of manage.py for all commands of fnqueue, in which the options of Django's own commands count too.

--settings and --pythonpath took effect before we are asked; --verbosity is the worker's log level; exit codes are
those of `fnqueue`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, SystemCheckError
from django.db import connections

from django_fnqueue.cli import cli
from django_fnqueue.project import django_options
from django_fnqueue.reload import DjangoReloader

#: Those that work for the project. The others must do where its settings are still wrong: `keys new`, say.
CHECKED = ("worker", "dev")
LOG_LEVELS = {0: "warning", 1: "info", 2: "debug", 3: "debug"}


class FnQueueCommand(BaseCommand):
    """`before`: words that stand before those that were given, as `worker` for an alias."""

    help = "Background functions: worker, dev, tasks, queues, dead letters, keys."
    requires_system_checks: Sequence[str] = ()  # run for those of CHECKED, below
    before: tuple[str, ...] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        self._called_from_command_line = True
        options, words = django_options(argv[2:])
        try:
            code = self.run(words, options, program=_program(argv[0]))
        finally:
            connections.close_all()
        sys.exit(code)

    def print_help(self, prog_name: str, subcommand: str) -> None:
        self.run(["--help"], django_options(())[0], program=_program(prog_name))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = _Words
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        """By `call_command("fnqueue", "tasks")`. Raises SystemExit with the exit code, unless it is 0."""
        words = [str(word) for word in options.pop("words")]
        with redirect_stdout(self.stdout._out), redirect_stderr(self.stderr._out):
            code = self.run(words, argparse.Namespace(**options), program=_program("manage.py"))
        if code:
            sys.exit(code)

    def run(self, words: Sequence[str], options: argparse.Namespace, *, program: str) -> int:
        """The exit code."""
        words = [*self.before, *words]
        if words[:1] and words[0] in CHECKED and not options.skip_checks and "--help" not in words:
            trouble = self._trouble()
            if trouble is not None and "--reload" in words:
                DjangoReloader().start_when_mended(trouble)
            if trouble is not None:
                self.stderr.write(trouble)
                return 1
        if options.no_color:
            os.environ["NO_COLOR"] = "1"  # noqa: TID251 - heeded by this process and by those that it starts
        return _click(words, program, default_map={"worker": {"log_level": LOG_LEVELS[options.verbosity]}})

    def _trouble(self) -> str | None:
        """What the project's system checks find; or what it raises at them, because they import its urls."""
        try:
            self.check()
        except SystemCheckError as error:
            return str(error)
        except Exception:
            return traceback.format_exc()
        return None


class _Words(CommandParser):
    """For `call_command`, as the command line is read: Django's options wherever they stand, and all else is ours.

    argparse would take an option in the first place for one that it should know."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        options, words = django_options(args or ())
        options.words = words
        return options


def _click(words: Sequence[str], program: str, **about: Any) -> int:
    """The exit code of one command line."""
    try:
        cli.main(list(words), prog_name=program, **about)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _program(path: str) -> str:
    return f"{os.path.basename(path)} fnqueue"
