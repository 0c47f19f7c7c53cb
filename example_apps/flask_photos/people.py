"""Who may log in: the accounts of the demonstration, and how Flask-Login finds them again.

fnqueue asks Flask-Login for `current_user` when a call is deferred, takes its `roles` along in the sealed
message, and asks the user loader again before the call runs: whoever left in between runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from flask import current_app
from flask_login import UserMixin
from werkzeug.security import check_password_hash, generate_password_hash

from example_apps.flask_photos.extensions import login_manager
from example_apps.flask_photos.gallery import Gallery


@dataclass(frozen=True)
class DemoAccount:
    """Shown on the login page: this is a demonstration, and says so."""

    id: str
    password: str
    role: str
    may: str


DEMO_ACCOUNTS = (
    DemoAccount("ada", "analytical-engine", "editor", "upload and delete"),
    DemoAccount("bob", "bobs-your-uncle", "viewer", "upload, but not delete"),
)


class User(UserMixin):  # type: ignore[misc]  # flask_login has no types
    """What Flask-Login and fnqueue see of a person."""

    def __init__(self, id: str, roles: tuple[str, ...], active: bool) -> None:
        self.id, self.roles, self._active = id, roles, active

    @property
    def is_active(self) -> bool:
        return self._active


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_user(id: str) -> User | None:
    person = Gallery(current_app.instance_path).person(id)
    return User(person.id, person.roles, person.active) if person else None


def user_with_password(id: str, password: str) -> User | None:
    """The user, or None: a wrong password and an unknown name take the same time and look alike."""
    person = Gallery(current_app.instance_path).person(id)
    known = check_password_hash(person.password_hash if person else _nobody(), password)
    return load_user(id) if known and person and person.active else None


def open_demo_accounts(gallery: Gallery) -> None:
    """At the first start only: afterwards the table decides who has which roles."""
    for account in DEMO_ACCOUNTS:
        if gallery.person(account.id) is None:
            gallery.add_person(account.id, generate_password_hash(account.password), [account.role])


@cache
def _nobody() -> str:
    return generate_password_hash("of an account that does not exist")
