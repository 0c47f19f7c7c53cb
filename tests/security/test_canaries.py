"""Markers are planted in arguments, secrets, keys, passwords, people; everything that can fail is run in real
processes; and every log, database, file, page and record is searched for them, in every spelling.

A marker is in no file of the tests: it is made anew for each run and handed on by the environment.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fnqueue.security.keyring import new_key
from tests.security.test_secrets_stay_inside import material

pytestmark = pytest.mark.system
NAMES = ("ARG", "SECRET", "RESULT", "USER", "TENANT", "VERSION", "DEDUPE", "PASSWORD")


def new_marker(name: str) -> str:
    # With what each spelling spells otherwise.
    return f'{name.lower()} "{secrets.token_hex(8)}" é/&@example.org'


def spellings(marker: str) -> Iterator[bytes]:
    """As bytes: raw, JSON, url, repr, UTF-16, and of each the core; hex and base64 at every offset."""
    core = re.search(r"[0-9a-f]{16}", marker)
    for text in (marker, core[0] if core else marker):
        raw = text.encode()
        yield from (
            raw,
            text.encode("utf-16-le"),
            text.encode("utf-16-be"),
            raw.hex().encode(),
            raw.hex().upper().encode(),
        )
        yield from (
            json.dumps(text)[1:-1].encode(),
            quote(text).encode(),
            quote(text, safe="").encode(),
            repr(text)[1:-1].encode(),
        )
        for offset in range(3):
            coded = base64.b64encode(bytes(offset) + raw)[offset + 1 : -4]
            yield from (coded, coded.translate(bytes.maketrans(b"+/", b"-_")))
        yield base64.b32encode(raw)[:-8]
        yield base64.b32encode(raw)[:-8].lower()


def found(marker: str, where: dict[str, bytes]) -> list[str]:
    forms = set(spellings(marker))
    return [
        f"{name}: ...{data[max(0, data.index(form) - 200) : data.index(form) + 80]!r}"
        for name, data in where.items()
        for form in forms
        if form in data
    ]


def test_a_marker_is_found_in_every_spelling_so_that_the_others_can_fail() -> None:
    marker = new_marker("x")
    raw = marker.encode()
    for hidden in (
        raw, marker.encode("utf-16"), raw.hex().encode(), base64.b64encode(b"a" + raw), repr([marker]).encode(),
        base64.urlsafe_b64encode(b"ab" + raw), base64.b32encode(raw), json.dumps({"a": marker}).encode(),
        quote(marker, safe="").encode(),
    ):  # fmt: skip
        assert found(marker, {"file": b"before " + hidden + b" after"}), hidden
    assert found(marker, {"file": b"nothing"}) == []


class Planted:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.markers = {name: new_marker(name) for name in NAMES}
        self.key = new_key()
        self.seen: dict[str, bytes] = {}
        root = Path(__file__).resolve().parents[2]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FNQUEUE_", "AWS_", "FLASK_"))}
        self.environment = {
            **kept,
            "PYTHONPATH": f"{root}:{root}/integrations",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FNQUEUE_URL": f"sqlite:///{folder}/shop.db",
            "FNQUEUE_KEYS": f"primary:{self.key}",
            "FNQUEUE_APP": "tests.security.canary_shop",
            "CANARY_FOLDER": str(folder),
            **{f"CANARY_{name}": marker for name, marker in self.markers.items()},
        }

    def run(self, *arguments: str, given: str = "", **environment: str) -> int:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", *arguments],
            cwd=self.folder, env={**self.environment, **environment}, input=given.encode(), capture_output=True,
            timeout=60,
        )  # fmt: skip
        self.seen[f"{len(self.seen)} {' '.join(arguments)[:60]}"] = done.stdout + b"\n" + done.stderr
        return done.returncode

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }

    def leaks(self) -> list[str]:
        """Of whom a call was made for, what a policy says names the id: to them, and in logs. It is kept nowhere."""
        files = self.files()
        leaks = [
            f"{name} in {leak}"
            for name, marker in self.markers.items()
            for leak in found(marker, files if name == "USER" else {**self.seen, **files})
        ]
        parts = [part.encode() for part in material(self.key)]
        return leaks + [
            f"key in {name}" for name, data in {**self.seen, **files}.items() for part in parts if part in data
        ]


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path)


COMMANDS = """
tasks list
tasks recent
tasks recent --json
queues list
dlq list
dlq show default
dlq show default --json
keys list
keys check
schedule list
blobs sweep
check
audit tail
audit verify
dlq redrive default
dlq discard default --all --yes
""".strip().splitlines()


@pytest.mark.parametrize("log", ["text", "json"])
def test_whatever_fails_nothing_that_was_planted_is_shown_or_kept_in_clear(planted: Planted, log: str) -> None:
    settings = {"FNQUEUE_LOG_FORMAT": log, "FNQUEUE_LOG_LEVEL": "debug"}
    assert planted.run("-m", "tests.security.canary_defers") == 0, planted.seen
    assert planted.leaks() == []
    ended = [planted.run("-m", "fnqueue", "worker", "--burst", **settings) for _ in range(3)]
    assert -9 in ended, planted.seen
    planted.run("-c", "import time; time.sleep(3)")
    ended = [planted.run("-m", "fnqueue", "worker", "--burst", **settings) for _ in range(2)]
    assert ended[-1] == 0, planted.seen
    for command in COMMANDS:
        planted.run("-m", "fnqueue", *command.split())
    said = b"".join(planted.seen.values())
    for happened in (b"DEAD_LETTER", b"BAD_TAG", b"MALFORMED", b"***", b"sent back"):
        assert happened in said, happened
    assert planted.leaks() == []


PASSWORD_SETTINGS = [
    {"FNQUEUE_URL": "redis://joe:{}@localhost:6379/0"},
    {"FNQUEUE_URL": "postgresql://joe:{}@localhost/shop"},
    {"FNQUEUE_URL": "sqs://joe:{}@eu-west-1/shop-"},
    {"FNQUEUE_URL": "sqs://eu-west-1/shop-?endpoint=http://joe:{}@127.0.0.1:9"},
    {"FNQUEUE_URL": "sqlite:///shop.db?password={}"},
    {"FNQUEUE_STORE_URL": "redis://:{}@localhost/0"},
    {"FNQUEUE_STORE_URL": "postgresql://localhost/shop?password={}"},
    {"FNQUEUE_STORE_URL": "dynamodb://joe:{}@eu-west-1/table"},
    {"FNQUEUE_BLOBS_URL": "s3://joe:{}@bucket/x"},
    {"FNQUEUE_BLOBS_URL": "s3://bucket/x?endpoint=http://joe:{}@127.0.0.1:9"},
    {"FNQUEUE_BLOBS_URL": "https://{}.example"},
    {"FNQUEUE_KEYS": "primary:{}"},
    {"FNQUEUE_KEYS": "fnqk1-root-{}"},
    {"FNQUEUE_KEYS_FILE": "fnqk1-root-{}", "FNQUEUE_KEYS": ""},
]


@pytest.mark.parametrize("wrong", PASSWORD_SETTINGS, ids=lambda wrong: " ".join(wrong.values()))
def test_a_password_in_a_wrong_setting_is_not_repeated(planted: Planted, wrong: dict[str, str]) -> None:
    password = re.sub(r"\W", "", planted.markers["PASSWORD"])
    planted.markers = {"PASSWORD": password}
    given = {name: value.format(password) for name, value in wrong.items()}
    given.setdefault("FNQUEUE_ENVIRONMENT", "test")
    for command in ("check", "worker --burst", "queues list", "tasks recent", "keys list", "dlq list"):
        code = planted.run("-m", "fnqueue", *command.split(), **given)
        assert code != 0 or command not in ("check", "worker --burst"), planted.seen
    planted.run("-c", "from tests.security.canary_shop import *; returns.defer('x', Secret('x'))", **given)
    assert b"FNQUEUE_" in b"".join(planted.seen.values())
    assert planted.leaks() == []


FLASK = """
import logging, os
from flask import Flask
from flask_fnqueue import FnQueue
from fnqueue import Principal, Secret
from fnqueue.policies import public, role
from tests.security.canary_defers import Locals
handler = logging.StreamHandler(); handler.setFormatter(Locals())
logging.basicConfig(level=logging.DEBUG, handlers=[handler])
app = Flask("shop", instance_path=os.environ["CANARY_FOLDER"])
fn = FnQueue(app)
fn.principal(lambda request: Principal(id=os.environ["CANARY_USER"]))
SECRET = lambda: Secret(os.environ["CANARY_SECRET"])

@fn.task(policy=public, name="charge")
def charge(card: Secret[str]) -> None: ...

@fn.task(policy=role("admin"), name="refund")
def refund(card: Secret[str]) -> None: ...

for name, view in {
    "denied": lambda: refund.defer(SECRET()),
    "wrong": lambda: charge.defer(SECRET(), SECRET()),
    "bare": lambda: charge.defer(SECRET().get_secret_value()),
    "large": lambda: charge.defer(Secret(SECRET().get_secret_value() * 1_500_000)),
    "good": lambda: {"id": charge.defer(SECRET()).id, "status": fn.status_url(charge.defer(SECRET()))},
}.items():
    app.add_url_rule("/" + name, name, view)
client = app.test_client()
codes = {}
for name in ("denied", "wrong", "large", "good"):
    answer = client.get("/" + name)
    codes[name] = answer.status_code
    print(name, answer.status_code, answer.headers, answer.get_data(as_text=True))
    if name == "good":
        print(client.get(answer.json["status"]).get_data(as_text=True))
assert codes == {"denied": 403, "wrong": 500, "large": 500, "good": 200}, codes
"""

DJANGO = """
import os
from django.conf import settings
settings.configure(
    DEBUG=False, SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF="__main__", ADMINS=[("a", "a@example.org")],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_fnqueue"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend", BASE_DIR=os.environ["CANARY_FOLDER"],
    LOGGING={"version": 1, "disable_existing_loggers": False,
        "formatters": {"locals": {"()": "tests.security.canary_defers.Locals"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "locals"},
            "mail": {"class": "django.utils.log.AdminEmailHandler", "include_html": True}},
        "root": {"handlers": ["out", "mail"], "level": "INFO"},
    },
)
import django
django.setup()
from django.core import mail
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django_fnqueue import fn
from fnqueue import Secret
from fnqueue.policies import public, role
SECRET = lambda: Secret(os.environ["CANARY_SECRET"])

@fn.task(policy=public, name="charge")
def charge(card: Secret[str]) -> None: ...

@fn.task(policy=role("admin"), name="refund")
def refund(card: Secret[str]) -> None: ...

def view(call):
    def answer(request):
        call()
        return HttpResponse("ok")
    return answer

urlpatterns = [
    path("denied", view(lambda: refund.defer(SECRET()))),
    path("wrong", view(lambda: charge.defer(SECRET(), SECRET()))),
    path("large", view(lambda: charge.defer(Secret("x" * 70_000_000)))),
    path("good", view(lambda: charge.defer(SECRET()))),
]
client = Client(raise_request_exception=False)
codes = {}
for name in ("denied", "wrong", "large", "good"):
    answer = client.get("/" + name)
    codes[name] = answer.status_code
    print(name, answer.status_code, answer.headers, answer.content)
for message in mail.outbox:
    print(message.subject, message.body, message.alternatives)
assert mail.outbox, "the reports to the administrators are part of what is searched"
assert codes == {"denied": 403, "wrong": 500, "large": 500, "good": 200}, codes
"""


@pytest.mark.parametrize("program", [FLASK, DJANGO], ids=["flask", "django"])
def test_no_error_page_and_no_report_of_a_framework_shows_a_secret(planted: Planted, program: str) -> None:
    pytest.importorskip("flask")
    pytest.importorskip("django")
    assert planted.run("-c", program) == 0, planted.seen
    planted.run("-m", "fnqueue", "worker", "--burst")
    assert planted.leaks() == []
