"""The Flask application that the servers serve: a call per request, and how the process is that made it."""

from __future__ import annotations

import os
import threading
from typing import Any

from flask import Flask

from flask_fnqueue import FnQueue

fn = FnQueue()
VERSION = "first"


@fn.task(name="note")
def note(text: str) -> None:
    """One whole line in a file that knows nothing of queues."""
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{text}\n".encode())
    os.close(file)


def create_app() -> Flask:
    app = Flask(__name__)
    fn.init_app(app)

    @app.get("/defer/<text>")
    def defer(text: str) -> dict[str, Any]:
        handle = note.defer(text)
        threads = sorted(thread.name for thread in threading.enumerate())
        return {"id": handle.id, "pid": os.getpid(), "threads": threads, "version": VERSION}

    return app


app = create_app()
if os.environ.get("DEFER_AT_IMPORT"):
    with app.app_context():
        note.defer(f"import-{os.getpid()}")
