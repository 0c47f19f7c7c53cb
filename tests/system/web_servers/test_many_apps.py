"""A test suite makes an app per test, hundreds in one process: neither threads nor open files add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("served")]

APPS = 300

SCENE = """
import gc, json, sys, threading
import psutil
from flask import Flask
from flask_fnqueue import FnQueue

folder, apps, whose, end = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

def make():
    fn = FnQueue()
    @fn.task(name="note")
    def note(text: str) -> None: ...
    return fn, note

shared = make()

def one(n):
    fn, note = shared if whose == "one FnQueue" else make()
    app = Flask(f"shop{n}", instance_path=f"{folder}/{n}")
    fn.init_app(app)
    with app.app_context():
        note.defer("x")
        assert fn.runtime().engine.broker.attributes("default").visible == 1
        if end == "closed":
            app.extensions["fnqueue"].close() if fn is shared[0] else fn.close()

def figures():
    gc.collect()
    return {"files": psutil.Process().num_fds(), "threads": threading.active_count()}

one("first")
before = figures()
most = 0
for n in range(apps):
    one(n)
    most = max(most, psutil.Process().num_fds())
print(json.dumps({"before": before, "after": figures(), "most": most}))
"""


@pytest.mark.parametrize(
    ("whose", "end"),
    [
        pytest.param(whose, end, marks=pytest.mark.row("flask", "-", f"{APPS} apps in a process, {whose}, {end}"))
        for whose in ("one FnQueue", "one each")
        for end in ("closed", "forgotten")
    ],
)
def test_hundreds_of_apps_leave_no_thread_and_no_open_file(whose: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "scene.py").write_text(SCENE)
    env = {"PYTHONWARNINGS": "default::ResourceWarning"}  # Python 3.13 tells of a connection that nobody closed
    done = run("scene", str(tmp_path), str(APPS), whose, end, cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["after"] == found["before"]
