"""A Django project's first hour: what is forgotten in its settings, urls, database, views and policies.

Each situation is a project of its own in a folder, and its processes: Django can be set up once in a process.
"""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.commands import environment
from tests.first_hour.conftest import Says

pytest.importorskip("django")
pytestmark = pytest.mark.system

MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
DEBUG = False
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django_fnqueue", "shop"
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_fnqueue.middleware.FnQueueMiddleware",
]
ROOT_URLCONF = "mysite.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "propagate": False}},
}  # as newcomers write it: all other loggers that are there already are disabled by this
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
URLS = """
from django.urls import include, path
from shop.views import pay
urlpatterns = [path("pay", pay), path("fnqueue/", include("django_fnqueue.urls"))]
"""
TASKS = """
from django_fnqueue import fn
from fnqueue.policies import authenticated

@fn.task(policy=authenticated)
def send_invoice(account: int) -> None: ...
"""
VIEWS = """
from django.http import HttpResponse
from shop.tasks import send_invoice

def pay(request):
    send_invoice.defer(7)
    return HttpResponse("sent")
"""
#: Errors as a line of their own; a traceback's way through Django differs between versions.
SHELL = """
import os, sys
{setup}
try:
    exec(sys.argv[1])
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""
SET_UP = 'os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"\nimport django\ndjango.setup()'
POST = """
from django.test import Client
from django.contrib.auth import SESSION_KEY
client = Client(raise_request_exception=False)
{login}
answer = client.post("/pay")
print("POST /pay ->", answer.status_code, answer.reason_phrase)
if answer.status_code < 500:
    import re
    print(re.sub(r"<[^>]+>", "", answer.content.decode().partition("<body>")[2] or answer.content.decode()).strip())
"""
CALL = "from shop.tasks import send_invoice\nsend_invoice.defer(7)"
LOGIN = "from django.contrib.auth.models import User; client.force_login(User.objects.create_user('martha'))"

#: The database of a project that was migrated: made once.
MIGRATED: list[bytes] = []


class Project:
    def __init__(self, says: Says) -> None:
        self.says = says
        self.files = {
            "manage": MANAGE,
            "mysite/__init__": "",
            "mysite/settings": SETTINGS,
            "mysite/urls": URLS,
            "shop/__init__": "",
            "shop/tasks": TASKS,
            "shop/views": VIEWS,
        }
        self._write()

    def change(self, name: str, before: str, after: str) -> None:
        assert before in self.files[name], before
        self.files[name] = self.files[name].replace(before, after)
        self._write()

    def add(self, name: str, text: str) -> None:
        self.files[name] = self.files.get(name, "") + text
        self._write()

    def _write(self) -> None:
        for name, text in self.files.items():
            path = self.says.folder / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def manage(self, *words: str, as_: str = "") -> None:
        self._note(f"$ python manage.py {as_ or ' '.join(words)}", self._run("manage.py", *words), code=True)

    def migrate(self) -> None:
        path = self.says.folder / "db.sqlite3"
        if not MIGRATED:
            assert self._run("manage.py", "migrate", "-v0").returncode == 0
            MIGRATED.append(path.read_bytes())
        path.write_bytes(MIGRATED[0])

    def python(self, code: str, *, setup: str = SET_UP) -> None:
        lines = code.strip().splitlines()
        self._note("\n".join(">>> " + line for line in lines), self._run("-c", SHELL.format(setup=setup), code))

    def post(self, *, login: bool = False) -> None:
        code = POST.format(login=LOGIN if login else "")
        self._note("", self._run("-c", SHELL.format(setup=SET_UP), code))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.says.folder,
            env=environment(PYTHONPATH=""),
            capture_output=True,
            text=True,
            timeout=40,
        )

    def _note(self, head: str, ended: subprocess.CompletedProcess[str], *, code: bool = False) -> None:
        for text in (head, ended.stdout, ended.stderr, f"[exit {ended.returncode}]" if code else ""):
            if text:
                self.says.note(self._shortened(text))

    def _shortened(self, text: str) -> str:
        """Of a traceback only the project's own frames: the others differ from version to version of Django."""
        lines: list[str] = []
        for line in text.splitlines():
            is_frame = line.startswith('  File "')
            foreign = (is_frame and str(self.says.folder) not in line) or (
                line.startswith("    ") and lines[-1:] == ["  ..."]
            )
            if not foreign or lines[-1:] != ["  ..."]:
                lines.append("  ..." if foreign else line)
        return "\n".join(lines)


@pytest.fixture
def project(says: Says) -> Project:
    return Project(says)


def test_the_middleware_is_forgotten(project: Project) -> None:
    project.migrate()
    project.change("mysite/settings", '    "django_fnqueue.middleware.FnQueueMiddleware",\n', "")
    project.post(login=True)
    project.manage("fnqueue", "worker")
    project.manage("fnqueue", "check")


def test_the_middleware_stands_before_the_one_that_knows_users(project: Project) -> None:
    project.migrate()
    ours = '    "django_fnqueue.middleware.FnQueueMiddleware",\n'
    project.change("mysite/settings", ours, "")
    project.change("mysite/settings", "MIDDLEWARE = [\n", "MIDDLEWARE = [\n" + ours)
    project.post(login=True)


def test_there_is_no_authentication_middleware(project: Project) -> None:
    project.migrate()
    project.change("mysite/settings", '    "django.contrib.auth.middleware.AuthenticationMiddleware",\n', "")
    project.post()


def test_nobody_is_logged_in(project: Project) -> None:
    project.migrate()
    project.post()


AS_IMPORT = "from django_fnqueue import fn\nfrom shop.tasks import {0}\nwith fn.as_service('import'): {1}"


def test_the_database_is_not_migrated(project: Project) -> None:
    project.python(
        "from django.contrib.auth.models import User\nfrom django_fnqueue import fn\n"
        "with fn.as_principal(User(pk=7)): pass"
    )
    project.python(
        "from fnqueue import Principal\nfrom django_fnqueue import fn\nfrom shop.tasks import send_invoice\n"
        "with fn.as_principal(Principal(id='7', kind='user')): print(send_invoice.defer(7).state)"
    )
    project.manage("fnqueue", "worker", "--burst", "--log-format", "text")


def test_fnqueue_is_no_dict(project: Project) -> None:
    project.add("mysite/settings", 'FNQUEUE = "sqlite:///queue.db"\n')
    project.python(CALL)
    project.manage("fnqueue", "worker")


def test_a_setting_is_misspelt(project: Project) -> None:
    project.add("mysite/settings", 'FNQUEUE = {"URI": "sqlite:///queue.db", "DEFAULT_POLICI": "public"}\n')
    project.manage("check")
    project.manage("fnqueue", "check")


def test_a_setting_stands_outside_of_the_dict(project: Project) -> None:
    project.add("mysite/settings", 'FNQUEUE_URL = "sqlite:///queue.db"\n')
    project.manage("fnqueue", "worker")


def test_the_urls_are_not_included(project: Project) -> None:
    project.change("mysite/urls", ', path("fnqueue/", include("django_fnqueue.urls"))', "")
    project.python(AS_IMPORT.format("send_invoice", "print(fn.status_url(send_invoice.defer(7)))"))


def test_the_app_is_not_installed(project: Project) -> None:
    project.change("mysite/settings", ' "django_fnqueue",', "")
    project.manage("fnqueue", "worker")
    project.says.command("fnqueue", "worker")


def test_there_are_no_settings(project: Project) -> None:
    project.python(CALL, setup="")


def test_defer_in_an_async_view(project: Project) -> None:
    project.migrate()
    project.change("shop/views", "def pay", "async def pay")
    project.post(login=True)


def test_the_tasks_module_raises(project: Project) -> None:
    project.add("shop/tasks", "from shop.models import Invoice\n")
    project.manage("fnqueue", "worker")
    project.says.command("fnqueue", "worker")


def test_an_app_is_misspelt(project: Project) -> None:
    project.change("mysite/settings", '"shop"', '"shopp"')
    project.says.command("fnqueue", "worker")


def test_fnqueues_own_command_finds_the_project(project: Project) -> None:
    project.says.command("fnqueue", "worker", "--burst", "--log-format", "text")
    project.says.command("fnqueue", "check")


def test_the_port_is_taken(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        project.says.replaced = [(str(port), "8000")]
        project.manage("fnqueue", "dev", "--port", str(port), as_="fnqueue dev")


def test_an_object_of_a_model_is_given(project: Project) -> None:
    project.add("shop/tasks", "\nfrom django.contrib.auth.models import User\n")
    project.add("shop/tasks", "\n@fn.task(policy=authenticated)\ndef welcome(user): ...\n")
    project.python(AS_IMPORT.format("User, welcome", "welcome.defer(User(pk=7))"))
    project.python(AS_IMPORT.format("User, welcome", "welcome.defer(User.objects.all())"))


def test_what_is_no_permission(project: Project) -> None:
    project.change("shop/tasks", "fnqueue.policies import authenticated", "django_fnqueue.policies import perm")
    project.change("shop/tasks", "policy=authenticated", "policy=perm('nope')")
    project.says.command("fnqueue", "worker")
