"""Django's settings as one mapping for fnqueue: the dict `FNQUEUE` of the settings module.

Two layers, the later wins: what the FnQueue was made with, the dict. (The environment wins over both, in
`Settings.build`.) Read at first use. Knows nothing of what the settings mean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from django.conf import ENVIRONMENT_VARIABLE, settings
from django.core.exceptions import ImproperlyConfigured

from fnqueue.errors import AppNotFound, SettingsInvalid
from fnqueue.settings import PREFIX, foreign_environment, names

NAME = PREFIX.rstrip("_")


class DjangoNotConfigured(AppNotFound, ImproperlyConfigured):
    """There are no settings of Django to read."""


def merged(name: str, *defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One value per setting, under the name by which it was given: an error can then quote it.

    `name`: which dict of Django's settings. Raises SettingsInvalid, DjangoNotConfigured.
    """
    chosen: dict[str, tuple[str, Any]] = {}
    for layer in (*defaults, _dict(name)):
        for shown, value in layer.items():
            chosen[str(shown).upper().removeprefix(PREFIX)] = (str(shown), value)
    return dict(chosen.values())


def base_dir() -> str:
    """What relative paths are relative to: BASE_DIR, else the working directory."""
    return str(_setting("BASE_DIR") or os.getcwd())


def _dict(name: str) -> Mapping[str, Any]:
    found = _setting(name)
    if found is None:
        _check_flat(name)
        return {}
    if not isinstance(found, Mapping):
        raise SettingsInvalid(
            [f'settings.{name} must be a dict, as {{"URL": "sqlite:///fnqueue.db"}}, got {type(found).__name__}']
        )
    _check_flat(name)
    return found


def _check_flat(name: str) -> None:
    """FNQUEUE_URL of the settings module would be read by nobody, and quietly be another queue than it says."""
    flat = [f"{name}_{each.upper()}" for each in names()]
    found = [each for each in flat if _setting(each) is not None]
    if found:
        raise SettingsInvalid(
            [
                f"settings.{each} is not read: write it into the dict, as "
                f'{name} = {{"{each.removeprefix(name + "_")}": ...}}'
                for each in found
            ]
        )


def _setting(name: str) -> Any:
    check_configured()
    return getattr(settings, name, None)


def check_configured() -> None:
    """Raises DjangoNotConfigured."""
    if not settings.configured and not foreign_environment(ENVIRONMENT_VARIABLE):
        raise DjangoNotConfigured(
            f"fnqueue needs Django's settings here, and {ENVIRONMENT_VARIABLE} is not set.\n"
            f"Run it by manage.py, or begin with: os.environ.setdefault({ENVIRONMENT_VARIABLE!r}, "
            '"mysite.settings"); django.setup()'
        )
