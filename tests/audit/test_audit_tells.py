"""What the audit of an application is told: who was denied what, what was refused, keys, services, operators. And what
it never holds."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from fnqueue import FnQueue, PolicyDenied, Principal
from fnqueue.audit.verifying import verify
from fnqueue.broker.base import Entry
from fnqueue.clock import to_datetime
from fnqueue.policies import authenticated, public, role
from fnqueue.security import keyfile
from fnqueue.security.keyring import new_key
from fnqueue.testing import in_memory
from tests.worker.helpers import burst

ADA, SUE = Principal(id="ada"), Principal(id="sue", roles=frozenset({"support"}))


@pytest.fixture
def fn(tmp_path: Path):
    made = FnQueue(url=f"sqlite:///{tmp_path}/q.db", durability="relaxed", audit_dir=f"{tmp_path}/audit")
    yield made
    made.close()


def told(fn: FnQueue, *kinds: str) -> list[dict[str, Any]]:
    """All lines of all files; the audit is whole."""
    runtime = fn.runtime()
    runtime.audit.link()
    folder = str(runtime.settings.audit_dir)
    links = runtime.audit_links()
    assert links is not None
    report = verify(folder, links.all(), runtime.sealing.audit_holds, now=to_datetime(runtime.clock.now()))
    assert report.faults == []
    found = [json.loads(line) for path in sorted(Path(folder).iterdir()) for line in path.read_bytes().splitlines()]
    own = ("n", "at", "prev", "key", "mac")
    return [{name: line[name] for name in line if name not in own} for line in found if line["what"] in kinds]


def test_a_denied_call_is_on_record_with_who_and_why_and_without_its_arguments(fn):
    @fn.task(name="pay", policy=role("clerk"))
    def pay(card: str) -> None: ...

    with fn.as_principal(ADA), pytest.raises(PolicyDenied):
        pay.defer("4929-hunter2")
    assert told(fn, "denied") == [
        {"what": "denied", "task": "pay", "principal": "user:ada", "reason": "needs role 'clerk'; user 'ada' has none"}
    ]
    assert "hunter2" not in "".join(path.read_text() for path in Path(fn.runtime().settings.audit_dir).iterdir())


def test_a_hostile_message_is_on_record_with_its_sha_256_and_without_its_body(fn):
    @fn.task(name="pay", policy=public)
    def pay(card: str) -> None: ...

    runtime = fn.runtime()
    runtime.engine.broker.send("default", [Entry(id="x", body="rubbish-hunter2")])
    burst(fn)
    (line,) = told(fn, "refused")
    assert (line["code"], line["fate"], line["queue"]) == ("MALFORMED", "dead-lettered", "default")
    assert len(line["body_sha256"]) == 64
    assert "hunter2" not in json.dumps(line)


def test_a_call_that_is_denied_revoked_or_does_not_fit_is_on_record_and_its_arguments_are_not(fn):
    people = {"ada": ADA}
    fn.load_principal(people.get)

    @fn.task(name="guarded", policy=authenticated)
    def guarded(card: str) -> None: ...

    @fn.task(name="other", policy=public)
    def other(card: str) -> None: ...

    with fn.as_principal(ADA):
        guarded.defer("hunter2")
    other.defer("hunter2").cancel()
    other.defer("hunter2")
    people.clear()
    fn.registry._tasks.pop("other")

    @fn.task(name="other", policy=public)
    def other_again(card: int) -> None: ...

    burst(fn)
    lines = told(fn, "refused")
    assert sorted(line["code"] for line in lines) == ["DECODE", "DENIED", "REVOKED"]
    assert "hunter2" not in json.dumps(lines)
    assert next(line for line in lines if line["code"] == "DENIED")["reason"] == "the user is gone or inactive"


def test_a_message_that_comes_early_or_again_is_no_refusal(fn):
    @fn.task(name="note", policy=public, once=True)
    def note() -> None: ...

    note.defer()
    runtime = fn.runtime()
    (message,) = runtime.engine.broker.receive("default", max_messages=1, visibility_seconds=0)
    runtime.engine.broker.send("default", [Entry(id="copy", body=message.body)])
    burst(fn)
    assert told(fn, "refused") == []


def test_a_task_that_runs_as_a_service_is_on_record_with_for_whom(fn):
    @fn.task(name="export", policy=public, runs_as="exporter")
    def export() -> None: ...

    with fn.as_principal(ADA):
        handle = export.defer()
    burst(fn)
    assert told(fn, "runs_as") == [
        {"what": "runs_as", "task": "export", "id": handle.id, "principal": "user:ada", "service": "exporter"}
    ]


def test_keys_are_on_record_when_they_are_loaded_and_when_others_are_read(tmp_path, clock):
    path = tmp_path / "keys"
    keyfile.load_or_create(path)
    fn = FnQueue(
        url=f"sqlite:///{tmp_path}/q.db", keys_file=str(path), durability="relaxed", audit_dir=f"{tmp_path}/audit"
    )
    runtime = fn.runtime()
    runtime.clock = clock
    first = runtime.ring().primary.key_id
    runtime.ring()
    text = path.read_text().split()[-1].rpartition(":")[2]
    key = new_key()
    keyfile.update(path, lambda old: keyfile.add(old, key, "accept"))
    clock.advance(seconds=5)
    other = runtime.ring().records[-1].key_id
    assert told(fn, "keys") == [
        {"what": "keys", "again": False, "keys": [f"primary {first}"]},
        {"what": "keys", "again": True, "keys": [f"primary {first}", f"accept {other}"]},
    ]
    assert text[12:] not in "".join(each.read_text() for each in Path(f"{tmp_path}/audit").iterdir())
    fn.close()


def test_a_message_of_a_revoked_key_is_on_record(tmp_path, clock):
    old, new = new_key(), new_key()
    settings = {"url": f"sqlite:///{tmp_path}/q.db", "durability": "relaxed", "audit_dir": f"{tmp_path}/audit"}
    before = FnQueue(keys=old, **settings)
    before.task(name="note", policy=public)(lambda: None).defer()
    before.close()
    after = FnQueue(keys=f"primary:{new} revoked:{old}", **settings)
    after.task(name="note", policy=public)(lambda: None)
    burst(after)
    (line,) = told(after, "refused")
    assert (line["code"], line["fate"]) == ("REVOKED_KEY", "dead-lettered")
    assert "is revoked" in line["reason"]
    after.close()


def test_whoever_revokes_is_on_record_with_the_reason_and_so_is_whoever_may_not(fn):
    @fn.task(name="pay", policy=public, operate=role("support"))
    def pay() -> None: ...

    with fn.as_principal(ADA):
        handle = pay.defer()
    with fn.as_principal(SUE):
        fn.revoke(principal=ADA, reason="her phone was stolen")
    with fn.as_principal(ADA), pytest.raises(PolicyDenied):
        fn.revoke(principal=SUE)
    burst(fn)
    with fn.as_principal(Principal(id="eve")):
        fn.handle(handle.id).cancel()  # looks to her as if there were no such call
    assert told(fn, "operator", "denied") == [
        {
            "what": "operator",
            "action": "revoke",
            "by": "user:sue",
            "named": "principal",
            "value": "user:ada",
            "reason": "her phone was stolen",
        },
        {
            "what": "denied",
            "action": "operate",
            "task": "",
            "principal": "user:ada",
            "reason": "no task's operate= policy allows it for user:sue",
        },
        {
            "what": "denied",
            "action": "operate",
            "task": "pay",
            "principal": "user:eve",
            "reason": "needs role 'support'; user 'eve' has none",
        },
    ]


def test_a_process_whose_first_line_has_its_keys_read_writes_one_chain_and_no_doubt(fn):
    """As every command of an operator does: the line asks for the key, and the keys are told of."""
    with fn.as_service("operator"):
        fn.revoke(principal="user:ada", reason="her phone was stolen")
    runtime = fn.runtime()
    runtime.audit.close()
    report = verify(
        str(runtime.settings.audit_dir),
        runtime.audit_links().all(),
        runtime.sealing.audit_holds,
        now=to_datetime(runtime.clock.now()),
    )
    assert (report.chains, report.faults, report.doubts) == (1, [], [])
    assert [line["what"] for line in told(fn, "begin", "operator", "keys")] == ["begin", "operator", "keys"]


def test_without_a_folder_the_logger_has_all_of_it(tmp_path, caplog):
    caplog.set_level(logging.INFO, "fnqueue.audit")
    fn = FnQueue(url=f"sqlite:///{tmp_path}/q.db")

    @fn.task(name="pay", policy=role("clerk"), runs_as="bank")
    def pay() -> None: ...

    with fn.as_principal(ADA), pytest.raises(PolicyDenied):
        pay.defer()
    with fn.as_principal(Principal(id="carl", roles={"clerk"})):
        handle = pay.defer()
    burst(fn)
    with fn.as_service("operator"):
        fn.revoke(handle.id, reason="a try")
    assert [record.getMessage() for record in caplog.records if record.name == "fnqueue.audit"] == [
        "DENIED pay needs role 'clerk'; user 'ada' has none",
        f"RUNS AS bank: pay {handle.id} for user:carl",
        f"OPERATOR service:operator revokes id {handle.id}: a try",
    ]
    assert not (tmp_path / "audit").exists()
    fn.close()


def test_an_ordinary_call_writes_nothing_to_the_audit(fn):
    @fn.task(name="add", policy=public)
    def add(a: int) -> int:
        return a

    handle = add.defer(1)
    burst(fn)
    assert handle.result() == 1
    assert [line["what"] for line in told(fn, "begin", "denied", "refused", "runs_as", "operator", "keys")] == [
        "begin",
        "keys",
    ]


def test_tests_in_memory_write_no_file(fn, tmp_path):
    @fn.task(name="pay", policy=role("clerk"))
    def pay() -> None: ...

    with in_memory(fn), fn.as_principal(ADA), pytest.raises(PolicyDenied):
        pay.defer()
    assert not (tmp_path / "audit").exists()


def test_a_stranger_cannot_forge_a_line_of_the_log(fn, caplog):
    @fn.task(name="pay", policy=public, operate=role("support"))
    def pay() -> None: ...

    with fn.as_principal(SUE):
        fn.revoke(principal=ADA, reason="x\nOPERATOR root revokes nothing\x1b[2J")
    said = [record.getMessage() for record in caplog.records if record.name == "fnqueue.audit"]
    assert all("\n" not in text and "\x1b" not in text for text in said)
