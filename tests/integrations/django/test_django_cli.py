"""`manage.py fnqueue ...`: real commands of a real project in a folder of its own."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.commands import environment, run, started

MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "of a test"
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django_fnqueue", "shop"
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_fnqueue.middleware.FnQueueMiddleware",
]
ROOT_URLCONF = "mysite.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
FNQUEUE = {"URL": "sqlite:///queue.db"}
"""
URLS = """
from django.http import JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django_fnqueue import fn
from shop.tasks import thumbnail

@csrf_exempt
def upload(request, photo_id):
    return JsonResponse({"status": fn.status_url(thumbnail.defer(photo_id))}, status=202)

urlpatterns = [path("photos/<int:photo_id>", upload), path("fnqueue/", include("django_fnqueue.urls"))]
"""
TASKS = """
import time
from django_fnqueue import fn
from fnqueue.policies import public

@fn.task(policy=public)
def thumbnail(photo_id: int) -> str:
    return f"{photo_id}, VERSION"

@fn.task(policy=public)
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"
"""
DEFER = "from shop import tasks; print(tasks.{}.id)"


@pytest.fixture
def mysite(tmp_path) -> Path:
    folder = tmp_path / "project"
    files = {
        "manage.py": MANAGE,
        "mysite/__init__.py": "",
        "mysite/settings.py": SETTINGS,
        "mysite/urls.py": URLS,
        "shop/__init__.py": "",
        "shop/tasks.py": TASKS,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def manage(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -Wd manage.py ...`."""
    return subprocess.run(
        [sys.executable, "-Wd", "manage.py", *words],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
    )


def deferred(folder: Path, call: str) -> str:
    done = manage(folder, "shell", "-c", DEFER.format(call))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def change(path: Path, before: str, after: str) -> None:
    """Write it with another time than it had: a clock may be too coarse to tell."""
    stat, draft = path.stat(), path.with_suffix(".draft")
    draft.write_text(path.read_text().replace(before, after))
    os.utime(draft, (stat.st_atime + 5, stat.st_mtime + 5))
    draft.replace(path)  # whole: a server that starts anew just now must not read half of it


# ---------------------------------------------------------------- the worker


@pytest.mark.system
@pytest.mark.parametrize("command", [("fnqueue", "worker"), ("fnqueue_worker",)])
def test_a_worker_of_manage_py_runs_what_the_project_deferred(mysite, command):
    call = deferred(mysite, "thumbnail.defer(7)")
    done = manage(mysite, *command, "--burst", "--log-format", "text")
    assert done.returncode == 0
    assert "app          django mysite, 2 tasks" in done.stderr
    assert str(mysite / "queue.db") in done.stderr
    assert "SUCCESS shop.tasks.thumbnail" in done.stderr
    assert call in done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.system
def test_fnqueue_alone_finds_the_project_by_its_manage_py_or_by_the_environment(mysite, tmp_path):
    deferred(mysite, "thumbnail.defer(7)")
    done = run("fnqueue", "worker", "--burst", "--log-format", "text", cwd=mysite)
    assert "SUCCESS shop.tasks.thumbnail" in done.stderr, done.stderr
    elsewhere = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}
    path = os.pathsep.join([str(mysite), environment()["PYTHONPATH"]])
    done = run("fnqueue", "tasks", cwd=tmp_path, env={**elsewhere, "PYTHONPATH": path})
    assert "shop.tasks.thumbnail" in done.stdout, done.stderr


@pytest.mark.system
def test_fnqueue_alone_says_what_a_broken_project_raised(mysite):
    (mysite / "shop" / "tasks.py").write_text("1 / 0")
    done = run("fnqueue", "worker", cwd=mysite)
    assert done.returncode == 4
    assert "fnqueue: importing the project of mysite.settings failed:" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert 'FNQUEUE = {"IMPORTS": ["shop.tasks"]}' in done.stderr  # it may be the module of another queue


@pytest.mark.system
def test_a_project_without_the_app_is_told_to_install_it(mysite):
    change(mysite / "mysite" / "settings.py", '"django_fnqueue", ', "")
    done = run("fnqueue", "worker", cwd=mysite)
    assert done.returncode == 4
    assert 'no "django_fnqueue" in INSTALLED_APPS' in done.stderr


@pytest.mark.system
def test_tasks_are_in_the_modules_that_imports_names_and_all_must_be_there(mysite):
    (mysite / "shop" / "jobs.py").write_text(TASKS)
    change(mysite / "mysite" / "settings.py", '"sqlite:///queue.db"', '"sqlite:///queue.db", "IMPORTS": ["shop.jobs"]')
    (mysite / "mysite" / "urls.py").write_text("urlpatterns = []")
    shown = manage(mysite, "fnqueue", "tasks").stdout
    assert "shop.jobs.thumbnail" in shown
    assert "shop.tasks.thumbnail" not in shown
    done = manage(mysite, "check", FNQUEUE_IMPORTS="shop.nowhere")
    assert "No module named 'shop.nowhere'" in done.stderr


@pytest.mark.system
def test_a_worker_is_refused_by_the_projects_checks_and_other_commands_are_not(mysite):
    wrong = {"FNQUEUE_URL": "sqs://eu-west-1/shop-", "FNQUEUE_ENVIRONMENT": "production"}
    done = manage(mysite, "fnqueue", "worker", **wrong)
    assert done.returncode == 1
    assert "(fnqueue.E002)" in done.stderr
    assert "HINT" in done.stderr
    done = manage(mysite, "fnqueue", "keys", "new", **wrong)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fnqk1-")


@pytest.mark.system
def test_manage_py_check_makes_no_file(mysite):
    done = manage(mysite, "check", "--deploy")
    assert done.returncode == 0, done.stderr
    assert not list(mysite.glob("*.db*")) and not (mysite / "fnqueue.keys").exists()
    assert "No changes detected" in manage(mysite, "makemigrations", "--check", "--dry-run").stdout


# ---------------------------------------------------------------- options and exit codes


@pytest.mark.system
def test_the_options_of_every_django_command_count_and_exit_codes_pass(mysite, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "other_settings.py").write_text(
        'from mysite.settings import *\nFNQUEUE = {"URL": "sqlite:///other.db"}\n'
    )
    done = manage(
        mysite, "fnqueue", "worker", "--settings", "other_settings", "--burst", f"--pythonpath={tmp_path}/more",
        "--log-format", "text", "--no-color", "--skip-checks",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(mysite / "other.db") in done.stderr
    quiet = manage(mysite, "fnqueue", "--verbosity", "0", "worker", "--burst", "--log-format", "text")
    assert "stopping" in done.stderr
    assert "stopping" not in quiet.stderr
    assert manage(mysite, "fnqueue", "worker", "--nonsense").returncode == 2
    assert manage(mysite, "fnqueue", "healthcheck", "--health-file", "none").returncode == 1
    assert manage(mysite, "fnqueue", "tasks", "--app", "shop.nowhere").returncode == 4


@pytest.mark.system
def test_another_queue_of_the_project_has_a_worker_of_its_own(mysite):
    (mysite / "shop" / "reports.py").write_text(
        "from django_fnqueue import FnQueue\nfrom fnqueue.policies import public\n"
        'reports = FnQueue(setting="REPORTS", url="sqlite:///reports.db")\n'
        '@reports.task(policy=public)\ndef monthly() -> str:\n    return "done"\n'
    )
    assert manage(mysite, "shell", "-c", "from shop import reports; reports.monthly.defer()").returncode == 0
    words = ("fnqueue", "worker", "--app", "shop.reports:reports", "--burst", "--log-format", "text")
    done = manage(mysite, *words)
    assert "SUCCESS shop.reports.monthly" in done.stderr, done.stderr
    assert str(mysite / "reports.db") in done.stderr


@pytest.mark.system
def test_a_model_module_may_define_tasks(mysite):
    (mysite / "shop" / "models.py").write_text(
        "from django.db import models\nfrom django_fnqueue import fn\nfrom fnqueue.policies import public\n"
        "class Photo(models.Model):\n    pass\n"
        "@fn.task(policy=public)\ndef count() -> int:\n    return 7\n"
    )
    assert "shop.models.count" in manage(mysite, "fnqueue", "tasks").stdout


@pytest.mark.system
def test_help_lists_all_commands_and_those_of_one(mysite):
    for words in (("fnqueue", "--help"), ("help", "fnqueue"), ("fnqueue",)):
        done = manage(mysite, *words)
        shown = done.stdout + done.stderr
        assert shown.startswith("Usage: manage.py fnqueue [OPTIONS] COMMAND"), shown
        assert "worker" in shown and "dlq" in shown and "dev" in shown
    assert "--concurrency" in manage(mysite, "fnqueue", "worker", "--help").stdout
    assert "--concurrency" in manage(mysite, "help", "fnqueue_worker").stdout


@pytest.mark.system
def test_call_command_writes_to_the_stream_that_it_is_given(mysite):
    code = (
        "import io; from django.core.management import call_command; out = io.StringIO(); "
        "call_command('fnqueue', 'tasks', '--json', stdout=out); print('given', len(out.getvalue()) > 100)"
    )
    done = manage(mysite, "shell", "-c", code)
    assert done.stdout.split()[-2:] == ["given", "True"], done.stderr


@pytest.mark.system
def test_call_command_takes_the_words_of_the_command_line(mysite):
    """Options in the first place too, and Django's own wherever they stand."""
    code = (
        "from django.core.management import call_command; from shop.tasks import thumbnail; "
        "handle = thumbnail.defer(7); call_command('fnqueue_worker', '--burst'); print('first', handle.state); "
        "handle = thumbnail.defer(8); call_command('fnqueue', 'worker', '--burst', '-v', 0); "
        "print('second', handle.state)"
    )
    done = manage(mysite, "shell", "-c", code)
    assert "first SUCCESS" in done.stdout and "second SUCCESS" in done.stdout, done.stdout + done.stderr


# ---------------------------------------------------------------- reload, stop, dev


@pytest.mark.system
def test_a_worker_stops_well_when_it_is_told_to(mysite, tmp_path):
    call = deferred(mysite, "sleep.defer(1.5)")
    with started("manage", "fnqueue", "worker", "--reload", cwd=mysite, log=tmp_path / "log") as worker:
        worker.until_it_says("WorkerReady")
        worker.until(lambda: "STARTED" in state(mysite, call) or "SUCCESS" in state(mysite, call))
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    assert "SUCCESS" in state(mysite, call)


def state(mysite: Path, call: str) -> str:
    return manage(mysite, "fnqueue", "tasks", "--recent", "5").stdout


@pytest.mark.system
def test_a_worker_reloads_when_a_file_changes_and_ends_what_it_runs_first(mysite, tmp_path):
    words = ("manage", "fnqueue", "worker", "--reload", "--log-format", "text")
    with started(*words, cwd=mysite, log=tmp_path / "log") as worker:
        worker.until_it_says("runs  ")
        pid = worker.process.pid
        slow = deferred(mysite, "sleep.defer(2)")
        step = itertools.count()

        def changed() -> bool:
            """Again until it is seen: the watching may begin after the worker does."""
            change(mysite / "shop" / "tasks.py", "VERSION", f"VERSION {next(step)}")
            return "starting anew" in worker.output

        worker.until(changed)
        worker.until_it_says("runs  ", times=2)
        assert "SUCCESS shop.tasks.sleep" in worker.output
        assert worker.output.index(slow) < worker.output.index("starting anew")
        change(mysite / "shop" / "tasks.py", "VERSION", "second")
        change(mysite / "shop" / "tasks.py", "import time", "import time, (")
        worker.until(lambda: "cannot be started" in worker.output or touched(mysite / "shop" / "tasks.py"))
        worker.until_it_says("waiting for a change")
        assert "SyntaxError" in worker.output
        change(mysite / "shop" / "tasks.py", "import time, (", "import time")
        worker.until_it_says("runs  ", times=3)
        assert worker.process.pid == pid
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output


@pytest.mark.system
def test_a_worker_that_reloads_waits_for_urls_that_cannot_be_imported_also_at_its_start(mysite, tmp_path):
    urls = mysite / "mysite" / "urls.py"
    change(urls, "urlpatterns = [", "nobody_knows_this\nurlpatterns = [")
    words = ("manage", "fnqueue", "worker", "--reload", "--log-format", "text")
    with started(*words, cwd=mysite, log=tmp_path / "log") as worker:
        worker.until_it_says("waiting for a change")
        assert "name 'nobody_knows_this' is not defined" in worker.output
        change(urls, "nobody_knows_this\n", "")
        worker.until_it_says("runs  ")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    change(urls, "urlpatterns = [", "nobody_knows_this\nurlpatterns = [")
    done = manage(mysite, "fnqueue", "worker")
    assert (done.returncode, "name 'nobody_knows_this' is not defined" in done.stderr) == (1, True)


def touched(path: Path) -> None:
    change(path, "", "")


@pytest.mark.system
def test_dev_runs_web_and_worker_and_reloads_both(mysite, tmp_path):
    port = free_port()
    words = ("manage", "fnqueue", "dev", "--port", str(port))
    with started(*words, cwd=mysite, log=tmp_path / "log") as dev:
        dev.until_it_says("worker |   runs")
        address = f"http://127.0.0.1:{port}"
        dev.until(lambda: answers(address))
        dev.until_it_says(f"development server at {address}/")  # its lines come at once, through a pipe too
        assert result(dev, address) == "7, VERSION"
        step = itertools.count()

        def changed() -> bool:
            change(mysite / "shop" / "tasks.py", "VERSION", f"VERSION {next(step)}")
            return len(re.findall(r"worker \|   runs", dev.output)) > 1

        dev.until(changed)
        dev.until(lambda: answers(address) and result(dev, address) != "7, VERSION")
        dev.signal(signal.SIGINT)
        assert dev.wait() == 0, dev.output
    assert not answers(address)


@pytest.mark.system
def test_a_port_that_is_taken_is_said_before_anything_starts(mysite):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = manage(mysite, "fnqueue", "dev", "--port", str(port))
    assert done.returncode == 1
    assert f"fnqueue: port {port} is taken" in done.stderr
    assert done.stdout == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except urllib.error.HTTPError:
        return True  # 404: there is no page at /
    except OSError:
        return False
    return True


def result(dev, address: str) -> str:
    """Of one call that its view defers. A server that is just starting anew resets a connection: asked again."""
    found: list[dict] = []

    def ask(path: str, body: bytes | None = None) -> dict | None:
        try:
            with urllib.request.urlopen(address + path, body, timeout=20) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def asked() -> bool:
        found.extend(filter(None, [ask("/photos/7", b"")]))
        return bool(found)

    def done() -> bool:
        found.extend(filter(None, [ask(status)]))
        return found[-1].get("state") == "SUCCESS"

    dev.until(asked)
    status = found[-1]["status"]
    dev.until(done)
    return found[-1]["result"]
