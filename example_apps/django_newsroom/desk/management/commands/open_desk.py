"""`manage.py open_desk`: the accounts of the demonstration."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from example_apps.django_newsroom.desk.accounts import DEMO_ACCOUNTS, open_demo_accounts


class Command(BaseCommand):
    help = "Make the accounts of the demonstration, and say who they are."

    def handle(self, *args: Any, **options: Any) -> None:
        open_demo_accounts()
        for account in DEMO_ACCOUNTS:
            self.stdout.write(f"{account.name} (password {account.password}) {account.does}")
