"""The accounts of the demonstration. Who may do what is not said here but at each task."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

EDITORS = "editors"


@dataclass(frozen=True)
class Account:
    name: str
    password: str
    does: str
    editor: bool = False
    staff: bool = False


DEMO_ACCOUNTS = (
    Account("ada", "ada-demo", "edits, and publishes", editor=True, staff=True),
    Account("bob", "bob-demo", "edits", editor=True),
    Account("eve", "eve-demo", "reads"),
)


def open_demo_accounts() -> None:
    """Make those that are not there yet."""
    editors, _ = Group.objects.get_or_create(name=EDITORS)
    users = get_user_model().objects
    for account in DEMO_ACCOUNTS:
        user, is_new = users.get_or_create(
            username=account.name, defaults={"email": f"{account.name}@example.org", "is_staff": account.staff}
        )
        if is_new:
            user.set_password(account.password)
            user.save()
            user.groups.set([editors] if account.editor else [])
