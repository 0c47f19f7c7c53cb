"""Key files: made once by whoever is first, readable by their owner only, changed whole, followed while running."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fnqueue.clock import ManualClock
from fnqueue.errors import EnvelopeError, KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.security import keyfile
from fnqueue.security.keyring import KeyRing, make_record, new_key, parse_key
from fnqueue.security.keys import FileKeys, key_source, memory_source


def id_of(key: str) -> str:
    return make_record(parse_key(key)).key_id


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def states(text: str) -> dict[str, str]:
    return {record.key_id: record.state for record in KeyRing.from_text(text)}


# ------------------------------------------------------------------ making


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "fnqueue.keys"
    before = os.umask(0)
    try:
        ring = keyfile.load_or_create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keyfile.load_or_create(path).primary.key_id == ring.primary.key_id
    assert os.listdir(tmp_path) == ["fnqueue.keys"]


def test_making_a_key_is_told_in_one_line_without_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fnqueue.keys"):
        keyfile.load_or_create(tmp_path / "fnqueue.keys")
        keyfile.load_or_create(tmp_path / "fnqueue.keys")
    assert [record.getMessage() for record in caplog.records] == [f"made a new key in {tmp_path / 'fnqueue.keys'}"]


MAKER = """
import sys, time
from fnqueue.security.keyfile import load_or_create
time.sleep(max(0, float(sys.argv[2]) - time.monotonic()))
print(load_or_create(sys.argv[1]).primary.key_id)
"""


def test_processes_that_make_the_file_at_once_all_have_the_same_key(tmp_path: Path) -> None:
    for number in range(2):
        path = tmp_path / f"{number}.keys"
        start = str(time.monotonic() + 1.5)  # CLOCK_MONOTONIC is one for all processes of a machine
        processes = [
            subprocess.Popen([sys.executable, "-c", MAKER, str(path), start], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        answers = [process.communicate(timeout=60)[0].strip() for process in processes]
        assert len(set(answers)) == 1
        assert answers[0] == keyfile.load(path).primary.key_id
    assert sorted(os.listdir(tmp_path)) == ["0.keys", "1.keys"]


def test_the_one_who_comes_second_takes_the_key_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race, for certain: the file appears between the look and the making."""
    path, first = tmp_path / "fnqueue.keys", new_key()
    really_link = os.link

    def link(source: Any, target: Any) -> None:
        write(path, f"primary:{first}")
        really_link(source, target)

    monkeypatch.setattr(os, "link", link)
    assert keyfile.load_or_create(path).primary.key_id == id_of(first)
    assert os.listdir(tmp_path) == ["fnqueue.keys"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid, match=r"cannot be made: there is no folder .*missing; make it"):
        keyfile.load_or_create(tmp_path / "missing" / "fnqueue.keys")


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o610, 0o601, 0o777])
def test_a_file_that_others_may_open_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "fnqueue.keys", new_key(), mode)
    with pytest.raises(KeyInvalid, match=f"chmod 600 {path}"):
        keyfile.load(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    key = new_key()
    assert keyfile.load(write(tmp_path / "fnqueue.keys", key, mode)).primary.key_id == id_of(key)


def test_a_missing_file_a_folder_a_pipe_and_a_binary_file_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    (tmp_path / "binary").write_bytes(b"\x80\xff" * 40)
    (tmp_path / "binary").chmod(0o600)
    write(tmp_path / "large", "#" * 70_000)
    whys = {"missing": "No such file", "folder": "no regular file", "pipe": "no regular file"}
    for name, why in (whys | {"binary": "not text", "large": "70,000 bytes"}).items():
        with pytest.raises(KeyInvalid, match=why):
            keyfile.load(tmp_path / name)


def test_faults_in_a_file_name_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "fnqueue.keys", "hunter2")
    with pytest.raises(SettingsInvalid) as refused:
        keyfile.load(path)
    assert refused.value.faults[0].startswith(f"{path}, key 1: ")
    assert "hunter2" not in str(refused.value)


def test_an_empty_file_is_a_fault_and_is_not_filled_behind_anyones_back(tmp_path: Path) -> None:
    path = write(tmp_path / "fnqueue.keys", "")
    with pytest.raises(SettingsInvalid, match="there is no key"):
        keyfile.load_or_create(path)
    assert path.read_text() == ""


# ------------------------------------------------------------------ changing a text


def test_keys_are_added_promoted_revoked_and_removed() -> None:
    old, new = new_key(), new_key()
    text = keyfile.add("", old)
    assert states(text) == {id_of(old): "primary"}
    text = keyfile.add(text, new)
    assert states(text) == {id_of(old): "primary", id_of(new): "accept"}
    text = keyfile.promote(text, id_of(new))
    assert states(text) == {id_of(old): "accept", id_of(new): "primary"}
    assert states(keyfile.revoke(text, id_of(old))) == {id_of(old): "revoked", id_of(new): "primary"}
    assert states(keyfile.remove(text, id_of(old))) == {id_of(new): "primary"}


def test_a_key_may_be_added_as_primary_or_as_revoked() -> None:
    old, new = new_key(), new_key()
    assert states(keyfile.add(old, new, "primary")) == {id_of(old): "accept", id_of(new): "primary"}
    assert states(keyfile.add(old, new, "revoked")) == {id_of(old): "primary", id_of(new): "revoked"}


def test_comments_limits_and_unstated_states_survive_a_change() -> None:
    old, new = new_key(), new_key()
    text = f"# of May\n{old};queues=billing # until June\n"
    changed = keyfile.promote(keyfile.add(text, new), id_of(new))
    assert changed == f"# of May\naccept:{old};queues=billing # until June\nprimary:{new}\n"


def test_changes_that_would_leave_no_primary_or_revive_a_key_are_refused() -> None:
    old, new = new_key(), new_key()
    text = f"primary:{old} revoked:{new}"
    for change, key, why in (
        (keyfile.revoke, old, "promote another"),
        (keyfile.remove, old, "promote another"),
        (keyfile.promote, new, "never seals again"),
        (keyfile.promote, new_key(), "there is no key"),
        (keyfile.remove, new_key(), "there is no key"),
    ):
        with pytest.raises(KeyInvalid, match=why):
            change(text, id_of(key))
    with pytest.raises(SettingsInvalid, match="twice"):
        keyfile.add(text, old)
    with pytest.raises(KeyInvalid):
        keyfile.add(text, "hunter2")


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path, new = write(tmp_path / "fnqueue.keys", old := new_key()), new_key()
    with path.open() as reader:
        keyfile.update(path, lambda text: keyfile.add(text, new))
        assert reader.read() == old  # whoever had it open reads the old text to its end
    assert states(path.read_text()) == {id_of(old): "primary", id_of(new): "accept"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["fnqueue.keys"]


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "fnqueue.keys", text := f"primary:{new_key()}")
    with pytest.raises(SettingsInvalid):
        keyfile.update(path, lambda text: "")
    with pytest.raises(KeyInvalid):
        keyfile.update(path, lambda text: keyfile.revoke(text, "aaaaaaaa"))
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["fnqueue.keys"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    path = write(tmp_path / "real.keys", new_key())
    (tmp_path / "fnqueue.keys").symlink_to(path)
    keyfile.update(tmp_path / "fnqueue.keys", lambda text: keyfile.add(text, new_key()))
    assert (tmp_path / "fnqueue.keys").is_symlink()
    assert len(states(path.read_text())) == 2


ADDER = """
import sys
from fnqueue.security import keyfile
from fnqueue.security.keyring import new_key
for _ in range(10): keyfile.update(sys.argv[1], lambda text: keyfile.add(text, new_key()))
"""


def test_two_processes_that_change_a_file_lose_none_of_their_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "fnqueue.keys", new_key())
    processes = [subprocess.Popen([sys.executable, "-c", ADDER, str(path)]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert len(states(path.read_text())) == 21


# ------------------------------------------------------------------ following a file


def test_nothing_is_read_or_made_before_a_ring_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "fnqueue.keys"
    source = key_source(None, path, clock=ManualClock(), create=True)
    assert not path.exists()
    assert source.ring().primary.key_id == keyfile.load(path).primary.key_id
    with pytest.raises(KeyInvalid):
        key_source(None, tmp_path / "other.keys", clock=ManualClock()).ring()


def test_the_text_of_a_setting_and_memory_are_sources_too() -> None:
    key = new_key()
    assert key_source(key, None, clock=ManualClock()).ring().primary.key_id == id_of(key)
    source = memory_source()
    assert source.ring().primary is source.ring().primary
    assert memory_source().ring().primary.key_id != source.ring().primary.key_id
    with pytest.raises(SettingsInvalid, match="FNQUEUE_KEYS, key 1"):
        key_source("hunter2", None, clock=ManualClock()).ring()
    with pytest.raises(KeysMissing):
        key_source(None, None, clock=ManualClock())


def test_a_change_is_seen_within_a_second_and_looked_for_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock, new = write(tmp_path / "fnqueue.keys", old := new_key()), ManualClock(), new_key()
    source = FileKeys(path, clock)
    assert [record.key_id for record in source.ring()] == [id_of(old)]
    keyfile.update(path, lambda text: keyfile.add(text, new))
    clock.advance(seconds=0.9)
    assert [record.key_id for record in source.ring()] == [id_of(old)]
    clock.advance(seconds=0.1)
    ring = source.ring()
    assert [record.key_id for record in ring] == [id_of(old), id_of(new)]
    clock.advance(seconds=5)
    assert source.ring() is ring  # unchanged, so not read again


def test_a_rotation_in_the_middle_of_a_stream_loses_and_refuses_nothing(tmp_path: Path, calls: Any) -> None:
    path, clock = write(tmp_path / "fnqueue.keys", f"primary:{new_key()}"), ManualClock(calls.now)
    sender, worker = FileKeys(path, clock), FileKeys(path, clock)
    new, backlog, used = new_key(), [], set()
    steps = {
        100: lambda text: keyfile.add(text, new),
        200: lambda text: keyfile.promote(text, id_of(new)),
        400: lambda text: keyfile.remove(text, next(iter(states(text)))),
    }
    for number in range(500):
        if number in steps:
            keyfile.update(path, steps[number])
        clock.advance(seconds=0.3)
        backlog.append(calls.seal(keyring=sender.ring()))
        used.add(backlog[-1].split(".")[2])
        if len(backlog) > 50 or number == 499:
            while len(backlog) > (0 if number == 499 else 20):
                assert calls.open(backlog.pop(0), keyring=worker.ring(), now=clock.now())
    assert len(used) == 2
    assert states(path.read_text()) == {id_of(new): "primary"}


def test_a_file_that_breaks_is_told_once_and_the_ring_of_before_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = write(tmp_path / "fnqueue.keys", key := new_key()), ManualClock()
    source = FileKeys(path, clock)
    source.ring()
    breaks = {
        "the checksum does not fit": lambda: path.write_text("hunter2-secret"),
        "chmod 600": lambda: write(path, key, 0o644),
        "No such file": path.unlink,
    }
    for break_it in breaks.values():
        caplog.clear()
        break_it()
        for _ in range(3):
            clock.advance(seconds=1)
            assert source.ring().primary.key_id == id_of(key)
        assert source.fault is not None
        assert len(caplog.records) == 1
        assert "hunter2" not in caplog.text
        assert key not in caplog.text
    write(path, new := new_key())
    clock.advance(seconds=1)
    assert source.ring().primary.key_id == id_of(new)
    assert source.fault is None


def test_a_key_that_is_revoked_while_running_is_refused_from_then_on(tmp_path: Path, calls: Any) -> None:
    old, new = new_key(), new_key()
    path, clock = write(tmp_path / "fnqueue.keys", f"primary:{new} accept:{old}"), ManualClock()
    source = FileKeys(path, clock)
    body = calls.seal(keyring=KeyRing.from_text(old))
    assert calls.open(body, keyring=source.ring())
    keyfile.update(path, lambda text: keyfile.revoke(text, id_of(old)))
    clock.advance(seconds=1)
    with pytest.raises(EnvelopeError) as refused:
        calls.open(body, keyring=source.ring())
    assert refused.value.code == "REVOKED_KEY"


# ------------------------------------------------------------------ who else could exchange it


def test_a_file_in_a_folder_that_everybody_may_write_to_is_refused_with_the_cure(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = write(folder / "fnqueue.keys", new_key())
    folder.chmod(0o777)
    with pytest.raises(KeyInvalid, match=f"chmod o-w {folder}"):
        keyfile.load(path)
    link = tmp_path / "link.keys"
    link.symlink_to(path)
    with pytest.raises(KeyInvalid, match="everybody may write"):
        keyfile.load(link)
    folder.chmod(0o1777)  # as /tmp: only its owner may exchange a file
    keyfile.load(path)
    folder.chmod(0o755)
    keyfile.load(path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "fnqueue.keys", new_key())
    keyfile.load(path)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:  # who is not root cannot give a file away: so this process is somebody else
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(KeyInvalid, match="belongs to another user .uid [0-9]+."):
        keyfile.load(path)
