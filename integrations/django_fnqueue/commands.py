"""One command of manage.py for all commands of fnqueue, and how the options of all of Django's commands count there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, SystemCheckError

from django_fnqueue.cli import cli

#: Those that work for the project. The others must do where its settings are still wrong: `keys new`, say.
CHECKED = ("worker", "dev")


class FnQueueCommand(BaseCommand):
    """`before`: words that stand before those that were given, as `worker` for an alias."""

    help = "Background functions: worker, tasks, queues, dead letters, keys."
    requires_system_checks: Sequence[str] = ()
    before: tuple[str, ...] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        self._called_from_command_line = True
        options, words = _django_options(argv[2:])
        sys.exit(self.run(words, options, program=f"{_base(argv[0])} {argv[1]}"))

    def print_help(self, prog_name: str, subcommand: str) -> None:
        self.run(["--help"], argparse.Namespace(skip_checks=True), program=f"{_base(prog_name)} {subcommand}")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> str | None:
        """By `call_command`."""
        code = self.run(options["words"], argparse.Namespace(**options), program="manage.py fnqueue")
        if code:
            sys.exit(code)
        return None

    def run(self, words: Sequence[str], options: argparse.Namespace, *, program: str) -> int:
        """The exit code."""
        words = [*self.before, *words]
        if words[:1] and words[0] in CHECKED and not options.skip_checks and "--help" not in words:
            try:
                self.check()
            except SystemCheckError as error:
                self.stderr.write(str(error), lambda text: text)
                return 1
        try:
            cli.main(words, prog_name=program, color=False if getattr(options, "no_color", False) else None)
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return 0


def _django_options(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What all commands of Django have, and the rest. --settings and --pythonpath have taken effect already."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    parser.add_argument("-v", "--verbosity", type=int, choices=(0, 1, 2, 3), default=1)
    parser.add_argument("--traceback", action="store_true")
    parser.add_argument("--no-color", action="store_true")
    parser.add_argument("--force-color", action="store_true")
    parser.add_argument("--skip-checks", action="store_true")
    return parser.parse_known_args(list(words))


def _base(program: str) -> str:
    return program.replace("\\", "/").rpartition("/")[2]
