"""Flask and Django sites of which each process has only its own parts of a key: gunicorn signs and seals, the worker
opens, and signs with a key of its own that may not speak for users. Everything that a visitor sees works, and no
process can do another's work."""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fnqueue.security.keyfile import like, share
from fnqueue.security.keyring import KeyRing
from tests.commands import run
from tests.security.rings import SIGNED, whole
from tests.system.web_servers.serving import DJANGO_GUNICORN, GUNICORN_SYNC, Kind, Serving, Site

pytestmark = pytest.mark.system

TASKS = """
import os
from fnqueue.policies import authenticated


@fn.task(name="shop.order", policy=authenticated, defers=("shop.mail",))
def order(cake: str) -> str:
    mail.defer(cake)
    return f"{cake} for {fn.current_principal().id}"


@fn.task(name="shop.mail", policy=authenticated)
def mail(cake: str) -> None:
    with open(os.environ["EFFECTS"], "a") as file:
        file.write(f"{fn.current_principal().id}:{cake}\\n")
"""
FLASK = f"""
from flask import Flask
from flask_fnqueue import FnQueue
from flask_login import LoginManager, UserMixin, login_user

fn = FnQueue()
app = Flask(__name__)
app.secret_key = "of a test"
users = LoginManager(app)


class User(UserMixin):
    id = "1"


@users.user_loader
def load(id):
    return User() if id == "1" else None

{TASKS}

@app.get("/login")
def login():
    login_user(User())
    return {{}}


@app.get("/order/<cake>")
def ordered(cake):
    handle = order.defer(cake)
    return {{"id": handle.id, "status": fn.status_url(handle)}}

fn.init_app(app)
"""
URLS = """
from django.contrib.auth import login as log_in
from django.contrib.auth.models import User
from django.http import JsonResponse
from django.urls import include, path
from django_fnqueue import fn

from desk.tasks import order


def login(request):
    log_in(request, User.objects.get_or_create(username="ada")[0])
    return JsonResponse({})


def ordered(request, cake):
    handle = order.defer(cake)
    return JsonResponse({"id": handle.id, "status": fn.status_url(handle)})


urlpatterns = [
    path("login", login), path("order/<cake>", ordered), path("fnqueue/", include("django_fnqueue.urls")),
]
"""


class Visitor:
    def __init__(self, served: Serving) -> None:
        self._at = f"http://127.0.0.1:{served.port}"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with self._browser.open(self._at + path, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None


class Machines:
    """`kept`: what each kind of process has of the key."""

    def __init__(self, site: Site, kind: Kind, suite: str) -> None:
        key = whole(suite)
        text = like(key, KeyRing.from_text(key).primary.key_id, ";mint=no")
        own = KeyRing.from_text(text).records[1].key_id
        self.kept = {role: share(text, role, signs=own).replace("\n", " ") for role in ("web", "worker")}
        self.site, self.kind = site, kind
        site.env |= {"DEBUG": "", "FNQUEUE_DEFAULT_POLICY": "authenticated"}
        if kind.framework == "flask":
            (site.home / "shop.py").write_text(FLASK)
        else:
            (site.home / "desk/tasks.py").write_text("from django_fnqueue import fn\n" + TASKS)
            (site.home / "desk/urls.py").write_text(URLS)
            settings = site.home / "desk/settings.py"
            settings.write_text(
                settings.read_text()
                .replace('SESSION_ENGINE = "', 'UNUSED = "')
                .replace('"django.contrib.auth",', '"django.contrib.auth", "django.contrib.sessions",')
            )
            done = self.run("web", "django", "migrate", "-v0", "--settings", "desk.settings", "--pythonpath", ".")
            assert done.returncode == 0, done.stderr

    def run(self, role: str, *words: str) -> Any:
        return run(*words, cwd=self.site.home, env=self.site.env | {"FNQUEUE_KEYS": self.kept[role]})

    def work(self, role: str = "worker") -> Any:
        app = ["--app", "shop:app"] if self.kind.framework == "flask" else []
        return self.run(role, "fnqueue", "worker", *app, "--burst")

    @property
    def effects(self) -> list[str]:
        path = Path(self.site.env["EFFECTS"])
        return path.read_text().split() if path.exists() else []


@pytest.fixture(params=SIGNED)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[GUNICORN_SYNC, DJANGO_GUNICORN], ids=["flask", "django"])
def machines(request: pytest.FixtureRequest, suite: str, tmp_path: Path) -> Machines:
    return Machines(Site(tmp_path, request.param.framework), request.param, suite)


def test_a_site_works_whose_processes_have_each_their_own_parts_of_a_key(machines: Machines) -> None:
    with machines.site.served_by(machines.kind, FNQUEUE_KEYS=machines.kept["web"]) as served:
        ada, stranger = Visitor(served), Visitor(served)
        assert ada.get("/login")[0] == 200
        status, said = ada.get("/order/cake")
        assert status == 200, served.server.output
        assert ada.get(said["status"])[1]["state"] == "PENDING"
        done = machines.work()
        assert done.returncode == 0, done.stderr
        assert machines.effects == ["1:cake"], done.stderr
        call = ada.get(said["status"])[1]
        assert (call["state"], call["result"]) == ("SUCCESS", "cake for 1")
        assert stranger.get(said["status"])[0] == 404
        assert stranger.get("/order/cake")[0] in (401, 403)
        said_by_all = done.stdout + done.stderr + served.server.output
    parts = {part for text in machines.kept.values() for part in re.findall(r"fnqk1-[a-z]+-([a-z2-7]{12})", text)}
    assert len(parts) >= 4
    assert not [part for part in parts if part in said_by_all]


def test_no_process_of_a_site_does_anothers_work(machines: Machines, suite: str) -> None:
    with machines.site.served_by(machines.kind, FNQUEUE_KEYS=machines.kept["web"]) as served:
        ada = Visitor(served)
        ada.get("/login")
        assert ada.get("/order/cake")[0] == 200
        if suite == "split":
            done = machines.work("web")
            assert done.returncode != 0
            assert "needs fnqk1-open-" in done.stderr
    assert machines.effects == []
    with machines.site.served_by(machines.kind, FNQUEUE_KEYS=machines.kept["worker"]) as served:
        ada = Visitor(served)
        ada.get("/login")
        assert ada.get("/order/pie")[0] == 500
        assert "for users only what the task that makes the call names" in served.server.output
    machines.work()
    assert machines.effects == ["1:cake"]
