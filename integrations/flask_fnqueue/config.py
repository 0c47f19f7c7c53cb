"""Flask's configuration as one mapping of settings.

Four layers, the later wins: what the extension was made with, what `init_app` was given, the dict `FNQUEUE`,
flat keys `FNQUEUE_*`. (The environment wins over them all, in `Settings.build`.) Nothing is written back.
Read at first use, so that configuration set after `init_app` counts.
Knows nothing of what the settings mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fnqueue.errors import SettingsInvalid
from fnqueue.settings import PREFIX

DICT_KEY = PREFIX.rstrip("_")
EXAMPLE = 'write {"URL": "sqlite:///fnqueue.db"}, or set FNQUEUE_URL'


def merged(config: Mapping[str, Any], *defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One value per setting, under the name by which it was given: an error can then quote it.

    Raises SettingsInvalid when `FNQUEUE` is no dict.
    """
    chosen: dict[str, tuple[str, Any]] = {}
    for layer in (*defaults, _dict(config), _flat(config)):
        for shown, value in layer.items():
            chosen[_name(shown)] = (shown, value)
    return dict(chosen.values())


def _dict(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get(DICT_KEY)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise SettingsInvalid([f"app.config[{DICT_KEY!r}] must be a dict of settings, got {kind}: {EXAMPLE}"])
    return found


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key.startswith(PREFIX)}


def _name(shown: str) -> str:
    return shown.upper().removeprefix(PREFIX)
