"""`fnqueue worker` and `fnqueue healthcheck` as real processes: what they say, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from fnqueue.cli import healthcheck
from fnqueue.security.keyring import new_key
from tests.commands import environment, run, started

pytestmark = pytest.mark.system

WORKER = ("fnqueue", "worker", "--app", "shop")
TEXT = ("--log-format", "text")


def defer(shop, *calls: str) -> None:
    """Defer calls of the project's tasks in a process of their own: `resize.defer(7)`."""
    code = "import shop\n" + "\n".join(f"shop.{call}" for call in calls)
    subprocess.run([sys.executable, "-c", code], cwd=shop, env=environment(), check=True, timeout=40)


def test_a_burst_runs_what_is_there_and_ends_with_0(shop):
    defer(shop, "resize.defer(7)", "fail.defer('hunter2')")
    done = run(*WORKER, "--burst", *TEXT, cwd=shop)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    log = done.stderr
    assert "SUCCESS shop.resize" in log
    assert "FAILURE shop.fail" in log
    assert 'raise ValueError("out of order")' in log
    assert "hunter2" not in log


def test_the_banner_says_what_the_worker_works_on(shop):
    defer(shop, "resize.defer(7)")
    done = run(*WORKER, "--burst", "-q", "default,biling", "-c", "3", *TEXT, cwd=shop)
    lines = done.stderr.splitlines()
    banner = lines[: next(n for n, line in enumerate(lines) if line[:2].isdigit())]
    assert len(banner) <= 12
    facts = dict(line.split(None, 1) for line in banner[1:])
    assert banner[0].startswith("fnqueue 0.1.0, python 3.")
    assert facts["app"] == "shop, 5 tasks"
    assert facts["queue"] == str(shop / "q.db")
    assert facts["store"] == "the same file"
    assert facts["environment"] == "default"
    assert len(facts["key"]) == 8
    assert facts["queues"] == "default, biling"
    assert facts["runs"] == "3 threads, visibility 60 s"
    assert [line.strip() for line in banner if "warning" in line] == [
        "warning: no task uses the queue 'biling'",
        "warning: not served here: billing",
    ]
    assert "fnqk1" not in done.stderr


def test_a_key_that_the_worker_made_is_told_before_all_else(shop):
    first, *later = run(*WORKER, "--burst", *TEXT, cwd=shop).stderr.splitlines()
    assert first[9:] == f"fnqueue.keys: made a new key in {shop / 'fnqueue.keys'}"
    assert later[0].startswith("fnqueue 0.1.0")
    assert "made a new key" not in run(*WORKER, "--burst", *TEXT, cwd=shop).stderr


def test_a_file_that_no_waiting_mends_is_a_refusal_to_start(shop):
    (shop / "notes.db").write_text("milk, eggs")
    done = run(*WORKER, cwd=shop, env={"FNQUEUE_URL": "sqlite:///notes.db"})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"fnqueue: {shop / 'notes.db'} is not an SQLite database. Nothing was changed in it: move it away, "
        "or set FNQUEUE_URL to another file."
    )
    (shop / "data").mkdir()
    done = run(*WORKER, cwd=shop, env={"FNQUEUE_URL": "sqlite:///data"})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"fnqueue: {shop / 'data'} is a folder: set FNQUEUE_URL to a file")


def test_a_missing_boto3_is_a_refusal_to_start(shop):
    (shop / "botocore").mkdir()
    (shop / "botocore" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'botocore'\")")
    settings = {"FNQUEUE_URL": "sqs://us-east-1/?endpoint=http://127.0.0.1:1", "FNQUEUE_KEYS": new_key()}
    more = {"FNQUEUE_STORE_URL": "sqlite:///s.db", "PYTHONPATH": os.pathsep.join([str(shop), *sys.path])}
    done = run(*WORKER, cwd=shop, env=settings | more)
    assert done.returncode == 1
    assert done.stderr == (
        "fnqueue: an sqs:// url needs the extra 'aws', which is not installed: pip install 'fnqueue[aws]'\n"
    )


def test_elsewhere_than_on_a_terminal_each_line_is_json(shop):
    defer(shop, "resize.defer(7)")
    done = run(*WORKER, "--burst", cwd=shop)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert records[0]["event"] == "WorkerReady"
    (ended,) = [record for record in records if record["event"] == "TaskSucceeded"]
    assert (ended["task"], ended["attempt"], ended["level"]) == ("shop.resize", 1, "info")
    assert ended["duration_seconds"] >= 0


def test_no_tasks_is_a_refusal_that_says_where_it_looked(project):
    folder = project(shop="from fnqueue import FnQueue\nfn = FnQueue()", tasks="")
    done = run(*WORKER, "--burst", cwd=folder, env={"FNQUEUE_IMPORTS": "tasks"})
    assert done.returncode == 1
    assert done.stderr == (
        "fnqueue: shop has no task: looked at what it imports, and in tasks.\n"
        "Name the modules with tasks in FNQUEUE_IMPORTS=shop.tasks,shop.mail, or start with --allow-empty.\n"
    )
    assert run(*WORKER, "--burst", "--allow-empty", cwd=folder).returncode == 0


def test_all_faults_are_said_at_once_before_anything_is_received(shop):
    done = run(*WORKER, cwd=shop, env={"FNQUEUE_URL": "sqs://eu-west-1/", "FNQUEUE_STORE_URL": "none"})
    assert done.returncode == 1
    assert done.stderr == (
        "fnqueue: 3 settings are wrong:\n"
        "  - FNQUEUE_KEYS is not set, and on SQS there is no default: make a key with: fnqueue keys new\n"
        "  - FNQUEUE_ENVIRONMENT is not set: name it (production, staging), "
        "so that one cannot run the other's messages\n"
        "  - once=True needs a store, and FNQUEUE_STORE_URL is not set: shop.give_up\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("fnqueue", "worker", "--app", "nowhere"), 4),
        (("fnqueue", "worker", "--app", "broken"), 4),
        (("fnqueue", "worker", "--app", "shop", "--concurrency", "0"), 2),
        (("fnqueue", "worker", "--app", "shop", "--queues", "two words"), 2),
    ],
)
def test_a_start_that_cannot_be_has_its_exit_code(project, shop, arguments, code):
    project(broken="import not_installed_anywhere")
    done = run(*arguments, cwd=shop)
    assert done.returncode == code, done.stderr


def test_options_are_also_read_from_the_environment(shop):
    defer(shop, "resize.defer(7)")
    done = run(
        "fnqueue",
        "worker",
        cwd=shop,
        env={
            "FNQUEUE_APP": "shop",
            "FNQUEUE_BURST": "1",
            "FNQUEUE_QUEUES": "billing",
            "FNQUEUE_LOG_FORMAT": "text",
            "FNQUEUE_CONCURRENCY": "2",
            "FNQUEUE_LOG_LEVEL": "error",
        },
    )
    assert done.returncode == 0, done.stderr
    assert "queues       billing" in done.stderr
    assert "2 threads" in done.stderr
    assert "SUCCESS" not in done.stderr


def test_handlers_of_the_application_are_left_alone(shop, project):
    text = (shop / "shop.py").read_text()
    project(shop="import logging\nlogging.basicConfig(format='MINE %(message)s', level='INFO')\n" + text)
    defer(shop, "resize.defer(7)")
    lines = run(*WORKER, "--burst", *TEXT, cwd=shop).stderr.splitlines()
    assert next(line for line in lines if "SUCCESS" in line).startswith("MINE SUCCESS shop.resize")
    assert sum("SUCCESS" in line for line in lines) == 1


def test_sigterm_lets_a_running_task_finish_and_ends_with_0(shop, tmp_path):
    defer(shop, "sleep.defer(0.6)")
    env = {"FNQUEUE_HEARTBEAT_SECONDS": "0.1"}
    with started(*WORKER, *TEXT, "--health-file", "h", cwd=shop, env=env, log=tmp_path / "log") as worker:
        worker.until(lambda: (shop / "h").exists() and json.loads((shop / "h").read_text())["held"] == 1)
        worker.signal()
        assert worker.wait() == 0
        assert "SUCCESS shop.sleep" in worker.output
    assert not (shop / "h").exists()


def test_a_second_signal_gives_back_and_ends_with_5(shop, tmp_path):
    defer(shop, "sleep.defer(30)")
    env = {"FNQUEUE_HEARTBEAT_SECONDS": "0.1"}
    with started(*WORKER, *TEXT, "--health-file", "h", cwd=shop, env=env, log=tmp_path / "log") as worker:
        worker.until(lambda: (shop / "h").exists() and json.loads((shop / "h").read_text())["held"] == 1)
        worker.signal()
        worker.until_it_says("stopping")
        worker.signal()
        assert worker.wait() == 5, worker.output
        assert "GIVEN BACK shop.sleep" in worker.output


# ---------------------------------------------------------------- reload


def test_a_changed_file_starts_the_worker_anew_in_the_same_process(shop, tmp_path):
    with started(*WORKER, *TEXT, "--reload", "--log-level", "debug", cwd=shop, log=tmp_path / "log") as worker:
        worker.until_it_says("started, on")
        pid = worker.process.pid
        change(shop / "shop.py", "\n@fn.task(policy=public)\ndef added() -> None: ...\n")
        worker.until_it_says("started, on", times=2)
        assert "6 tasks" in worker.output
        assert f"{shop}/shop.py changed, starting anew" in worker.output
        assert worker.output.count(f"pid {pid}") == 2
        worker.signal()
        assert worker.wait() == 0


def test_with_reload_a_file_that_cannot_be_imported_is_waited_for(shop, tmp_path):
    whole = (shop / "shop.py").read_text()
    (shop / "shop.py").write_text("def app(:\n")
    with started(*WORKER, *TEXT, "--reload", "--log-level", "debug", cwd=shop, log=tmp_path / "log") as worker:
        worker.until_it_says("SyntaxError")
        worker.until_it_says("waiting for a change")
        change(shop / "shop.py", whole, mode="w")
        worker.until_it_says("started, on")
        worker.signal()
        assert worker.wait() == 0


def change(path, text: str, mode: str = "a") -> None:
    with path.open(mode) as file:
        file.write(text)
    later = time.time() + 5  # whatever the resolution of the file system's times
    os.utime(path, (later, later))


# ---------------------------------------------------------------- healthcheck


def health(path, **said: object) -> str:
    path.write_text(json.dumps(said))
    return str(path)


def test_a_fresh_file_of_a_living_process_is_ok(tmp_path):
    path = health(tmp_path / "h", pid=os.getpid(), at=1000.0)
    found, trouble = healthcheck.look(path, 30, now=1010.0)
    assert trouble is None
    assert (found["pid"], found["age_seconds"]) == (os.getpid(), 10.0)


def test_an_old_file_is_not_ok(tmp_path):
    path = health(tmp_path / "h", pid=os.getpid(), at=1000.0)
    assert healthcheck.look(path, 30, now=1031.0)[1] == f"worker {os.getpid()} wrote 31 s ago; at most 30 s are ok"


def test_a_process_that_is_gone_is_not_ok_however_fresh_its_file(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = health(tmp_path / "h", pid=gone.pid, at=1000.0)
    assert healthcheck.look(path, 30, now=1000.0)[1] == f"worker {gone.pid} is gone, and left {path} behind"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "at": 1}', '{"pid": 1, "at": null}'])
def test_what_is_no_health_file_is_said_so(tmp_path, text):
    (tmp_path / "h").write_text(text)
    assert healthcheck.look(str(tmp_path / "h"), 30, now=1.0)[1] == f"{tmp_path}/h is no health file of a worker"


def test_a_healthcheck_of_a_real_worker(shop, tmp_path):
    check = ("fnqueue", "healthcheck", "-f", "h")
    before = run(*check, cwd=shop)
    assert (before.returncode, before.stderr) == (1, "fnqueue: no worker: h is not there\n")
    with started(*WORKER, "--health-file", "h", cwd=shop, log=tmp_path / "log") as worker:
        worker.until((shop / "h").exists)
        during = run("fnqueue", "healthcheck", "--json", cwd=shop, env={"FNQUEUE_HEALTH_FILE": "h"})
        said = json.loads(during.stdout)
        assert (during.returncode, said["ok"], said["pid"]) == (0, True, worker.process.pid)
        worker.signal(signal.SIGKILL)
        worker.wait()
    after = run(*check, cwd=shop)
    assert after.returncode == 1
    assert "is gone, and left h behind" in after.stderr
    assert run("fnqueue", "healthcheck", cwd=shop).returncode == 2


def test_a_healthcheck_imports_neither_the_application_nor_the_machinery(project):
    folder = project(shop="raise SystemExit('imported')")
    code = (
        "import sys\nfrom fnqueue.cli.main import main\n"
        "sys.argv = ['fnqueue', 'healthcheck', '-f', 'h']\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 1\n"
        "print([name for name in ('shop', 'msgspec', 'cryptography', 'asyncio', 'sqlite3') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(FNQUEUE_APP="shop"), capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_healthcheck_costs_little_more_than_python_itself(project):
    """Less than 100 ms on a quiet machine; measured against Python's own start, because ours is not quiet."""
    folder = project()
    python = min(timed(folder, "-c", "import click, json, typing") for _ in range(5))
    check = min(timed(folder, "-m", "fnqueue", "healthcheck", "-f", "h") for _ in range(5))
    assert check < 1.5 * python + 0.02, f"{check * 1000:.0f} ms, and python with click {python * 1000:.0f} ms"


def timed(folder, *arguments: str) -> float:
    """CPU seconds."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, timeout=40)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
