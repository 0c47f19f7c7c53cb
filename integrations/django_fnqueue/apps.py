"""The application `django_fnqueue`: when Django is ready, tasks are imported and checks registered. No database."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.core.checks import register

from django_fnqueue import fn
from django_fnqueue.checks import TAG, check_deployment, check_settings
from django_fnqueue.discovery import import_tasks


class FnQueueConfig(AppConfig):
    name = "django_fnqueue"
    label = "fnqueue"
    verbose_name = "Background tasks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        user_logged_in.connect(fn.note_login, dispatch_uid="fnqueue")
        import_tasks(fn)
        register(check_settings, TAG)
        register(check_deployment, TAG, deploy=True)
