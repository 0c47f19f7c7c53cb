"""Which Django project this is, and its start where no manage.py did it."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import django
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings

from fnqueue.cli.faults import ImportFailed
from fnqueue.errors import AppNotFound
from fnqueue.settings import foreign_environment


def set_up() -> None:
    """`django.setup()`, if nobody did it yet. Raises AppNotFound, ImportFailed."""
    if not apps.ready:
        module = _settings_module()
        try:
            django.setup()
        except (Exception, SystemExit) as error:
            raise ImportFailed(module, error, __file__) from None
    if not apps.is_installed("django_fnqueue"):
        raise AppNotFound(f'{project_name()}: INSTALLED_APPS has no "django_fnqueue": add it')


def project_name() -> str:
    """`mysite` of `mysite.settings`."""
    return str(getattr(settings, "SETTINGS_MODULE", None) or "").partition(".")[0]


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
