"""Which Django project this is, and its start where no manage.py did it."""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import django
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings

from fnqueue.cli.faults import ImportFailed
from fnqueue.errors import AppNotFound
from fnqueue.settings import foreign_environment

#: What runs between `django.setup()` and the project's own modules.
STARTERS = tuple(os.path.join(os.path.dirname(file), "") for file in (__file__, django.__file__))


def set_up() -> None:
    """`django.setup()`, if nobody did it yet. Raises AppNotFound, ImportFailed."""
    if not apps.ready:
        module = _settings_module()
        try:
            django.setup()
        except (Exception, SystemExit) as error:
            raise ImportFailed(f"the project of {module}", error, *STARTERS) from None
    if not apps.is_installed("django_fnqueue"):
        raise AppNotFound(
            f'the Django project {project_name()} has no "django_fnqueue" in INSTALLED_APPS: add it there, '
            "or name another application with --app"
        )


def project_name() -> str:
    """`mysite` of `mysite.settings`, or of `mysite.settings.production`."""
    return name_of(str(getattr(settings, "SETTINGS_MODULE", None) or ""))


def name_of(module: str) -> str:
    parts = module.split(".")
    ends = next((n for n, part in enumerate(parts) if part.startswith("settings")), len(parts) - 1)
    return ".".join(parts[:ends]) or parts[0]


def _settings_module() -> str:
    module = foreign_environment(ENVIRONMENT_VARIABLE) or named_by_manage(Path("manage.py"))
    if not settings.configured and module is None:
        raise AppNotFound(f"{ENVIRONMENT_VARIABLE} is not set, and the manage.py here names none")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if module is not None:
        os.environ.setdefault(ENVIRONMENT_VARIABLE, module)  # noqa: TID251 - where Django itself looks for it
    return module or "the settings"


def named_by_manage(path: Path) -> str | None:
    """`os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")` -> mysite.settings. Nothing is run."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and [getattr(each, "value", None) for each in node.args[:1]] == [
            ENVIRONMENT_VARIABLE
        ]:
            value = getattr(node.args[-1], "value", None)
            return value if isinstance(value, str) and len(node.args) == 2 else None
    return None


def command_line(*words: str) -> list[str]:
    """Another command of this manage.py: how this process was started, up to its first word, and then `words`.

    DJANGO_SETTINGS_MODULE is in the environment, whoever set it; --pythonpath is not.
    """
    begin = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    path = django_options(sys.argv[2:])[0].pythonpath
    return [sys.executable, *begin, *words, *(["--pythonpath", path] if path else [])]


def django_options(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What all commands of Django have, and the rest of the words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    parser.add_argument("-v", "--verbosity", type=int, choices=(0, 1, 2, 3), default=1)
    parser.add_argument("--traceback", action="store_true")
    parser.add_argument("--no-color", action="store_true")
    parser.add_argument("--force-color", action="store_true")
    parser.add_argument("--skip-checks", action="store_true")
    return parser.parse_known_args(list(words))
