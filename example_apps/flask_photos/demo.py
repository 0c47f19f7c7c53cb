"""The demonstration: the gallery in real processes, a worker killed in the middle, and one refused call.

    python -m example_apps.flask_photos.demo                 on SQLite
    python -m example_apps.flask_photos.demo --emulator      on SQS, which `fnqueue emulator` serves

Starts the web process and a worker in a new folder, drives them over HTTP as visitors do, and ends with 0
if every promise held. FNQUEUE_URL and FNQUEUE_STORE_URL move it to any other SQS unchanged.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from example_apps.demonstration.emulator import Emulator
from example_apps.demonstration.perform import perform
from example_apps.demonstration.processes import DemoFailed, Process, Stage
from example_apps.demonstration.screen import Screen, paint
from example_apps.demonstration.surroundings import sqs_surroundings
from example_apps.demonstration.visitor import Visitor
from example_apps.flask_photos.people import DEMO_ACCOUNTS

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = sorted((Path(__file__).parent / "photos").glob("*.jpg"))
APP = "example_apps.flask_photos.app:create_app"
DEFAULT_URL = "sqlite:///fnqueue.db"
ROWS_SHOWN = 6
PASSWORDS = {account.id: account.password for account in DEMO_ACCOUNTS}


@dataclass(frozen=True)
class Setting:
    """Where this run takes place."""

    stage: Stage
    screen: Screen
    folder: Path
    environment: dict[str, str]

    def python(self, name: str, *arguments: str) -> Process:
        """Start `python -m ...` as a process of the stage."""
        return self.stage.start(
            name,
            [sys.executable, "-m", *arguments],
            log=self.folder / f"{name}.log",
            folder=ROOT,
            environment=self.environment,
        )

    def fnqueue(self, *arguments: str) -> Any:
        """What `fnqueue ... --json` says."""
        return json.loads(run_fnqueue(self.environment, *arguments, "--app", APP, "--json"))


def main() -> int:
    if sys.argv[1:] == ["--emulator"]:
        return perform("A gallery in Flask, a worker, and SQS from fnqueue emulator", play_on_sqs)
    return perform(f"A gallery in Flask, a worker, and the queue {os.environ.get('FNQUEUE_URL', DEFAULT_URL)}", play)


def play(stage: Stage, screen: Screen, folder: Path) -> None:
    act(Setting(stage, screen, folder, surroundings(folder)))


def play_on_sqs(stage: Stage, screen: Screen, folder: Path) -> None:
    """The same story. What differs is the settings; and the emulator is killed in the middle, too."""
    emulator = Emulator(stage, ROOT, folder, {**os.environ, "PHOTOS_INSTANCE": str(folder)})
    setting = Setting(stage, screen, folder, surroundings(folder, emulator.settings()))
    for name in ("FNQUEUE_URL", "FNQUEUE_STORE_URL"):
        screen.more(f"{name}={setting.environment[name]}")
    act(setting, emulator)


def act(setting: Setting, emulator: Emulator | None = None) -> None:
    """The story, act by act."""
    ada, bob, calls = visitors_and_upload(setting)
    kill_in_the_middle(setting, ada, calls)
    if emulator is not None:
        kill_emulator(setting, emulator)
    finish_with_another_worker(setting, ada, calls)
    check_pictures(setting, ada)
    lay_out_contact_sheet(setting, ada)
    refuse_bob(setting, bob, ada)
    show_table(setting, calls)


def surroundings(folder: Path, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The processes' environment: what is given, or ours, and what is missing in it."""
    environment = {**(os.environ if given is None else given), "PHOTOS_INSTANCE": str(folder), "PYTHONUNBUFFERED": "1"}
    # How soon another worker sees what a killed one held. 60 is the default; nobody wants to watch that.
    environment.setdefault("FNQUEUE_VISIBILITY_SECONDS", "3")
    environment.setdefault("FNQUEUE_LOG_FORMAT", "text")
    return sqs_surroundings(environment, folder)


def visitors_and_upload(setting: Setting) -> tuple[Visitor, Visitor, int]:
    """Start the web process; ada uploads all photographs. Returns both visitors and the number of calls."""
    setting.python("web", "flask", "--app", APP, "run", "--port", "0")
    base = setting.stage.until("the web process's address", lambda: web_address(setting.folder), seconds=20)
    ada, bob = Visitor(base), Visitor(base)
    for name, visitor in (("ada", ada), ("bob", bob)):
        visitor.log_in(name, PASSWORDS[name])
    started = time.monotonic()
    answer = ada.upload("/photos", "photos", PHOTOS)
    took = time.monotonic() - started
    cards = ada.read("/photos.json")["photos"]
    calls = sum(card["total"] for card in cards)
    if answer.status != 200 or len(cards) != len(PHOTOS):
        raise DemoFailed(f"the upload was answered with {answer.status}, and {len(cards)} photographs are there")
    setting.screen.step(
        f"ada uploads {len(PHOTOS)} photographs: {calls} calls deferred, the page is back after {took:.2f} s."
    )
    if sealed := queue_as_a_thief_sees_it(setting.folder):
        setting.screen.more(f"In the queue's file a thief reads {sealed}")
    return ada, bob, calls


def kill_in_the_middle(setting: Setting, ada: Visitor, calls: int) -> None:
    worker = start_worker(setting, "worker-1")
    done = setting.stage.until("work in the middle", lambda: in_the_middle(ada, calls), seconds=25, pause_seconds=0.02)
    worker.kill()
    killed = paint("kill -9", "red")
    setting.screen.step(f"Worker {worker.pid} has cut {done} of {calls} thumbnails and is at the next: {killed}.")


def kill_emulator(setting: Setting, emulator: Emulator) -> None:
    """It acknowledges a message once that is on the disk, so nothing is lost."""
    before = emulator.pid
    emulator.kill_and_start_again()
    killed = paint("kill -9", "red")
    setting.screen.step(f"The emulator {before}: {killed}. {emulator.pid} goes on from its file, on the same port.")


def finish_with_another_worker(setting: Setting, ada: Visitor, calls: int) -> None:
    started = time.monotonic()
    worker = start_worker(setting, "worker-2")
    setting.stage.until("the last thumbnail", lambda: not under_way(ada) or None, seconds=35)
    took = time.monotonic() - started
    setting.screen.step(f"Worker {worker.pid} takes over: {calls} of {calls} after {took:.1f} s. Nothing was lost.")


def check_pictures(setting: Setting, ada: Visitor) -> None:
    """Ask Pillow, not the application, what the thumbnails are."""
    checked = 0
    for card in ada.read("/photos.json")["photos"]:
        width, height = card["size"]
        for each in card["thumbnails"]:
            with Image.open(io.BytesIO(ada.get(each["url"]).body)) as image:
                image.load()
                found = (image.format, image.width, image.height)
            expected = ("JPEG", each["width"], round(height * each["width"] / width))
            if found != expected:
                raise DemoFailed(f"{each['url']} is {found}, and should be {expected}")
            checked += 1
    setting.screen.step(f"Checked with Pillow: {checked} thumbnails are JPEGs of the width that was asked for.")


def lay_out_contact_sheet(setting: Setting, ada: Visitor) -> None:
    ada.post("/sheets")
    setting.stage.until("the contact sheet", lambda: ada.read("/photos.json")["sheet"]["ready"], seconds=15)
    with Image.open(io.BytesIO(ada.get(ada.read("/photos.json")["sheet"]["url"]).body)) as image:
        setting.screen.step(f"The contact sheet is laid out, too: {image.width} × {image.height} pixels.")


def refuse_bob(setting: Setting, bob: Visitor, ada: Visitor) -> None:
    """bob may not delete; ada may."""
    card = ada.read("/photos.json")["photos"][-1]
    setting.stage.until("an empty queue", lambda: messages_in_queue(setting) == 0, seconds=15)
    answer = bob.post(f"/photos/{card['id']}/delete")
    if answer.status != 403:
        raise DemoFailed(f"bob's deletion was answered with {answer.status} instead of 403")
    waiting = messages_in_queue(setting)
    if waiting:
        raise DemoFailed(f"bob's deletion was refused, but {waiting} messages are in the queue")
    setting.screen.step(f"bob deletes “{card['title']}”: {paint('403', 'red')}, {answer.json()['reason']}")
    setting.screen.more("The queue is empty: nothing was sent.")
    ada.post(f"/photos/{card['id']}/delete")
    left = setting.stage.until(
        "ada's deletion", lambda: [c for c in ada.read("/photos.json")["photos"] if c["id"] != card["id"]], seconds=15
    )
    setting.screen.step(f"ada, an editor, deletes it: {len(left)} photographs are left.")


def show_table(setting: Setting, calls: int) -> None:
    """From the store: first the calls that a killed worker had begun, then the newest."""
    rows = setting.stage.until("the end of every call", lambda: read_table(setting, calls + 2), seconds=15)
    chosen = sorted(rows, key=lambda row: -row["attempts"])[:ROWS_SHOWN]
    shown = [
        (
            row["task"].rpartition(".")[2],
            row["principal"],
            row["state"],
            str(row["attempts"]),
            f"{row['wait_seconds']:.2f} s",
            f"{row['duration_seconds']:.2f} s",
        )
        for row in chosen
    ]
    setting.screen.step(f"What the store remembers of {len(rows)} calls, those of the killed worker first:")
    setting.screen.table(("task", "principal", "state", "attempts", "wait", "duration"), shown)
    setting.screen.more(f"and {len(rows) - len(chosen)} more, all SUCCESS.")


def read_table(setting: Setting, calls: int) -> list[dict[str, Any]] | None:
    """Every call's record, newest first; None while some are under way. Raises DemoFailed for one that failed."""
    rows: list[dict[str, Any]] = setting.fnqueue("tasks", "--recent", "1000")
    failed = [row for row in rows if row["state"] in ("FAILURE", "DENIED", "EXPIRED", "REVOKED")]
    if failed:
        raise DemoFailed(f"{len(failed)} calls failed; the first: {failed[0]}")
    return rows if [row["state"] for row in rows] == ["SUCCESS"] * calls else None


def messages_in_queue(setting: Setting) -> int:
    queues = setting.fnqueue("queues", "list")
    return sum(each["visible"] + each["in_flight"] + each["delayed"] for each in queues)


def queue_as_a_thief_sees_it(folder: Path) -> str | None:
    """The first message, from the bytes of the queue's file; None where the queue is no file here."""
    raw = b"".join(path.read_bytes() for path in sorted(folder.glob("fnqueue*.db*")) if path.is_file())
    found = re.search(rb"fq1\.1\.[a-z2-7]{8}\.(\{[ -~]{1,2048}?\})\.([\w-]{40,})\.[\w-]{43}", raw)
    if found is None:
        return None
    task = json.loads(found[1])["t"].rpartition(".")[2]
    return f"{task}, then {found[2][:28].decode()}…: no person, no argument."


def in_the_middle(ada: Visitor, calls: int) -> int | None:
    """How many thumbnails are there, once some are and a worker is at the next; None before."""
    waiting = under_way(ada)
    done = calls - len(waiting)
    running = any(ada.read(call["status"])["state"] == "STARTED" for call in waiting[:4])
    return done if (done >= calls // 8 and running) or done >= calls // 2 else None


def under_way(ada: Visitor) -> list[dict[str, Any]]:
    """The calls whose thumbnails are not there yet, in the order in which they were deferred."""
    cards = sorted(ada.read("/photos.json")["photos"], key=lambda card: card["id"])
    return [call for card in cards for call in card["calls"]]


def run_fnqueue(environment: dict[str, str], *arguments: str) -> str:
    """The output of `fnqueue ...`, run to its end."""
    command = [sys.executable, "-m", "fnqueue", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise DemoFailed(f"fnqueue {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def start_worker(setting: Setting, name: str) -> Process:
    return setting.python(name, "fnqueue", "worker", "--app", APP, "--concurrency", "2")


def web_address(folder: Path) -> str | None:
    found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", (folder / "web.log").read_text(errors="replace"))
    return found[1] if found else None


if __name__ == "__main__":
    sys.exit(main())
