"""`manage.py fnqueue worker`, and all others."""

from django_fnqueue.commands import FnQueueCommand


class Command(FnQueueCommand):
    pass
