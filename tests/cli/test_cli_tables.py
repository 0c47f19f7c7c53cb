"""What operators see and change: tasks, calls of late, queues, dead letters, keys."""

from __future__ import annotations

import json
import re
import sys

import pytest

from fnqueue.security.keyring import new_key
from fnqueue.worker.worker import Worker

KEY = re.compile(r"fnqk1-root-[a-z2-7]{56}")


@pytest.fixture
def fn(shop, monkeypatch):
    """The FnQueue of the project, for deferring; commands open the file again."""
    monkeypatch.syspath_prepend(str(shop))
    import shop as module  # the project's

    yield module.fn
    module.fn.close()


@pytest.fixture
def work(fn):
    def run():
        import threading

        thread = threading.Thread(target=Worker(fn.runtime(), burst=True, concurrency=1).run)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()

    return run


@pytest.fixture
def dead(fn, work):
    """Two dead letters in `default`, of `fail` and of `give_up`. Their ids."""
    tasks = sys.modules["shop"]
    handles = [tasks.fail.defer("hunter2"), tasks.give_up.defer("hunter2")]
    work()
    return [handle.id for handle in handles]


# ---------------------------------------------------------------- tasks


def test_tasks_are_listed_with_queue_policy_and_retry(fnqueue, shop):
    done = fnqueue("tasks", "--app", "shop")
    assert done.exit_code == 0, done.output
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    assert lines[0] == ["TASK", "QUEUE", "POLICY", "RETRY", "WHERE"]
    assert ["shop.pay", "billing", "role('editor')", "-", "shop.py:12"] in lines
    assert ["shop.resize", "default", "public", "3, from 2.0 s", "shop.py:8"] in lines


def test_tasks_as_json(fnqueue, shop):
    rows = json.loads(fnqueue("--app", "shop", "tasks", "--json").stdout)
    assert [row["task"] for row in rows] == ["shop.fail", "shop.give_up", "shop.pay", "shop.resize", "shop.sleep"]
    assert rows[3]["retry"] == {"attempts": 3, "first_seconds": 2, "max_seconds": 900}
    assert rows[0]["retry"] is None


def test_a_task_without_a_policy_is_open_until_the_settings_say_otherwise(fnqueue, project, monkeypatch):
    project(shop="from fnqueue import FnQueue\nfn = FnQueue(url='sqlite://')\n@fn.task\ndef pay() -> None: ...")
    assert json.loads(fnqueue("tasks", "--app", "shop", "--json").stdout)[0]["policy"] == "open"
    monkeypatch.setenv("FNQUEUE_DEFAULT_POLICY", "authenticated")
    sys.modules["shop"].fn.close()
    assert json.loads(fnqueue("tasks", "--app", "shop", "--json").stdout)[0]["policy"] == "authenticated"


def test_recent_calls_are_listed_newest_first_and_without_arguments(fnqueue, fn, work):
    tasks = sys.modules["shop"]
    with fn.as_service("import"):
        first = tasks.resize.defer(7, width=9)
        work()
        second = tasks.fail.defer("hunter2")
        work()
    rows = json.loads(fnqueue("tasks", "--app", "shop", "--recent", "50", "--json").stdout)
    assert [row["id"] for row in rows] == [second.id, first.id]
    assert [row["state"] for row in rows] == ["FAILURE", "SUCCESS"]
    assert (rows[0]["error"], rows[0]["principal"], rows[0]["attempts"]) == ("ValueError", "service:import", 1)
    assert rows[1]["wait_seconds"] >= 0
    assert rows[1]["duration_seconds"] >= 0
    table = fnqueue("tasks", "--app", "shop", "--recent", "1").stdout
    assert "shop.fail" in table
    assert "shop.resize" not in table
    assert "hunter2" not in table + json.dumps(rows)


def test_without_a_store_there_is_nothing_recent(fnqueue, shop, monkeypatch):
    monkeypatch.setenv("FNQUEUE_STORE_URL", "none")
    done = fnqueue("tasks", "--app", "shop", "--recent", "5")
    assert done.exit_code == 1
    assert done.stderr.startswith("fnqueue: a list of recent calls needs a store: set FNQUEUE_STORE_URL")


# ---------------------------------------------------------------- queues


def test_queues_are_created_with_their_dead_letter_queues(fnqueue, shop):
    made = fnqueue("queues", "create", "--app", "shop")
    assert made.stdout.splitlines() == [
        "billing: billing__high, billing, billing__low, billing__dead",
        "default: default__high, default, default__low, default__dead",
    ]
    rows = {row["queue"]: row for row in json.loads(fnqueue("queues", "list", "--app", "shop", "--json").stdout)}
    assert rows["billing"]["retention_seconds"] == 1_209_600
    assert (rows["billing"]["dead_letter_queue"], rows["billing"]["max_receive_count"]) == ("billing__dead", 1000)
    assert rows["billing__dead"]["dead_letter_queue"] is None


def test_a_fifo_queue_is_created_by_its_name(fnqueue, shop):
    made = fnqueue("queues", "create", "orders.fifo", "--app", "shop")
    assert made.stdout == "orders.fifo: orders__high.fifo, orders.fifo, orders__low.fifo, orders__dead.fifo\n"


def test_a_name_that_no_engine_takes_is_refused(fnqueue, shop):
    done = fnqueue("queues", "create", "two words", "--app", "shop")
    assert done.exit_code == 1
    assert done.stderr.startswith("fnqueue: queue 'two words': 1 to 60 letters")


def test_queues_are_listed_with_their_counts(fnqueue, fn):
    for n in range(3):
        sys.modules["shop"].resize.defer(n)
    sys.modules["shop"].resize.using(delay_seconds=60).defer(1)
    lines = fnqueue("queues", "list", "--app", "shop").stdout.splitlines()
    assert lines[0].split() == ["QUEUE", "VISIBLE", "IN", "FLIGHT", "DELAYED", "OLDEST", "DEAD", "LETTERS", "GO", "TO"]
    assert re.match(r"default +3 +0 +1 .*default__dead$", lines[1])


def test_purge_shows_the_count_and_needs_yes_where_nobody_can_be_asked(fnqueue, fn):
    sys.modules["shop"].resize.defer(1)
    asked = fnqueue("queues", "purge", "default", "--app", "shop")
    assert asked.exit_code == 2
    assert "1 message in default would be deleted. Nobody can be asked here: give --yes." in asked.stderr
    done = fnqueue("queues", "purge", "default", "--yes", "--app", "shop")
    assert (done.exit_code, done.stdout) == (0, "1 message deleted from default\n")
    assert "0 messages deleted" in fnqueue("queues", "purge", "default", "--yes", "--app", "shop").stdout


@pytest.mark.parametrize(("typed", "code", "left"), [("default\n", 0, 0), ("billing\n", 1, 1), ("\n", 1, 1)])
def test_purge_on_a_terminal_asks_for_the_name(fnqueue, fn, monkeypatch, typed, code, left):
    monkeypatch.setattr("fnqueue.cli.screen.is_asked", lambda: True)
    sys.modules["shop"].resize.defer(1)
    assert fnqueue("queues", "purge", "default", "--app", "shop", given=typed).exit_code == code
    assert fn.runtime().engine.broker.attributes("default").visible == left


def test_a_queue_that_is_not_there_cannot_be_purged(fnqueue, shop):
    done = fnqueue("queues", "purge", "nowhere", "--yes", "--app", "shop")
    assert done.exit_code == 1
    assert "queue 'nowhere' does not exist" in done.stderr


def test_a_queue_that_cannot_be_reached_is_exit_code_3(fnqueue, shop, monkeypatch):
    monkeypatch.setenv("FNQUEUE_URL", "sqs://us-east-1/?endpoint=http://127.0.0.1:9")
    monkeypatch.setenv("FNQUEUE_KEYS", new_key())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    done = fnqueue("queues", "list", "--app", "shop")
    assert (done.exit_code, len(done.stderr.splitlines())) == (3, 1)
    assert done.stderr.startswith("fnqueue: ")


# ---------------------------------------------------------------- dead letters


def test_dead_letters_are_shown_with_their_reason_and_without_arguments(fnqueue, dead):
    rows = json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout)
    assert {row["id"]: (row["task"], row["reason"]) for row in rows} == {
        dead[0]: ("shop.fail", "FAILED"),
        dead[1]: ("shop.give_up", "DEAD_LETTER"),
    }
    assert {row["principal_kind"] for row in rows} == {"anonymous"}
    table = fnqueue("dlq", "show", "default__dead", "--app", "shop").stdout
    assert dead[0] in table
    assert "hunter2" not in table + json.dumps(rows)


def test_looking_takes_nothing_away(fnqueue, dead):
    for _ in range(3):
        assert len(json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout)) == 2
    rows = json.loads(fnqueue("dlq", "list", "--app", "shop", "--json").stdout)
    assert {row["queue"]: row["messages"] for row in rows}["default"] == 2


def test_what_is_no_envelope_is_shown_too_and_cannot_steer_a_terminal(fnqueue, fn):
    from fnqueue.broker.base import Entry

    broker = fn.runtime().engine.broker
    broker.send("default__dead", [Entry(id="x", body="rubbish", attributes={"reason": "\x9b31mMALFORMED\nx"})])
    shown = fnqueue("dlq", "show", "default", "--app", "shop").stdout
    assert "\\x9b31mMALFORMED\\nx" in shown
    assert "\x9b" not in shown


def test_what_is_sent_back_runs_again_also_when_it_is_once(fnqueue, dead, fn, work):
    done = fnqueue("dlq", "redrive", "default", "--app", "shop")
    assert (done.exit_code, done.stdout) == (0, "2 messages sent back to default\n")
    ran = []
    for name in ("shop.fail", "shop.give_up"):
        fn.registry.find(name).function = lambda secret, name=name: ran.append((name, secret))
    work()
    assert sorted(ran) == [("shop.fail", "hunter2"), ("shop.give_up", "hunter2")]
    assert {fn.handle(id).state for id in dead} == {"SUCCESS"}
    assert json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout) == []


@pytest.mark.parametrize("edited", [False, True])
def test_sending_back_a_strangers_copy_makes_no_once_call_run_again(fnqueue, fn, work, edited):
    from fnqueue.broker.base import Entry

    ran = []
    task = fn.registry.find("shop.give_up")
    task.function = ran.append
    handle = task.defer("hunter2")
    broker = fn.runtime().engine.broker
    (message,) = broker.receive("default", visibility_seconds=0)
    body = message.body[:-1] + ("A" if message.body[-1] != "A" else "E") if edited else message.body
    work()
    assert handle.state == "SUCCESS"
    broker.send("default__dead", [Entry(id="x", body=body), Entry(id="y", body=message.body)])
    fnqueue("dlq", "redrive", "default", "--app", "shop")
    work()
    assert ran == ["hunter2"]
    assert handle.state == "SUCCESS"


def test_one_message_is_sent_back_by_its_id(fnqueue, dead):
    done = fnqueue("dlq", "redrive", "default", "--id", dead[1], "--app", "shop")
    assert done.stdout == "1 message sent back to default\n"
    left = json.loads(fnqueue("dlq", "show", "default", "--app", "shop", "--json").stdout)
    assert [row["id"] for row in left] == [dead[0]]


def test_expired_messages_are_not_sent_back(fnqueue, fn, work):
    from fnqueue.broker.base import Entry
    from fnqueue.security.envelope import seal

    runtime = fn.runtime()
    body = seal(
        keyring=runtime.ring(),
        environment="default",
        queue="default",
        id="0" * 26,
        task="shop.fail",
        created_at=1_000,
        not_before=None,
        expires_at=2_000,
        principal_kind="anonymous",
        traceparent=None,
        sealed={"args": [], "kwargs": {}, "p": {"i": "anonymous", "k": "a"}},
    )
    runtime.engine.broker.send("default__dead", [Entry(id="x", body=body)])
    done = fnqueue("dlq", "redrive", "default", "--app", "shop")
    assert done.stdout == "0 messages sent back to default\n"
    assert done.stderr == "1 message left in default__dead: expired; release or discard them\n"


def test_a_source_that_a_stranger_wrote_moves_no_message_elsewhere(fnqueue, fn):
    from fnqueue.broker.base import Entry

    broker = fn.runtime().engine.broker
    broker.send("default__dead", [Entry(id="x", body="rubbish", attributes={"source": "billing"})])
    fnqueue("dlq", "redrive", "default", "--app", "shop")
    assert broker.attributes("default").visible == 1
    assert "billing" not in broker.queues()


def test_messages_are_discarded_by_id_or_all_of_them(fnqueue, dead):
    assert fnqueue("dlq", "discard", "default", "--app", "shop").exit_code == 2
    assert fnqueue("dlq", "discard", "default", "--all", "--app", "shop").exit_code == 2  # nobody can be asked
    one = fnqueue("dlq", "discard", "default", "--id", dead[0], "--yes", "--app", "shop")
    assert (one.exit_code, one.stdout) == (0, "1 message deleted from default__dead\n")
    rest = fnqueue("dlq", "discard", "default", "--all", "--yes", "--app", "shop")
    assert rest.stdout == "1 message deleted from default__dead\n"


# ---------------------------------------------------------------- keys


def test_a_key_rotates_in_a_file_and_is_never_shown(fnqueue, project):
    folder = project()
    made = fnqueue("keys", "new", "--file", "k")
    assert made.exit_code == 0, made.output
    (first,) = re.findall(r"the key ([a-z2-7]{8}), which is primary", made.stdout)
    added = fnqueue("keys", "new", "--file", "k")
    (second,) = re.findall(r"added the key ([a-z2-7]{8}) to k", added.stdout)
    assert f"fnqueue keys promote {second} --file k" in added.stderr
    assert states(fnqueue) == {first: "primary", second: "accept"}
    assert fnqueue("keys", "promote", second, "--file", "k").stdout == f"{second} is primary in k\n"
    assert states(fnqueue) == {first: "accept", second: "primary"}
    assert fnqueue("keys", "revoke", first, "--file", "k").exit_code == 2  # nobody can be asked
    assert fnqueue("keys", "revoke", first, "--yes", "--file", "k").exit_code == 0
    assert states(fnqueue) == {first: "revoked", second: "primary"}
    check = fnqueue("keys", "check", "--file", "k")
    assert (check.exit_code, check.stdout) == (0, f"ok: k has the primary key {second}, {first} revoked\n")
    assert (folder / "k").stat().st_mode & 0o777 == 0o600
    shown = [made, added, check, fnqueue("keys", "list", "--file", "k")]
    assert KEY.findall("".join(each.output for each in shown)) == []


def states(fnqueue):
    return {row["key_id"]: row["state"] for row in json.loads(fnqueue("keys", "list", "-f", "k", "--json").stdout)}


def test_the_primary_key_is_not_revoked(fnqueue, project):
    project()
    fnqueue("keys", "new", "--file", "k")
    (only,) = states(fnqueue)
    done = fnqueue("keys", "revoke", only, "--yes", "--file", "k")
    assert done.exit_code == 1
    assert done.stderr == f"fnqueue: key {only} is primary; promote another before you revoke it\n"


def test_a_new_key_without_a_file_is_printed_alone(fnqueue, project):
    project()
    done = fnqueue("keys", "new")
    assert KEY.fullmatch(done.stdout.strip())
    assert KEY.search(done.stderr) is None


def test_keys_of_the_environment_are_listed_and_changed_by_printing_the_new_text(fnqueue, project, monkeypatch):
    project()
    old, new = new_key(), new_key()
    monkeypatch.setenv("FNQUEUE_KEYS", f"{old},{new}")
    rows = json.loads(fnqueue("keys", "list", "--json").stdout)
    assert [row["state"] for row in rows] == ["primary", "accept"]
    done = fnqueue("keys", "promote", rows[1]["key_id"])
    assert done.stdout == f"accept:{old},primary:{new}\n"
    assert old not in done.stderr
    assert "it is secret" in done.stderr


def test_the_applications_own_key_file_is_found(fnqueue, fn):
    key = fn.runtime().ring().primary.key_id
    assert (
        fnqueue("keys", "check", "--app", "shop").stdout == f"ok: {fn.runtime().keys.path} has the primary key {key}\n"
    )


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("fnqk1-root-abcdefg", "FNQUEUE_KEYS, key 1: it has 7 characters after fnqk1-root-, and must have 56"),
        ("hunter2", "FNQUEUE_KEYS, key 1: it does not begin with fnqk1-root-"),
    ],
)
def test_faults_of_keys_are_named_and_exit_1(fnqueue, project, monkeypatch, secret, said):
    project()
    monkeypatch.setenv("FNQUEUE_KEYS", secret)
    done = fnqueue("keys", "check")
    assert done.exit_code == 1
    assert said in done.stderr
    assert secret not in done.output


# ---------------------------------------------------------------- the frame


def test_help_lists_the_commands_without_loading_them(fnqueue, project):
    done = fnqueue("--help")
    assert done.exit_code == 0
    for name in ("worker", "tasks", "queues", "dlq", "keys", "healthcheck"):
        assert re.search(rf"^  {name} ", done.stdout, re.M)
    assert "Exit codes: 0 ok, 1 error, 2 usage" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("tasks", "--no-such"), ("dlq", "show"), ("tasks", "--recent", "0")]
)
def test_a_wrong_command_line_is_exit_code_2(fnqueue, project, arguments):
    project()
    assert fnqueue(*arguments).exit_code == 2
