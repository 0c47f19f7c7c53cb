"""`fnqueue check`: what it finds, which exit code it has, and that it makes nothing."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sqlite3
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from fnqueue import FnQueue
from fnqueue.cli.check import NOT_YET
from fnqueue.cli.queues import make
from fnqueue.database import shared_filesystem
from fnqueue.security.keyring import new_key
from tests.broker.sqs_proxy import Proxy, fail
from tests.security.rings import given, kms_key
from tests.servers import moto_server

FLASK = """
from flask import Flask
from flask_fnqueue import FnQueue
from fnqueue.policies import public
app = Flask(__name__)
fn = FnQueue(app)

@fn.task(policy=public)
def resize(photo: int): ...
"""
ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OPEN = """
from fnqueue import FnQueue
fn = FnQueue()

@fn.task
def resize(photo: int): ...
"""


@pytest.fixture
def check(fnqueue):
    """`check(...)` -> exit code, and the findings as "mark topic: text"."""

    def run(*arguments, app="shop"):
        ended = fnqueue("check", "--app", app, "--json", *arguments)
        said = json.loads(ended.stdout)
        assert said["ok"] is (ended.exit_code == 0)
        return ended.exit_code, [f"{each['mark']} {each['topic']}: {each['text']}" for each in said["findings"]]

    return run


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that is there, with times and contents."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def test_a_project_that_was_never_started_is_well_and_nothing_is_made(check, shop):
    before = files(shop)
    code, said = check()
    assert code == 0
    assert said == [
        "ok app: shop, 5 tasks",
        f"ok queue: {shop}/q.db, not there yet: first use makes it",
        f"ok keys: {shop}/fnqueue.keys, not there yet: first use makes it",
        "ok environment: default",
        "ok policy: every task has one",
        "ok queues: billing, default",
    ]
    assert files(shop) == before


def test_a_flask_app_is_looked_at_and_its_instance_folder_is_not_made(project):
    from tests.commands import run

    folder = project(shop=FLASK)
    ended = run("flask", "--app", "shop", "fnqueue", "check", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert f"{folder}/instance/fnqueue.db, not there yet: first use makes it, and its folder" in ended.stdout
    assert ended.stdout.endswith("all well; nothing was started\n")
    assert sorted(path.name for path in folder.iterdir()) == ["shop.py"]


def test_a_project_in_use_is_read_and_not_changed(check, shop, monkeypatch):
    fn = FnQueue(url=f"sqlite:///{shop}/q.db")
    fn.task(name="x")(lambda: None).defer()
    in_use = check()
    assert f"ok queue: {shop}/q.db" in in_use[1]
    fn.close()
    before = files(shop)
    code, said = check()
    assert code == 0
    assert f"ok queue: {shop}/q.db" in said
    (keys,) = [line for line in said if " keys: " in line]
    assert keys.startswith(f"ok keys: {shop}/fnqueue.keys: primary ")
    assert files(shop) == before


def test_tasks_that_anybody_may_defer_are_a_warning(check, project):
    project(shop=OPEN)
    code, said = check()
    assert code == 0
    assert (
        "warning policy: none, so anybody may defer them: shop.resize (shop.py:5); SQS will not start with these"
    ) in said


def test_all_that_the_worker_would_refuse_is_an_error(check, project, monkeypatch):
    project(shop=OPEN.replace("@fn.task", "@fn.task(once=True, time_limit_seconds=5)"))
    monkeypatch.setenv("FNQUEUE_URL", "sqs://eu-west-1/shop-")
    code, said = check()
    assert code == 1
    assert [" ".join(line.split(" ")[:3]) for line in said if line.startswith("error ")] == [
        "error keys: FNQUEUE_KEYS",
        "error environment: FNQUEUE_ENVIRONMENT",
        "error policy: 1",
        "error store: once=True",
        "error limits: shop.resize",
    ]
    assert any(line.startswith("ok store: none; off: results") for line in said)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///none/q.db", "the folder {folder}/none does not exist"),
        ("sqlite:///folder", "{folder}/folder is a folder"),
        ("sqlite:///notes.txt", "{folder}/notes.txt is not an SQLite database"),
        ("sqlite:///app.db", "{folder}/app.db is a database of another program"),
        ("sqlite:///newer.db", "{folder}/newer.db was written by a newer fnqueue"),
    ],
)
def test_a_file_that_would_not_do_is_an_error(check, project, monkeypatch, url, said):
    folder = project(shop=OPEN)
    (folder / "folder").mkdir()
    (folder / "notes.txt").write_text("Not a database, and longer than its header would be.\n" * 20)
    _database(folder / "app.db", "CREATE TABLE users (id INTEGER)")
    fn = FnQueue(url=f"sqlite:///{folder}/newer.db")
    fn.runtime().engine.open()
    fn.close()
    _database(folder / "newer.db", "UPDATE fnqueue_schema SET steps = 99 WHERE component = 'broker'")
    before = files(folder)
    monkeypatch.setenv("FNQUEUE_URL", url)
    code, found = check()
    assert code == 1
    (error,) = [line for line in found if line.startswith("error queue: ")]
    assert error.startswith("error queue: " + said.format(folder=folder))
    assert files(folder) == before


def _database(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_keys_are_looked_at_and_never_shown(check, project, monkeypatch):
    folder = project(shop=OPEN)
    first, second = new_key(), new_key()
    path = folder / "ring"
    path.write_text(f"primary:{first}\naccept:{second}\n")
    monkeypatch.setenv("FNQUEUE_KEYS_FILE", "ring")
    path.chmod(0o644)
    code, said = check()
    assert code == 1
    assert any("can be read by others (mode 0644); run: chmod 600" in line for line in said)
    path.chmod(0o600)
    code, said = check()
    assert code == 0
    (keys,) = [line for line in said if " keys: " in line]
    assert " accept, changed 20" in keys
    assert first[12:] not in str(said)


def test_wrong_settings_are_errors_and_end_the_check(check, shop, monkeypatch):
    monkeypatch.setenv("FNQUEUE_CONCURENCY", "4")
    assert check() == (
        1,
        ["error settings: FNQUEUE_CONCURENCY is no setting of fnqueue; did you mean FNQUEUE_CONCURRENCY?"],
    )


def test_a_url_that_is_none_is_an_error(check, shop, monkeypatch):
    monkeypatch.setenv("FNQUEUE_URL", "redis://localhost")
    code, said = check()
    assert code == 1
    assert said[1].startswith("error url: FNQUEUE_URL='redis://localhost': must begin with ")


def test_an_annotation_that_nobody_can_look_up_is_an_error(check, project):
    project(shop=OPEN.replace("photo: int", "photo: 'Photo'"))
    code, said = check()
    assert code == 1
    assert any(line.startswith("error arguments: ") and "Photo" in line and "shop.py:5" in line for line in said)


def test_no_tasks_are_an_error(check, project):
    project(shop="from fnqueue import FnQueue\nfn = FnQueue()")
    code, said = check()
    assert code == 1
    assert said[0].startswith("error app: shop has no task: looked at what it imports")


def test_a_login_manager_without_a_user_loader_is_an_error(check, project):
    login = "from flask_login import LoginManager\nLoginManager(app)\n"
    project(shop=FLASK.replace("fn = FnQueue(app)\n", f"fn = FnQueue(app)\n{login}"))
    code, said = check()
    assert code == 1
    assert any(line.startswith("error app: shop: users cannot be loaded again") for line in said)


def test_an_import_that_fails_is_exit_4_and_shows_its_traceback(fnqueue, project):
    project(shop="import not_installed_anywhere")
    ended = fnqueue("check", "--app", "shop")
    assert ended.exit_code == 4
    assert "ModuleNotFoundError: No module named 'not_installed_anywhere'" in ended.stderr


def test_for_people_there_is_a_line_for_each_finding_and_a_sum(fnqueue, project, monkeypatch):
    project(shop=OPEN)
    ended = fnqueue("check", "--app", "shop")
    lines = ended.stdout.splitlines()
    assert lines[0] == "ok       app          shop, 1 task"
    assert lines[-1] == "1 warning; nothing was started"


@pytest.fixture
def on_sqs(project, monkeypatch):
    """A project whose url is of a server that is taken for Amazon's, because it is not called loopback."""

    def at(endpoint):
        monkeypatch.setenv("FNQUEUE_URL", f"sqs://us-east-1/check{os.getpid()}-?endpoint={endpoint}")
        for name, value in {"FNQUEUE_ENVIRONMENT": "test", "FNQUEUE_KEYS": new_key()}.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        project(shop=FLASK.replace("public)", 'public, queue="photos")'))

    return at


@pytest.mark.aws
def test_online_the_queues_are_asked_for_and_none_is_made(check, on_sqs, moto_endpoint):
    on_sqs(moto_endpoint.replace("127.0.0.1", "0.0.0.0"))
    offline = check()
    assert offline[0] == 0
    assert "ok queues: photos; whether they exist is asked with --online" in offline[1]
    code, said = check("--online")
    assert code == 1
    assert "error queues: not there: photos; make them: fnqueue queues create" in said
    fn = FnQueue()
    assert fn.runtime().engine.broker.queues() == []
    make(fn.runtime(), "photos")
    code, said = check("--online")
    assert code == 0
    assert "ok queues: photos: there, with dead-letter queues" in said
    fn.close()


def test_online_a_queue_that_does_not_answer_is_exit_3(check, on_sqs):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    on_sqs(f"http://0.0.0.0:{port}")
    assert check()[0] == 0
    code, said = check("--online")
    assert code == 3
    assert said[-1].startswith(f"error queues: http://0.0.0.0:{port} cannot be reached: Connection refused")


@pytest.mark.aws
def test_online_kms_is_asked_for_a_data_key_of_each_queue(check, shop, monkeypatch):
    kms = Proxy(moto_server())
    key = new_key("5", kms=kms_key(kms.endpoint))
    monkeypatch.setenv("FNQUEUE_KEYS", given(key, "web"))
    try:
        code, said = check()
        assert (code, kms.asked) == (0, [])
        assert next(line for line in said if " kms: " in line).endswith("is asked with --online")
        code, said = check("--online")
        assert code == 0
        assert "ok kms: lends data keys for billing, default" in said
        assert [asked["EncryptionContext"]["fnqueue:queue"] for _, asked in kms.asked] == ["billing", "default"]
        kms.then("GenerateDataKey", fail(400, "AccessDeniedException"))
        code, said = check("--online")
        assert code == 3
        assert any("queue billing: cannot make a data key" in line and "allow kms:Gen" in line for line in said)
    finally:
        kms.close()


@pytest.mark.aws
def test_who_only_opens_data_keys_asks_for_none(check, shop, monkeypatch):
    monkeypatch.setenv("FNQUEUE_KEYS", given(new_key("5", kms=f"{ARN}?endpoint=http://127.0.0.1:9"), "worker"))
    code, said = check("--online")
    assert code == 0
    assert next(line for line in said if " kms: " in line).endswith("only opens here")


def test_a_file_system_that_machines_share_is_known_by_its_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert shared_filesystem(str(tmp_path / "q.db"), str(mounts)) == "nfs4"
    assert shared_filesystem("/elsewhere/q.db", str(mounts)) is None
    assert shared_filesystem("/elsewhere/q.db", str(tmp_path / "none")) is None


@pytest.mark.aws
def test_online_a_bucket_that_cannot_be_read_is_found_before_the_first_large_call(check, shop, monkeypatch):
    endpoint = moto_server()
    name = f"check-{secrets.token_hex(4)}"
    monkeypatch.setenv("FNQUEUE_BLOBS_URL", f"s3://{name}/shop?region=us-east-1&endpoint={endpoint}")
    code, said = check()
    assert code == 0
    assert f"ok blobs: s3://{name}/shop at {endpoint}; whether it may be read is asked with --online" in said
    code, said = check("--online")
    assert code == 1
    (line,) = (line for line in said if " blobs: " in line)
    assert line.startswith(f"error blobs: FNQUEUE_BLOBS_URL: cannot get a blob from s3://{name}/shop")
    assert "NoSuchBucket" in line
    urlopen(Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()
    code, said = check("--online")
    assert code == 0
    assert f"ok blobs: s3://{name}/shop at {endpoint}: may be read" in said


def test_the_folder_of_the_audit_is_looked_at_and_not_made(check, shop, monkeypatch):
    monkeypatch.setenv("FNQUEUE_AUDIT_DIR", "audit")
    before = files(shop)
    code, found = check()
    assert (code, files(shop)) == (0, before)
    assert f"ok audit: {shop}/audit, {NOT_YET}" in found
    (shop / "audit").write_text("in the way")
    code, found = check()
    assert code == 1
    assert f"error audit: FNQUEUE_AUDIT_DIR='{shop}/audit': this user cannot write there" in found
