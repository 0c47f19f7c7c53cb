"""The two extensions, in a module of their own: tasks and views import them from here, and no circle arises."""

from __future__ import annotations

from flask_login import LoginManager

from flask_fnqueue import FnQueue

fn = FnQueue()
login_manager = LoginManager()
