"""`manage.py fnqueue_worker`: the same as `manage.py fnqueue worker`, for Procfiles."""

from django_fnqueue.commands import FnQueueCommand


class Command(FnQueueCommand):
    help = "Runs tasks until stopped: manage.py fnqueue worker."
    before = ("worker",)
