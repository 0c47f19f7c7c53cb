"""`fnqueue schedule`: what operators see of schedules, and how they change them."""

from __future__ import annotations

import json
import re

import pytest

from tests.commands import started

SHOP = """
from pathlib import Path
from fnqueue import FnQueue
from fnqueue.policies import from_schedule

fn = FnQueue(url="sqlite:///q.db")

@fn.schedule("cron(0 9 ? * MON-FRI *)", timezone="Europe/Berlin", name="morning")
@fn.schedule("rate(1 day)", name="at-once")
@fn.task(policy=from_schedule)
def report() -> None:
    with Path("effects").open("a") as file:
        file.write("report\\n")
"""


@pytest.fixture
def scheduled(project, fnqueue):
    folder = project(shop=SHOP)
    done = fnqueue("schedule", "sync", "--app", "shop")
    assert done.stdout == "at-once: made\nmorning: made\n"
    return folder


def test_schedules_are_listed_with_their_times_in_words(fnqueue, scheduled):
    done = fnqueue("schedule", "list", "--app", "shop")
    rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "TASK", "WHEN", "STATE", "NEXT (UTC)", "LAST (UTC)"]
    assert rows[2][:4] == ["morning", "shop.report", "at 09:00, Monday to Friday (Europe/Berlin)", "ENABLED"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d 0[78]:00:00", rows[2][4])


def test_a_schedule_is_shown_with_its_next_times_in_its_own_zone(fnqueue, scheduled):
    done = fnqueue("schedule", "show", "morning", "--app", "shop")
    assert re.search(
        r"^upcoming +\d{4}-\d\d-\d\d 09:00:00 CES?T  \(\d{4}-\d\d-\d\d 0[78]:00:00 UTC\)$", done.stdout, re.M
    )
    assert "runs as      schedule 'morning'" in done.stdout
    told = json.loads(fnqueue("schedule", "show", "morning", "--app", "shop", "--json").stdout)
    assert len(told["upcoming"]) == 5


def test_a_schedule_is_paused_resumed_and_deleted(fnqueue, scheduled):
    assert fnqueue("schedule", "pause", "morning", "--app", "shop").stdout == "morning: paused\n"
    assert "PAUSED" in fnqueue("schedule", "list", "--app", "shop").stdout
    assert re.match(
        r"morning: resumed, next at \d{4}", fnqueue("schedule", "resume", "morning", "--app", "shop").stdout
    )
    assert fnqueue("schedule", "delete", "morning", "--app", "shop").exit_code == 2
    assert fnqueue("schedule", "delete", "morning", "--yes", "--app", "shop").stdout == "morning: deleted\n"
    assert fnqueue("schedule", "sync", "--app", "shop").stdout == "morning: made\n"
    assert fnqueue("schedule", "sync", "--app", "shop").stdout == "nothing differs\n"


def test_an_unknown_schedule_is_told_with_those_that_are_there(fnqueue, scheduled):
    done = fnqueue("schedule", "pause", "evening", "--app", "shop")
    assert done.exit_code == 1
    assert "no schedule named 'evening' is in the store; there are at-once, morning" in done.stderr


def test_an_expression_is_previewed_without_any_application(fnqueue, project):
    project()
    done = fnqueue("schedule", "preview", "cron(0 9 L * ? *)", "--timezone", "Asia/Tokyo", "-n", "2")
    lines = done.stdout.splitlines()
    assert lines[0] == "at 09:00, on the last day of the month (Asia/Tokyo)"
    assert all(re.fullmatch(r"\S+ 09:00:00 JST  \(\S+ 00:00:00 UTC\)", line) for line in lines[1:])
    assert fnqueue("schedule", "preview", "cron(0 0 30 2 ? *)").stdout.endswith("it never fires\n")
    wrong = fnqueue("schedule", "preview", "cron(0 9 * * * *)")
    assert wrong.exit_code == 1
    assert "day-of-week: exactly one of day-of-month and day-of-week is '?'" in wrong.stderr


def test_without_a_schedule_the_list_says_how_to_make_one(fnqueue, project):
    project(shop='from fnqueue import FnQueue\nfn = FnQueue(url="sqlite:///q.db")\n@fn.task\ndef f() -> None: ...\n')
    done = fnqueue("schedule", "list", "--app", "shop")
    assert done.stdout == "there is no schedule yet: @fn.schedule(...) above a task, and start a worker\n"


@pytest.mark.system
def test_schedule_run_fires_and_works_nothing_and_a_worker_without_schedules_works(scheduled, tmp_path):
    effects = scheduled / "effects"
    arguments = ("fnqueue", "schedule", "run", "--app", "shop", "--log-format", "text")
    with started(*arguments, cwd=scheduled, log=tmp_path / "run.log") as ticking:
        ticking.until_it_says("fired shop.report")
        assert not effects.exists()
        ticking.signal()
        assert ticking.wait() == 0
    arguments = ("fnqueue", "worker", "--app", "shop", "--no-schedule")
    with started(*arguments, cwd=scheduled, log=tmp_path / "worker.log") as working:
        working.until(effects.exists)
    assert effects.read_text() == "report\n"
