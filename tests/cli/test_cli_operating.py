"""What operators do with calls of others: stop them, send back, release, discard, look at arguments. Who may, and that
it is on record."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from fnqueue import Principal, Secret
from fnqueue.broker.base import Entry
from fnqueue.clock import SystemClock
from fnqueue.security.envelope import peek
from fnqueue.worker.worker import Worker
from tests.commands import run

BANK = """
from fnqueue import FnQueue, Principal, Secret
from fnqueue.policies import authenticated, public, role

fn = FnQueue(url="sqlite:///q.db", audit_dir="audit")
people = {"ada": set(), "sue": {"support"}, "eve": set()}
broken = [True]
paid = []

@fn.load_principal
def load(id):
    return Principal(id=id, roles=people[id]) if id in people else None

@fn.task(policy=authenticated, operate=role("support"), expires_seconds=600)
def pay(card: str, amount: int = 1) -> None:
    if broken[0]:
        raise ValueError("the bank is closed")
    paid.append((fn.current_principal().id, card, amount))

@fn.task(policy=public)
def log_in(name: str, secrets: list[Secret[str]], *, pin: Secret[str]) -> None:
    if broken[0]:
        raise ValueError("not now")
    paid.append((name, [each.get_secret_value() for each in secrets], pin.get_secret_value()))

@fn.task(policy=public)
def note(text: str) -> None:
    if broken[0]:
        raise ValueError("no paper")

@fn.task(policy=public, once=True)
def take(what: str) -> None:
    if broken[0]:
        raise ValueError("the safe is closed")
    paid.append(what)
"""
ADA = Principal(id="ada")


@pytest.fixture
def bank(project, monkeypatch):
    """The module of a project; its FnQueue is for deferring, and commands open the file again."""
    folder = project(bank=BANK)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("FNQUEUE_APP", "bank")
    import bank as module  # the project's

    yield module
    module.fn.close()


@pytest.fixture
def work(bank):
    def run():
        thread = threading.Thread(target=Worker(bank.fn.runtime(), burst=True, concurrency=1).run)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()

    return run


def record(*kinds):
    """What the audit's files say, in order of time, without what is a line's own."""
    lines = [json.loads(line) for path in Path("audit").iterdir() for line in path.read_bytes().splitlines()]
    lines = [line for line in sorted(lines, key=lambda line: (line["at"], line["n"])) if line["what"] in kinds]
    own = ("n", "at", "prev", "key", "mac", "unix_user")
    return [{name: value for name, value in line.items() if name not in own} for line in lines]


def deferred(bank, task, *args, who=ADA):
    with bank.fn.as_principal(who):
        return getattr(bank, task).defer(*args)


def dead_letters(fnqueue):
    return [row["id"] for row in json.loads(fnqueue("dlq", "show", "default", "--json").stdout)]


# ---------------------------------------------------------------- tasks revoke


def test_an_operator_revokes_a_call_a_tree_and_a_person_from_the_command_line(fnqueue, bank, work):
    bank.broken[0] = False
    one, other, third = deferred(bank, "note", "1"), deferred(bank, "note", "2"), deferred(bank, "note", "3")
    done = fnqueue("tasks", "revoke", one.id, "--reason", "sent twice")
    assert (done.exit_code, done.stdout) == (
        0,
        f"revoked: {one.id}, as far as service:operator may stop it\n",
    )
    assert fnqueue("tasks", "revoke", "--root", other.id).exit_code == 0
    work()
    assert [each.state for each in (one, other, third)] == ["REVOKED", "REVOKED", "SUCCESS"]
    last = deferred(bank, "note", "4")
    assert fnqueue("tasks", "revoke", "--principal", "user:ada", "--reason", "stolen phone").exit_code == 0
    work()
    assert last.state == "REVOKED"
    assert [(line["named"], line["value"], line["by"], line["reason"]) for line in record("operator")] == [
        ("id", one.id, "service:operator", "sent twice"),
        ("root", other.id, "service:operator", ""),
        ("principal", "user:ada", "service:operator", "stolen phone"),
    ]


def test_as_a_user_a_command_may_what_the_operate_policy_lets_them(fnqueue, bank, work):
    bank.broken[0] = False
    mine, theirs = deferred(bank, "pay", "4929"), deferred(bank, "pay", "4929")
    assert fnqueue("tasks", "revoke", mine.id, "--as", "eve").exit_code == 0  # an id that is not theirs to see
    assert fnqueue("tasks", "revoke", theirs.id, "--as", "sue").exit_code == 0
    work()
    assert (mine.state, theirs.state) == ("SUCCESS", "REVOKED")
    refused = fnqueue("tasks", "revoke", "--principal", "ada", "--as", "eve")
    assert refused.exit_code == 1
    assert "user 'eve' may not operate on these calls" in refused.stderr
    assert [line["principal"] for line in record("denied")] == ["user:eve"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "give one of: ID, --root ID, --principal WHO"),
        (["0" * 26, "--root", "0" * 26], 2, "give one of"),
        (["nonsense"], 1, "no id of a call"),
        (["--root", "nonsense"], 1, "26 characters"),
        (["--principal", "user:"], 1, "as 'user:7'"),
        (["0" * 26, "--as", "nobody"], 1, "--as nobody: this user is gone or inactive"),
    ],
)
def test_a_revocation_that_says_nothing_clear_is_refused(fnqueue, bank, arguments, code, text):
    done = fnqueue("tasks", "revoke", *arguments)
    assert done.exit_code == code
    assert text in done.stderr


def test_without_a_subcommand_tasks_are_listed_as_before(fnqueue, bank):
    assert "bank.pay" in fnqueue("tasks").stdout
    assert "bank.pay" in fnqueue("tasks", "--app", "bank").stdout


# ---------------------------------------------------------------- the dead-letter queue


@pytest.fixture
def dead(bank, work):
    """Dead letters of `pay` and `note`, by ada. Their ids."""
    handles = [deferred(bank, "pay", "4929-hunter2", 7), deferred(bank, "note", "hunter2")]
    work()
    return [handle.id for handle in handles]


def test_a_policy_keeps_the_operator_from_tasks_that_it_does_not_name_him_for(fnqueue, bank, dead):
    done = fnqueue("dlq", "redrive", "default")
    assert done.stdout == "1 message sent back to default\n"
    assert done.stderr == (
        "1 message left in default__dead: service 'operator' may not operate on their tasks (operate=)\n"
    )
    assert dead_letters(fnqueue) == [dead[0]]
    assert fnqueue("dlq", "redrive", "default", "--as", "sue").stdout == "1 message sent back to default\n"
    assert [(line["action"], line["by"], line["ids"]) for line in record("operator")] == [
        ("redrive", "service:operator", [dead[1]]),
        ("redrive", "user:sue", [dead[0]]),
    ]


def test_a_message_that_is_asked_for_by_id_is_shown_however_many_come_before_it(fnqueue, bank, dead):
    for id in (*dead, *reversed(dead)):
        shown = fnqueue("dlq", "show", "default", "--id", id, "--limit", "1", "--json").stdout
        assert [row["id"] for row in json.loads(shown)] == [id]


def test_discarding_is_under_the_policy_too_and_on_record(fnqueue, bank, dead):
    done = fnqueue("dlq", "discard", "default", "--all", "--yes", "--as", "eve")
    assert done.stdout == "0 messages deleted from default__dead\n"
    assert sorted(dead_letters(fnqueue)) == sorted(dead)
    assert fnqueue("dlq", "discard", "default", "--all", "--yes", "--as", "sue").stdout.startswith("1 message deleted")
    assert [(line["action"], line["ids"]) for line in record("operator")] == [("discard", [dead[0]])]


def test_arguments_are_shown_with_a_reason_to_whom_the_policy_allows_and_that_is_on_record(fnqueue, bank, dead):
    assert fnqueue("dlq", "show", "default", "--arguments").exit_code == 2
    assert "hunter2" not in fnqueue("dlq", "show", "default").output
    shown = fnqueue("dlq", "show", "default", "--arguments", "--as", "sue", "--reason", "ticket 7", "--json")
    rows = {row["id"]: row["arguments"] for row in json.loads(shown.stdout)}
    assert rows == {dead[0]: {"args": ["4929-hunter2", 7], "kwargs": {}}, dead[1]: "(not for you)"}
    assert record("operator") == [
        {
            "what": "operator",
            "action": "show arguments",
            "by": "user:sue",
            "reason": "ticket 7",
            "queue": "default__dead",
            "ids": [dead[0]],
        }
    ]
    assert "hunter2" not in "".join(path.read_text() for path in Path("audit").iterdir())


def test_nobody_is_shown_a_secret_and_a_released_call_has_it_still(fnqueue, bank, work, monkeypatch):
    bank.log_in.defer("ada", [Secret("hunter2")], pin=Secret("4929"))
    work()
    done = fnqueue("dlq", "show", "default", "--arguments", "--reason", "ticket 8", "--json")
    assert json.loads(done.stdout)[0]["arguments"] == {"args": ["ada", ["***"]], "kwargs": {"pin": "***"}}
    later(monkeypatch)
    assert fnqueue("dlq", "release", "default", "--reason", "x").exit_code == 0
    bank.broken[0] = False
    work()
    assert bank.paid == [("ada", ["hunter2"], "4929")]


def test_what_cannot_be_put_on_record_is_neither_shown_nor_sent_nor_deleted(fnqueue, bank, dead):
    for path in Path("audit").iterdir():
        path.unlink()
    Path("audit").rmdir()
    Path("audit").write_text("in the way")
    for command in (
        ["show", "default", "--arguments", "--reason", "x"],
        ["redrive", "default"],
        ["discard", "default", "--all", "--yes"],
    ):
        done = fnqueue("dlq", *command)
        assert done.exit_code == 1, done.output
        assert "the audit in" in done.stderr
        assert "nothing was done" in done.stderr
        assert "hunter2" not in done.output
    assert sorted(dead_letters(fnqueue)) == sorted(dead)


# ---------------------------------------------------------------- release


@pytest.fixture
def expired(bank, dead, monkeypatch):
    """The letters of `dead`, a long time later: no worker would run them as they are."""
    later(monkeypatch)
    return dead


def later(monkeypatch):
    now = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", staticmethod(lambda: now() + 500_000))


def test_an_expired_message_is_released_in_a_new_envelope_for_the_same_user(fnqueue, bank, expired, work):
    assert fnqueue("dlq", "redrive", "default", "--as", "sue").stderr == (
        "2 messages left in default__dead: expired; release or discard them\n"
    )
    assert fnqueue("dlq", "release", "default", "--as", "sue").exit_code == 2  # no reason
    done = fnqueue("dlq", "release", "default", "--as", "sue", "--reason", "the bank is open again")
    old, new = re.findall(r"^(\w{26}) -> (\w{26})$", done.stdout, re.M)[0]
    assert (old, done.exit_code) == (expired[0], 0)
    assert "1 message released to default" in done.stdout
    (message,) = bank.fn.runtime().engine.broker.receive("default", visibility_seconds=0)
    header = peek(message.body)
    assert (header.id, header.root, header.task, header.principal_kind) == (new, old, "bank.pay", "u")
    bank.broken[0] = False
    work()
    assert bank.paid == [("ada", "4929-hunter2", 7)]
    with bank.fn.as_principal(ADA):
        assert bank.fn.handle(new).state == "SUCCESS"
    (line,) = record("operator")
    assert (line["action"], line["by"], line["reason"], line["ids"]) == (
        "release",
        "user:sue",
        "the bank is open again",
        [old],
    )


def test_a_message_whose_release_was_killed_before_the_old_one_was_deleted_runs_once_when_released_again(
    fnqueue, bank, work, monkeypatch
):
    deferred(bank, "take", "gold")
    work()
    later(monkeypatch)
    bank.broken[0] = False
    broker, command = bank.fn.runtime().engine.broker, ("dlq", "release", "default", "--reason", "x")
    (message,) = broker.receive("default__dead", visibility_seconds=0)
    released = []
    for _ in range(2):
        released += re.findall(r"^\w{26} -> (\w{26})$", fnqueue(*command).stdout, re.M)
        broker.send("default__dead", [Entry(id="copy", body=message.body)])  # what such a process leaves
    assert released == [released[0]] * 2
    work()
    assert bank.paid == ["gold"]
    assert fnqueue(*command).stderr == (
        "1 message left in default__dead: have succeeded already, so they are copies: discard them\n"
    )


def test_a_released_call_of_a_user_who_is_gone_does_not_run(fnqueue, bank, expired, work):
    done = fnqueue("dlq", "release", "default", "--as", "sue", "--reason", "x", "--id", expired[0])
    (new,) = re.findall(r"-> (\w{26})$", done.stdout, re.M)
    del bank.people["ada"]
    bank.broken[0] = False
    work()
    assert bank.paid == []
    with bank.fn.as_principal(ADA):
        assert bank.fn.handle(new).state == "DENIED"


def test_revoking_the_old_call_as_a_root_stops_the_released_one(fnqueue, bank, expired, work):
    assert fnqueue("dlq", "release", "default", "--as", "sue", "--reason", "x", "--id", expired[0]).exit_code == 0
    assert fnqueue("tasks", "revoke", "--root", expired[0], "--as", "sue").exit_code == 0
    bank.broken[0] = False
    work()
    assert bank.paid == []


def test_what_is_not_expired_or_not_ours_is_not_released(fnqueue, bank, dead):
    broker = bank.fn.runtime().engine.broker
    letters = broker.receive("default__dead", max_messages=10, visibility_seconds=0)
    body = next(letter.body for letter in letters if dead[1] in letter.body).replace('"ex":1', '"ex":')  # long ago
    broker.send("default__dead", [Entry(id="forged", body=body)])
    done = fnqueue("dlq", "release", "default", "--reason", "x")
    assert done.stdout == "0 messages released to default\n"
    assert set(done.stderr.splitlines()) == {
        "2 messages left in default__dead: not expired: redrive them",
        "1 message left in default__dead: no envelopes of ours, or beyond what their key may do",
    }


def test_a_dead_letter_that_does_not_open_is_named_and_keeps_no_other_from_being_released(
    fnqueue, bank, work, monkeypatch
):
    large, small = deferred(bank, "note", "n" * 2_000_000), deferred(bank, "note", "n")
    work()
    (path,) = (path for path in Path().glob("*.blobs/*/*"))
    path.unlink()
    later(monkeypatch)
    done = fnqueue("dlq", "release", "default", "--reason", "x")
    assert done.exit_code == 0, done.output
    assert re.findall(r"^(\w{26}) -> ", done.stdout, re.M) == [small.id]
    told, left = done.stderr.splitlines()
    assert told.startswith(f"{large.id}: BLOB_MISSING: its large arguments ")
    assert left == "1 message left in default__dead: they do not open here"
    assert [line["ids"] for line in record("operator")] == [[small.id]]


def test_a_strangers_copy_of_a_call_that_succeeded_is_not_released_to_run_again(fnqueue, bank, work, monkeypatch):
    bank.broken[0] = False
    handle = bank.note.using(expires_seconds=60).defer("n")
    broker = bank.fn.runtime().engine.broker
    (message,) = broker.receive("default", visibility_seconds=0)
    work()
    assert handle.state == "SUCCESS"
    broker.send("default__dead", [Entry(id="copy", body=message.body)])
    now = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", staticmethod(lambda: now() + 4_000))
    done = fnqueue("dlq", "release", "default", "--reason", "x")
    assert done.stdout == "0 messages released to default\n"
    assert done.stderr == (
        "1 message left in default__dead: have succeeded already, so they are copies: discard them\n"
    )


# ---------------------------------------------------------------- what else operators do


def test_a_hand_on_a_schedule_and_a_purge_are_on_record(fnqueue, bank):
    bank.fn.schedule("rate(1 hour)", name="hourly", args=("x",))(bank.note)
    bank.fn.schedules.sync()
    for command in (
        ["schedule", "pause", "hourly", "--reason", "the bank is closed"],
        ["schedule", "resume", "hourly"],
        ["schedule", "run-now", "hourly"],
        ["queues", "purge", "default", "--yes", "--reason", "rubbish"],
        ["schedule", "delete", "hourly", "--yes"],
    ):
        done = fnqueue(*command)
        assert done.exit_code == 0, done.output
    assert fnqueue("schedule", "pause", "nowhere").exit_code == 1
    assert [(line["action"], line["reason"], line.get("schedule")) for line in record("operator")] == [
        ("schedule pause", "the bank is closed", "hourly"),
        ("schedule resume", "", "hourly"),
        ("schedule run now", "", "hourly"),
        ("purge", "rubbish", None),
        ("schedule delete", "", "hourly"),
    ]


def test_whoever_changes_the_keys_or_prints_them_is_on_record_and_no_key_is(fnqueue, bank, dead):
    """Before anything is changed: here the file is the application's own."""
    (file,) = Path().glob("*.keys")
    (old,) = json.loads(fnqueue("keys", "list", "--json").stdout)
    fnqueue("keys", "new", "--suite", "split", "--file", "team")
    printed = fnqueue("keys", "split-public", "--file", "team", "--role", "web", "--reason", "a new web node").stdout
    assert fnqueue("keys", "new", "--file", str(file), "--reason", "yearly").exit_code == 0
    new = json.loads(fnqueue("keys", "list", "--json").stdout)[1]["key_id"]
    assert fnqueue("keys", "promote", new, "--reason", "yearly").exit_code == 0
    assert fnqueue("keys", "rotate", "--wait-seconds", "0").exit_code == 0
    assert fnqueue("keys", "revoke", old["key_id"], "--yes", "--reason", "a stolen laptop").exit_code == 0
    told = [line for line in record("operator") if line["action"].startswith("keys")]
    assert [(line["action"], line["reason"], line["by"]) for line in told] == [
        ("keys split-public", "a new web node", "service:operator"),
        ("keys new", "yearly", "service:operator"),
        ("keys promote", "yearly", "service:operator"),
        ("keys rotate", "", "service:operator"),
        ("keys revoke", "a stolen laptop", "service:operator"),
    ]
    assert (told[2]["id"], told[3]["old"], told[4]["id"]) == (new, new, old["key_id"])
    parts = [part for part in re.split(r"[:,\s]+", printed + file.read_text()) if part.startswith("fnqk")]
    assert len(parts) >= 4
    assert not any(part in path.read_text() for part in parts for path in Path("audit").iterdir())


def test_keys_are_not_changed_where_that_cannot_be_put_on_record(fnqueue, bank, dead, monkeypatch):
    (file,) = Path().glob("*.keys")
    before = file.read_bytes()
    Path("no-folder").write_text("a file")
    monkeypatch.setenv("FNQUEUE_AUDIT_DIR", "no-folder")
    monkeypatch.delenv("FNQUEUE_APP")
    monkeypatch.setenv("FNQUEUE_URL", "sqlite:///q.db")
    done = fnqueue("keys", "rotate", "--file", str(file), "--wait-seconds", "0")
    assert done.exit_code == 1
    assert "no-folder" in done.stderr
    assert file.read_bytes() == before


def test_a_stolen_key_is_revoked_although_the_application_cannot_be_imported(fnqueue, bank, dead, monkeypatch):
    """On record where the environment says where; else it is told that it is not."""
    (file,) = Path().glob("*.keys")
    fnqueue("keys", "new", "--file", str(file))
    old, new = (row["key_id"] for row in json.loads(fnqueue("keys", "list", "--json").stdout))
    Path("broken.py").write_text("import nothing_that_is_there")
    monkeypatch.setenv("FNQUEUE_APP", "broken")
    lines = len(record("operator"))
    done = fnqueue("keys", "promote", new, "--file", str(file))
    assert done.exit_code == 0
    assert "not on record" in done.stderr
    assert "nothing_that_is_there" in done.stderr
    assert len(record("operator")) == lines
    monkeypatch.setenv("FNQUEUE_AUDIT_DIR", "audit")
    assert fnqueue("keys", "revoke", old, "--yes", "--file", str(file)).exit_code == 4  # nobody says which queue's
    monkeypatch.setenv("FNQUEUE_URL", f"sqlite:///{bank.fn.runtime().settings.url.rpartition('/')[2]}")
    assert fnqueue("keys", "revoke", old, "--yes", "--file", str(file)).exit_code == 0
    assert [line["action"] for line in record("operator")][lines:] == ["keys revoke"]
    states = [row["state"] for row in json.loads(fnqueue("keys", "list", "--json", "--file", str(file)).stdout)]
    assert sorted(states) == ["primary", "revoked"]


@pytest.mark.parametrize("command", [["promote"], ["revoke", "--yes"], ["show"]])
def test_a_key_that_is_given_where_its_id_is_asked_for_gets_into_no_record_and_no_message(fnqueue, bank, dead, command):
    """Nor is put on record what was not done."""
    (file,) = Path().glob("*.keys")
    (key,) = [part for part in re.split(r"[:,\s]+", file.read_text()) if part.startswith("fnqk")]
    lines = len(record("operator"))
    for wrong in (key, "aaaaaaaa"):
        done = fnqueue("keys", *command, wrong)
        assert done.exit_code == 1
        assert "there is no" in done.stderr
        assert key not in done.output
    assert len(record("operator")) == lines
    assert not any(key in path.read_text() for path in Path("audit").iterdir())


def test_keys_of_a_file_are_changed_where_there_is_neither_an_application_nor_an_audit(fnqueue, project):
    project()
    assert fnqueue("keys", "new", "--file", "k").exit_code == 0
    assert fnqueue("keys", "rotate", "--file", "k", "--wait-seconds", "0").exit_code == 0


# ---------------------------------------------------------------- the audit's own commands


def test_the_audit_is_verified_and_shown_from_the_command_line(fnqueue, bank, dead):
    bank.fn.close()
    # A process of its own, which ends, and lets the store know its last line.
    done = run(
        "fnqueue", "dlq", "redrive", "default", "--reason", "ticket 9", cwd=Path.cwd(), env={"FNQUEUE_APP": "bank"}
    )
    assert done.returncode == 0, done.stderr
    done = fnqueue("audit", "verify")
    assert done.exit_code == 0, done.output
    assert re.search(r"^ok: \d+ lines in \d+ chains?$", done.stdout, re.M)
    tail = fnqueue("audit", "tail").stdout.splitlines()
    assert "operator action=redrive by=service:operator" in next(line for line in tail if "redrive" in line)
    last = json.loads(fnqueue("audit", "tail", "-n", "1", "--json").stdout)
    assert len(last) == 1


def test_an_edited_audit_is_exit_code_1_with_the_file_and_the_line(fnqueue, bank, dead):
    fnqueue("dlq", "redrive", "default", "--reason", "ticket 9")
    path = next(path for path in Path("audit").iterdir() if "ticket 9" in path.read_text())
    path.write_text(path.read_text().replace("ticket 9", "ticket 8"))
    done = fnqueue("audit", "verify")
    assert done.exit_code == 1
    assert re.search(rf"^FAULT: {re.escape(path.name)} line \d: its MAC is false", done.stdout, re.M)
    found = json.loads(fnqueue("audit", "verify", "--json").stdout)
    assert (found["ok"], len(found["faults"])) == (False, 1)


def test_looking_at_the_audit_writes_nothing_to_it(fnqueue, bank, dead):
    bank.fn.close()
    before = {path.name: path.stat().st_size for path in Path("audit").iterdir()}
    fnqueue("audit", "verify")
    fnqueue("audit", "tail")
    assert {path.name: path.stat().st_size for path in Path("audit").iterdir()} == before


def test_without_a_folder_there_is_no_audit_to_look_at(fnqueue, shop):
    for command in ("verify", "tail"):
        done = fnqueue("audit", command, "--app", "shop")
        assert (done.exit_code, done.stderr) == (
            1,
            "fnqueue: there is no audit: FNQUEUE_AUDIT_DIR is not set; or name its folder\n",
        )
    assert fnqueue("audit", "verify", "nowhere", "--app", "shop").exit_code == 1
