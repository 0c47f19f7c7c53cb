"""What is wrong in a Django project beside fnqueue's own settings: for `manage.py check` and for `fnqueue check`.

As messages of Django's, which are silenced by SILENCED_SYSTEM_CHECKS. Reads settings; opens no connection.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections

from django_fnqueue.middleware import FnQueueMiddleware, is_installed
from fnqueue.runtime import Runtime

MIDDLEWARE = f"{FnQueueMiddleware.__module__}.{FnQueueMiddleware.__qualname__}"


def middleware_errors(runtime: Runtime) -> list[CheckMessage]:
    """E007."""
    asking = [task.name for task in runtime.registry if runtime.policy_of(task).asks_who()]
    if not asking or is_installed():
        return []
    more = f" and {len(asking) - 1} more" if len(asking) > 1 else ""
    return [
        checks.Error(
            f"The policy of {asking[0]}{more} asks who is logged in, and MIDDLEWARE has nothing that remembers the "
            "request: in a view nobody would be logged in.",
            hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE, after AuthenticationMiddleware. Nothing is deferred in views? "
            "Add fnqueue.E007 to SILENCED_SYSTEM_CHECKS.",
            id="fnqueue.E007",
        )
    ]


def pool_warnings() -> list[CheckMessage]:
    """W002. Without a pool the connections of attempts are looked at in any case; see connections.py."""
    return [
        checks.Warning(
            f"The database {alias!r} has a pool and CONN_HEALTH_CHECKS is off: after a restart of the server the pool "
            "hands out connections that it ended, and tasks fail by them.",
            hint=f'DATABASES[{alias!r}]["CONN_HEALTH_CHECKS"] = True. Or add fnqueue.W002 to SILENCED_SYSTEM_CHECKS.',
            id="fnqueue.W002",
        )
        for alias, given in connections.settings.items()
        if _has_unchecked_pool(given)
    ]


def sentences(messages: Iterable[CheckMessage]) -> list[str]:
    """Those that the project did not silence, each with what to do."""
    silenced = settings.SILENCED_SYSTEM_CHECKS
    return [f"{each.msg}\n{each.hint}" for each in messages if each.id not in silenced]


def _has_unchecked_pool(database: dict[str, object]) -> bool:
    options = database.get("OPTIONS")
    # Oracle's pool looks at connections by itself, whatever Django's setting says.
    if not isinstance(options, dict) or not options.get("pool") or "oracle" in str(database.get("ENGINE")):
        return False
    return not database.get("CONN_HEALTH_CHECKS")
