"""What `manage.py check` says about fnqueue: all at once, by number, each with what to do.

    E001  the url of the queue or of the store     E008  no environment on SQS
    E002  the keys                                 E009  once=True without a store
    E003  a setting that is none, or is wrong      E010  a priority on SQS
    E004  tasks without a policy on SQS            E011  two queues that are one to the seal
    E007  a policy asks who is logged in, and the middleware that remembers the request is missing
    W001  a queue on SQLite with DEBUG off (check --deploy)
    W002  a database pool that hands out connections unchecked

All but E007 and the warnings are what a worker would refuse to start for, and a web process to defer. Nothing is opened
but the key file, and that one is not made.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from django_fnqueue import fn
from django_fnqueue.extension import FnQueue
from django_fnqueue.faults import middleware_errors, pool_warnings
from fnqueue.errors import SettingsInvalid
from fnqueue.runtime import FaultKind, Runtime

TAG = "fnqueue"

WRONG_SETTING = ("fnqueue.E003", "Mend the dict FNQUEUE in the settings, or the environment's FNQUEUE_ variable.")
NUMBERS: dict[FaultKind, tuple[str, str]] = {
    "url": ("fnqueue.E001", 'FNQUEUE = {"URL": "sqlite:///fnqueue.db"}, or "sqs://eu-west-1/shop-" on Amazon SQS.'),
    "keys": ("fnqueue.E002", "Make a key with: manage.py fnqueue keys new. All that defer or run calls need the same."),
    "environment": ("fnqueue.E008", 'FNQUEUE = {"ENVIRONMENT": "production"}; another name for staging.'),
    "policy": (
        "fnqueue.E004",
        "@fn.task(policy=authenticated), from fnqueue.policies; policy=public is for everybody.",
    ),
    "store": ("fnqueue.E009", 'FNQUEUE = {"STORE_URL": "sqlite:////srv/shop/store.db"}.'),
    "priority": ("fnqueue.E010", 'FNQUEUE = {"PRIORITY_QUEUES": ["default"]}, then: manage.py fnqueue queues create.'),
    "queues": ("fnqueue.E011", "@fn.task(queue=...): rename one of the two."),
}


def check_settings(**about: Any) -> list[CheckMessage]:
    return [*check_queue(fn), *pool_warnings()]


def check_deployment(**about: Any) -> list[CheckMessage]:
    runtime = _runtime(fn)
    if isinstance(runtime, Runtime) and runtime.settings.url.startswith("sqlite:") and not settings.DEBUG:
        return [
            checks.Warning(
                "The queue of fnqueue is a file of this machine, and DEBUG is off: workers elsewhere have another.",
                hint="One machine is enough? Add fnqueue.W001 to SILENCED_SYSTEM_CHECKS. Else set FNQUEUE_URL to SQS.",
                id="fnqueue.W001",
            )
        ]
    return []


def check_queue(queue: FnQueue) -> list[CheckMessage]:
    """All errors of one FnQueue, for projects that have another one besides `django_fnqueue.fn`."""
    runtime = _runtime(queue)
    if not isinstance(runtime, Runtime):
        return runtime
    found = [
        _error(*NUMBERS[kind], fault)
        for kind, faults in runtime.faults_by_kind(make_key=False).items()
        for fault in faults
    ]
    return [*found, *middleware_errors(runtime)]


def _runtime(queue: FnQueue) -> Runtime | list[CheckMessage]:
    """One that nobody else uses: what is checked now must not count as checked later."""
    try:
        return queue.make()
    except SettingsInvalid as error:
        return [_error(*WRONG_SETTING, fault) for fault in error.faults]


def _error(number: str, hint: str, fault: str) -> CheckMessage:
    return checks.Error(fault, hint=hint, id=number)
