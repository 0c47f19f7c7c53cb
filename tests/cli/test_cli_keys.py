"""`fnqueue keys` for keys of several parts: made, shared out, rotated; and nothing printed that was not asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fnqueue.security.keyfile import load
from fnqueue.security.keyring import KeyRing
from tests.security.rings import SIGNED, kms_key, whole

PART = re.compile(r"fnqk1-[a-z]+-[a-z2-7]{56}")


@pytest.fixture(params=SIGNED)
def suite(request):
    return request.param


@pytest.fixture
def file(fnqueue, project, suite) -> Path:
    folder = project()
    assert fnqueue("keys", "new", *of(suite), "--file", "k").exit_code == 0
    return folder / "k"


def of(suite: str) -> list[str]:
    return ["--suite", suite, *(["--kms", kms_key()] if suite == "kms" else [])]


def rows(fnqueue, file="k"):
    return json.loads(fnqueue("keys", "list", "-f", str(file), "--json").stdout)


def test_a_key_of_a_suite_is_made_whole_and_listed_without_the_key(fnqueue, file, suite):
    (row,) = rows(fnqueue)
    assert (row["suite"], row["state"], row["mint"]) == (suite, "primary", True)
    assert set(row["parts"]) == {"sign", {"signed": "shared", "split": "open", "kms": "kms"}[suite], "state"}
    shown = fnqueue("keys", "list", "-f", "k").stdout + fnqueue("keys", "show", row["key_id"], "-f", "k").stdout
    assert "sign, seal, open, state" in shown
    assert PART.findall(shown) == []
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_without_a_file_is_printed_alone(fnqueue, project, suite):
    project()
    done = fnqueue("keys", "new", *of(suite))
    assert KeyRing.from_text(done.stdout).primary.suite_name == suite
    assert "fnqueue keys split-public" in done.stderr
    assert PART.findall(done.stderr) == []


def test_a_second_key_of_a_file_is_of_the_suite_of_its_primary(fnqueue, file, suite):
    fnqueue("keys", "new", "--file", "k", *(of(suite) if suite == "kms" else []))
    assert [(row["suite"], row["state"]) for row in rows(fnqueue)] == [(suite, "primary"), (suite, "accept")]
    fnqueue("keys", "new", "--file", "k", "--suite", "local")
    assert rows(fnqueue)[2]["suite"] == "local"


def test_split_public_prints_what_each_process_gets_and_each_can_do_its_work_only(fnqueue, file, suite, tmp_path):
    said = fnqueue("keys", "split-public", "-f", "k").stdout
    assert [line for line in said.splitlines() if line.startswith("#")] == ["# web", "# worker", "# dashboard"]
    for role in ("web", "worker", "dashboard"):
        text = fnqueue("keys", "split-public", "-f", "k", "--role", role).stdout
        assert text.strip() in said
        given = tmp_path / role
        given.write_text(text)
        given.chmod(0o600)
        able = {
            other: fnqueue("keys", "check", "-f", str(given), "--role", other).exit_code == 0
            for other in ("web", "worker", "dashboard")
        }
        both = role == "web" and suite != "split"  # who seals can read, too; with kms AWS decides
        assert able == {"web": role == "web", "worker": role == "worker" or both, "dashboard": True}


def test_split_public_of_a_root_key_says_why_not(fnqueue, project):
    project()
    fnqueue("keys", "new", "--file", "r")
    done = fnqueue("keys", "split-public", "-f", "r")
    assert done.exit_code == 1
    assert "fnqueue keys new --suite split" in done.stderr
    assert PART.findall(done.output) == []


def test_a_workers_own_signing_key_is_given_to_the_worker_alone(fnqueue, file):
    first = rows(fnqueue)[0]["key_id"]
    done = fnqueue("keys", "new", "--file", "k", "--like", first)
    second = rows(fnqueue)[1]["key_id"]
    assert f"--worker-signs {second}" in done.stderr

    def ring(role: str) -> KeyRing:
        said = fnqueue("keys", "split-public", "-f", "k", "--worker-signs", second, "--role", role).stdout
        return KeyRing.from_text(said)

    assert [(r.key_id, r.state, r.can("sign")) for r in ring("web")] == [
        (first, "primary", True),
        (second, "accept", False),
    ]
    assert [(r.key_id, r.state, r.can("sign")) for r in ring("worker")] == [
        (first, "accept", False),
        (second, "primary", True),
    ]
    assert [r.parts for r in ring("dashboard")] == [("verify",), ("verify",)]


def test_rotate_adds_and_promotes_and_the_new_key_has_suite_and_limits_of_the_old(fnqueue, file, suite):
    text = file.read_text()
    file.write_text(text.replace(f";suite={suite}", f";suite={suite};queues=mail|billing;mint=no"))
    old = rows(fnqueue)[0]["key_id"]
    done = fnqueue("keys", "rotate", "-f", "k", "--wait-seconds", "0")
    assert done.exit_code == 0, done.output
    first, second = rows(fnqueue)
    assert (first["key_id"], first["state"], second["state"]) == (old, "accept", "primary")
    for name in ("suite", "parts", "queues", "mint"):
        assert first[name] == second[name]
    assert second["queues"] == ["mail", "billing"]
    assert f"fnqueue keys revoke {old} --file k" in done.stderr
    assert PART.findall(done.output) == []
    before = load(file)
    assert before.records[0].purposes != before.records[1].purposes, "nothing of the old key is in the new one"


def test_a_key_in_the_environment_is_rotated_step_by_step(fnqueue, project, monkeypatch, suite):
    project()
    key = whole(suite)
    monkeypatch.setenv("FNQUEUE_KEYS", key)
    done = fnqueue("keys", "rotate")
    ring = KeyRing.from_text(done.stdout)
    assert [record.state for record in ring] == ["primary", "accept"]
    assert ring.primary.key_id == KeyRing.from_text(key).primary.key_id
    assert "fnqueue keys promote" in done.stderr


def test_what_a_web_node_has_cannot_be_rotated_there(fnqueue, file, suite, tmp_path):
    given = tmp_path / "worker"
    given.write_text(fnqueue("keys", "split-public", "-f", "k", "--role", "worker").stdout)
    given.chmod(0o600)
    done = fnqueue("keys", "rotate", "-f", str(given), "--wait-seconds", "0")
    assert done.exit_code == 1
    assert "is not whole here: rotate where it was made" in done.stderr
    assert len(rows(fnqueue, given)) == 1


def test_a_key_that_is_not_there_is_said(fnqueue, file):
    for command in ("show", "new --like", "split-public --worker-signs"):
        done = fnqueue("keys", *command.split(), "aaaaaaaa", "--file", "k")
        assert done.exit_code == 1
        assert "there is no key aaaaaaaa" in done.stderr
