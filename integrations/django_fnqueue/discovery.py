"""Where tasks are: `tasks` beside every installed app, or the modules that the setting IMPORTS names.

What such a module raises is raised, as Django does with the modules of models: a project that cannot be
imported does not start.
"""

from __future__ import annotations

import importlib

from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from django_fnqueue.extension import FnQueue
from fnqueue.errors import FnQueueError, SettingsInvalid

MODULE = "tasks"
#: Somebody else's app may have such a module for another queue, which is not installed here.
NOTE = (
    "fnqueue imports the module `tasks` beside each installed app. To import others, and only those, name them: "
    'FNQUEUE = {"IMPORTS": ["shop.tasks"]}'
)


def import_tasks(fn: FnQueue) -> list[str]:
    """Import them. Returns the names that were looked for. Raises what they raise."""
    wanted = _imports(fn)
    if wanted:
        for name in wanted:
            importlib.import_module(name)
        return wanted
    try:
        autodiscover_modules(MODULE)
    except FnQueueError:
        raise  # a mistake in a task of ours, so the module is meant for us
    except Exception as error:
        error.add_note(NOTE)
        raise
    return [f"{config.name}.{MODULE}" for config in apps.get_app_configs() if config.name != "django_fnqueue"]


def _imports(fn: FnQueue) -> list[str]:
    try:
        return list(fn.settings().imports)
    except SettingsInvalid:
        return []  # the checks say what is wrong, and they come later: a project that does not start says less
