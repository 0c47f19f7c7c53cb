"""A web process forks while its threads serve their first requests: the child defers, too."""

from __future__ import annotations

from pathlib import Path

from tests.app.test_forks import scene


def test_no_lock_of_a_thread_that_meets_a_session_for_the_first_time_is_held_in_the_child(tmp_path: Path) -> None:
    """SQLAlchemy alone: what opens a database there has locks of its own."""
    scene(
        """
from flask import Flask
from flask_fnqueue import FnQueue as FlaskFnQueue
from sqlalchemy.orm import scoped_session, sessionmaker

class Extension:
    def __init__(self):
        self.session = scoped_session(sessionmaker())

def made(name):
    app = Flask(name)
    FlaskFnQueue(app)
    return app

def first_call(app):
    app.extensions["sqlalchemy"] = Extension()
    with app.app_context():
        app.extensions["fnqueue"].transactions.current()

stop = threading.Event()
def busy():
    app = made("thread")
    while not stop.is_set():
        first_call(app)
threads = [threading.Thread(target=busy, daemon=True) for _ in range(3)]
for thread in threads: thread.start()
ended_well(*[child_of(os.fork, lambda: first_call(made("child"))) for _ in range(40)], seconds=20)
stop.set()
for thread in threads: thread.join()
""",
        tmp_path,
    )
