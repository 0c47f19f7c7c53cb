"""The demonstration: the newsroom in real processes, a worker killed in the middle of an import, refused calls, mail.

    python -m example_apps.django_newsroom.demo

Starts the web process and a worker in a new folder, drives them over HTTP as editors do, and ends with 0 if every
promise held. On SQLite by default; FNQUEUE_URL and FNQUEUE_STORE_URL move the queue to SQS unchanged.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from example_apps.demonstration.perform import perform
from example_apps.demonstration.processes import DemoFailed, Process, Stage
from example_apps.demonstration.screen import Screen, paint
from example_apps.demonstration.surroundings import sqs_surroundings
from example_apps.demonstration.visitor import Forms, Visitor
from example_apps.django_newsroom.demo_checks import check_mail, expected_figures, mails_in

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TABLES = [HERE / "data" / "airports.csv", HERE / "data" / "seattle-weather.csv"]
COPIES = 3  # of each table: so much work that a worker can be killed in the middle of it
PASSWORDS = {name: f"{name}-demo" for name in ("ada", "bob", "eve")}
FORMS = Forms(login="/login/", name="username", token="csrfmiddlewaretoken")
DEFAULT_URL = "sqlite:///fnqueue.db"
ROWS_SHOWN = 6


@dataclass(frozen=True)
class Setting:
    """Where this run takes place."""

    stage: Stage
    screen: Screen
    folder: Path
    environment: dict[str, str]

    def manage(self, name: str, *arguments: str) -> Process:
        """Start `manage.py ...` as a process of the stage."""
        return self.stage.start(
            name, _manage(*arguments), log=self.folder / f"{name}.log", folder=ROOT, environment=self.environment
        )

    def said(self, *arguments: str) -> Any:
        """What `manage.py fnqueue ... --json` says."""
        return json.loads(run_manage(self.environment, "fnqueue", *arguments, "--json"))


def main() -> int:
    return perform(f"A newsroom in Django, a worker, and the queue {os.environ.get('FNQUEUE_URL', DEFAULT_URL)}", play)


def play(stage: Stage, screen: Screen, folder: Path) -> None:
    """The story, act by act."""
    setting = Setting(stage, screen, folder, surroundings(folder))
    ada, bob, eve = visitors_and_upload(setting)
    kill_in_the_middle(setting, ada)
    finish_with_another_worker(setting, ada)
    check_figures(setting, ada)
    check_mails(setting, ada)
    refuse(setting, ada, bob, eve)
    publish_and_delete(setting, ada, bob)
    show_table(setting)


def surroundings(folder: Path) -> dict[str, str]:
    """The processes' environment: ours, and what is missing in it."""
    environment = {**os.environ, "NEWSROOM_INSTANCE": str(folder), "PYTHONUNBUFFERED": "1", "NEWSROOM_DEBUG": "1"}
    # How soon another worker sees what a killed one held. 60 is the default; nobody wants to watch that.
    environment.setdefault("FNQUEUE_VISIBILITY_SECONDS", "3")
    environment.setdefault("FNQUEUE_LOG_FORMAT", "text")
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return sqs_surroundings(environment, folder)


# ---------------------------------------------------------------- the acts


def visitors_and_upload(setting: Setting) -> tuple[Visitor, Visitor, Visitor]:
    """Prepare the database and the accounts, start the web process; ada and bob upload."""
    run_manage(setting.environment, "migrate", "--verbosity", "0")
    run_manage(setting.environment, "open_desk")
    setting.manage("web", "runserver", "--noreload", "127.0.0.1:0")
    base = setting.stage.until("the web process's address", lambda: web_address(setting.folder), seconds=25)
    ada, bob, eve = (Visitor(base, forms=FORMS) for _ in range(3))
    for name, visitor in (("ada", ada), ("bob", bob), ("eve", eve)):
        visitor.log_in(name, PASSWORDS[name])
    started = time.monotonic()
    answers = [
        ada.upload("/datasets/", "files", TABLES * COPIES, kind="text/csv").status,
        bob.upload("/datasets/", "files", TABLES[1:], kind="text/csv").status,
    ]
    took = time.monotonic() - started
    cards = datasets(ada)
    if answers != [200, 200] or len(cards) != len(TABLES) * COPIES + 1:
        raise DemoFailed(f"the uploads were answered with {answers}, and {len(cards)} datasets are there")
    rows = sum(card["rows"]["expected"] for card in cards)
    setting.screen.step(
        f"ada and bob upload {len(cards)} tables, {rows:,} rows; the pages are back after {took:.2f} s."
    )
    return ada, bob, eve


def kill_in_the_middle(setting: Setting, ada: Visitor) -> None:
    worker = start_worker(setting, "worker-1")
    there = setting.stage.until("an import in the middle", lambda: halfway(ada), seconds=25, pause_seconds=0.01)
    worker.kill()
    killed = paint("kill -9", "red")
    setting.screen.step(f"Worker {worker.pid} has written {there[0]:,} of a table's {there[1]:,} rows: {killed}.")


def finish_with_another_worker(setting: Setting, ada: Visitor) -> None:
    started = time.monotonic()
    worker = start_worker(setting, "worker-2")
    setting.stage.until("the last figures", lambda: all_done(ada), seconds=45)
    took = time.monotonic() - started
    rows = sum(card["rows"]["there"] for card in datasets(ada))
    setting.screen.step(f"Worker {worker.pid} takes over: {rows:,} rows after {took:.1f} s. None twice, none missing.")


def check_figures(setting: Setting, ada: Visitor) -> None:
    """Calculate again, with none of the application's code, and look at the pages."""
    checked = 0
    for card in datasets(ada):
        page = ada.get(card["page"]).body.decode()
        for name, figures in expected_figures(table_of(card)).items():
            for figure in figures:
                if figure not in page:
                    raise DemoFailed(f"{card['title']}, column {name}: {figure} is not on its page")
                checked += 1
    setting.screen.step(f"Calculated again by hand: {checked} figures on the pages are right.")


def check_mails(setting: Setting, ada: Visitor) -> None:
    cards = datasets(ada)
    folder = setting.folder / "mail"
    setting.stage.until("the last mail", lambda: len(mails_in(folder)) >= len(cards), seconds=20)
    to = check_mail(
        folder, [(card["owner"], card["title"], card["rows"]["expected"], table_of(card)) for card in cards]
    )
    said = ", ".join(f"{count} to {who}" for who, count in sorted(to.items()))
    setting.screen.step(f"One mail for each table, with its figures: {said}.")


def refuse(setting: Setting, ada: Visitor, bob: Visitor, eve: Visitor) -> None:
    """What nobody but the owner, the staff, the editors may do; and nothing of it is sent."""
    setting.stage.until("an empty queue", lambda: messages_in_queue(setting) == 0, seconds=15)
    before, hers = datasets(ada), next(card for card in datasets(ada) if card["owner"] == "ada")
    tries: list[tuple[str, Callable[[], Any]]] = [
        (f"bob throws away ada's “{hers['title']}”", lambda: bob.post(f"/datasets/{hers['id']}/delete/")),
        (f"bob publishes “{hers['title']}”", lambda: bob.post(f"/datasets/{hers['id']}/publish/")),
        ("eve uploads a table", lambda: eve.upload("/datasets/", "files", TABLES[1:], kind="text/csv")),
    ]
    for what, attempt in tries:
        answer = attempt()
        if answer.status != 403:
            raise DemoFailed(f"{what}: answered with {answer.status} instead of 403")
        setting.screen.step(f"{what}: {paint('403', 'red')}, {answer.json()['reason']}")
    waiting = messages_in_queue(setting)
    if waiting or datasets(ada) != before:
        raise DemoFailed(f"the calls were refused, but {waiting} messages are in the queue, or a table came or went")
    setting.screen.more("The queue is empty, and no table came or went: nothing was sent, and nothing was kept.")


def publish_and_delete(setting: Setting, ada: Visitor, bob: Visitor) -> None:
    cards = datasets(ada)
    hers, his = (next(card for card in cards if card["owner"] == owner) for owner in ("ada", "bob"))
    ada.post(f"/datasets/{hers['id']}/publish/")
    bob.post(f"/datasets/{his['id']}/delete/")

    def both_done() -> bool:
        now = {card["id"]: card for card in datasets(ada)}
        return his["id"] not in now and now[hers["id"]]["published"]

    setting.stage.until("publishing and throwing away", both_done, seconds=15)
    setting.screen.step(f"ada, of the staff, publishes “{hers['title']}”; bob throws away his own “{his['title']}”.")


def show_table(setting: Setting) -> None:
    """From the store: first the calls that a killed worker had begun, then the newest."""
    rows = setting.stage.until("the end of every call", lambda: read_table(setting), seconds=15)
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


# ---------------------------------------------------------------- what they look at


def datasets(visitor: Visitor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = visitor.read("/datasets.json")["datasets"]
    return found


def halfway(ada: Visitor) -> tuple[int, int] | None:
    """Rows there and rows expected of a table whose import is under way."""
    for card in datasets(ada):
        there, expected = card["rows"]["there"], card["rows"]["expected"]
        if 0 < there < expected:
            return there, expected
    return None


def all_done(ada: Visitor) -> bool:
    return all(card["figures"] for card in datasets(ada))


def table_of(card: dict[str, Any]) -> Path:
    return next(table for table in TABLES if table.stem.replace("-", " ") == card["title"])


def read_table(setting: Setting) -> list[dict[str, Any]] | None:
    """Every call's record, newest first; None while some are under way. Raises DemoFailed for one that failed."""
    rows: list[dict[str, Any]] = setting.said("tasks", "--recent", "1000")
    failed = [row for row in rows if row["state"] in ("FAILURE", "DENIED", "EXPIRED", "REVOKED")]
    if failed:
        raise DemoFailed(f"{len(failed)} calls failed; the first: {failed[0]}")
    return rows if {row["state"] for row in rows} == {"SUCCESS"} else None


def messages_in_queue(setting: Setting) -> int:
    return sum(each["visible"] + each["in_flight"] + each["delayed"] for each in setting.said("queues", "list"))


def start_worker(setting: Setting, name: str) -> Process:
    return setting.manage(name, "fnqueue", "worker", "--concurrency", "2")


def web_address(folder: Path) -> str | None:
    found = re.search(r"server at (http://127\.0\.0\.1:\d+)", (folder / "web.log").read_text(errors="replace"))
    return found[1] if found else None


def run_manage(environment: dict[str, str], *arguments: str) -> str:
    """The output of `manage.py ...`, run to its end."""
    done = subprocess.run(_manage(*arguments), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=40)
    if done.returncode:
        raise DemoFailed(f"manage.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def _manage(*arguments: str) -> list[str]:
    return [sys.executable, str(HERE / "manage.py"), *arguments]


if __name__ == "__main__":
    sys.exit(main())
