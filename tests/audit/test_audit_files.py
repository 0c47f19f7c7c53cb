"""The audit's files: what an honest process leaves is whole, and whatever anybody does to it afterwards is seen.

Each test of the second half is an attack by somebody who can write to the files, and to the store where it says so, but
has no key.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fnqueue.audit import audit as audit_module
from fnqueue.audit import lines
from fnqueue.audit.audit import Audit
from fnqueue.audit.files import Files
from fnqueue.audit.links import KEPT_SECONDS, KIND, Links
from fnqueue.audit.verifying import Report, verify
from fnqueue.cli.audit import last_lines
from fnqueue.clock import ManualClock, to_datetime
from fnqueue.database.database import Database
from fnqueue.errors import AuditUnwritable, StoreError
from fnqueue.sealing import Sealing
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.store.base import Record
from fnqueue.store.sqlite import SqliteStore
from tests.security.rings import given, whole

KEY = new_key()


class Place:
    """A folder, a store and a ring; processes that write there, one after the other or at once."""

    def __init__(self, folder: Path, store: Any, clock: ManualClock) -> None:
        self.folder, self.store, self.clock = folder, store, clock
        self.keys = (KEY,)
        self.environment = "default"
        self.made: list[Audit] = []

    @property
    def sealing(self) -> Sealing:
        ring = KeyRing.from_text(" ".join(self.keys))
        return Sealing(lambda: ring, self.environment)

    def links(self) -> Links:
        return links_with(self, self.sealing)

    def process(self, **options: Any) -> Audit:
        sealing = self.sealing
        files = Files(str(self.folder), self.clock, sealing.audit_key_id, sealing.audit_mac, **options)
        self.made.append(Audit(self.clock, files, self.links()))
        return self.made[-1]

    def verified(self) -> Report:
        return verify(str(self.folder), self.links().all(), self.sealing.audit_holds, now=to_datetime(self.clock.now()))

    def faults(self) -> list[str]:
        return self.verified().faults

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))


def links_with(place: Place, sealing: Sealing) -> Links:
    made_with = (sealing.audit_key_id, sealing.audit_mac, sealing.audit_holds)
    return Links(place.store, place.clock, place.environment, *made_with)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = ManualClock()
    database = Database(str(tmp_path / "store.db"))
    made = Place(tmp_path / "audit", SqliteStore(database, clock=clock), clock)
    yield made
    for audit in made.made:
        audit.close()
    database.close()


@pytest.fixture
def written(place: Place) -> Path:
    """The file of a process that told of six things and ended."""
    audit = place.process()
    for n in range(6):
        audit.tell("denied", f"n {n}", {"task": "mail", "number": n})
        place.clock.advance(seconds=1)
    audit.close()
    (file,) = place.files()
    assert place.faults() == []
    return file


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# ------------------------------------------------------------------ an honest process


def test_a_line_tells_what_when_and_in_which_order_and_is_bound_to_the_one_before(written: Path) -> None:
    first, second, third, *_ = told(written)
    assert (first["n"], first["what"], first["chain"] in written.name, first["file"]) == (1, "begin", True, 1)
    assert (second["n"], second["what"], second["task"], second["number"]) == (2, "denied", "mail", 0)
    assert third["prev"] == lines.digest(written.read_bytes().splitlines()[1])
    assert second["at"] < third["at"]
    assert written.stat().st_mode & 0o777 == 0o600
    assert written.parent.stat().st_mode & 0o777 == 0o700


def test_each_process_has_a_chain_of_its_own_and_all_are_whole(place: Place) -> None:
    for _ in range(3):
        audit = place.process()
        audit.tell("denied", None, {})
        audit.close()
    assert len(place.files()) == 3
    assert (place.verified().chains, place.verified().lines, place.faults()) == (3, 6, [])


def test_threads_write_one_line_at_a_time(place: Place) -> None:
    audit = place.process()
    threads = [
        threading.Thread(target=lambda: [audit.tell("denied", None, {"text": "x" * 500}) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    audit.close()
    assert (place.verified().lines, place.faults()) == (201, [])


def test_a_forked_child_begins_a_chain_of_its_own_and_its_parents_stays_whole(place: Place) -> None:
    audit = place.process()
    audit.tell("denied", None, {"who": "parent"})
    pid = os.fork()
    if pid == 0:
        audit.tell("denied", None, {"who": "child"})
        audit._files.close()  # type: ignore[union-attr]
        os._exit(0)
    os.waitpid(pid, 0)
    audit.tell("denied", None, {"who": "parent"})
    audit.close()
    who = sorted([line.get("who") for line in told(file)[1:]] for file in place.files())
    assert who == [["child"], ["parent", "parent"]]
    assert place.faults() == []


def test_a_full_file_is_followed_by_another_of_the_same_chain(place: Place) -> None:
    audit = place.process(bytes_max=1000)
    for n in range(20):
        audit.tell("denied", None, {"number": n})
    audit.close()
    assert len(place.files()) > 3
    assert len({file.name.rpartition(".0")[0] for file in place.files()}) == 1
    assert (place.verified().chains, place.faults()) == (1, [])
    assert [line["number"] for file in place.files() for line in told(file) if "number" in line] == list(range(20))


def test_what_is_told_while_a_line_is_written_follows_it_and_breaks_no_chain(place: Place) -> None:
    """Whoever asks for the key may read others, and tell of them: in the middle of a line, and of a following file."""
    sealing, armed = place.sealing, ""

    def asked(where: str) -> None:
        nonlocal armed
        if armed == where:
            armed = ""
            audit.tell("keys", None, {"again": True})

    def key_id() -> str:
        asked("key")
        return sealing.audit_key_id()

    def mac(key: str, chain: str, text: bytes) -> str:
        asked("mac")
        return sealing.audit_mac(key, chain, text)

    audit = Audit(place.clock, Files(str(place.folder), place.clock, key_id, mac, bytes_max=900), place.links())
    place.made.append(audit)
    for number in range(30):
        armed = ("key", "mac")[number % 2]
        audit.tell("denied", None, {"task": f"pay{number}"})
    assert len(place.files()) > 5
    audit.close()
    report = place.verified()
    assert (report.chains, report.faults, report.doubts) == (1, [], [])


def test_the_store_learns_of_the_last_line_within_a_second_and_no_caller_waits(place: Place, monkeypatch) -> None:
    monkeypatch.setattr(audit_module, "LINK_SECONDS", 0.05)
    put, threads = threading.Event(), []
    audit = place.process()
    keep = audit._links.put  # type: ignore[union-attr]

    def noted(*end: Any) -> None:
        threads.append(threading.current_thread())
        keep(*end)
        put.set()

    monkeypatch.setattr(audit._links, "put", noted)
    audit.tell("denied", None, {})
    audit.tell("denied", None, {})
    assert put.wait(5)
    assert threading.main_thread() not in threads
    (link,) = place.links().all().values()
    assert link is not None
    assert link.n == 3


def test_who_tells_does_not_wait_for_a_store_that_is_slow(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = place.process()
    audit.tell("denied", None, {"number": 1})
    inside, go = threading.Event(), threading.Event()
    keep = audit._links.put  # type: ignore[union-attr]

    def slow(*end: Any) -> None:
        inside.set()
        assert go.wait(10)
        keep(*end)

    monkeypatch.setattr(audit._links, "put", slow)
    linking = threading.Thread(target=audit.link)
    linking.start()
    assert inside.wait(5)
    telling = threading.Thread(target=lambda: audit.tell("denied", None, {"number": 2}))
    telling.start()
    telling.join(5)
    assert not telling.is_alive()
    go.set()
    linking.join(10)
    audit.close()
    assert (place.verified().lines, place.faults()) == (3, [])


def test_where_no_thread_is_to_be_had_the_store_is_told_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(audit_module.threading.Timer, "start", none)
    place.process().tell("denied", None, {})
    assert [link.n for link in place.links().all().values() if link] == [2]


def test_where_no_thread_comes_to_it_the_next_who_tells_lets_the_store_know(place: Place, monkeypatch) -> None:
    monkeypatch.setattr(audit_module.threading.Timer, "start", lambda self: None)  # as under uWSGI without threads
    audit = place.process()
    audit.tell("denied", None, {})
    assert place.links().all() == {}
    place.clock.advance(seconds=audit_module.LATE_SECONDS + 1)
    audit.tell("denied", None, {})
    (link,) = place.links().all().values()
    assert link is not None
    assert link.n == 3


def test_a_process_that_is_killed_while_it_writes_leaves_whole_lines_and_no_fault(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import sys
        from fnqueue.audit.audit import Audit
        from fnqueue.audit.files import Files
        from fnqueue.clock import SystemClock
        from fnqueue.sealing import Sealing
        from fnqueue.security.keyring import KeyRing
        ring = KeyRing.from_text({KEY!r})
        sealing = Sealing(lambda: ring, "default")
        audit = Audit(SystemClock(), Files({str(tmp_path)!r}, SystemClock(), sealing.audit_key_id, sealing.audit_mac))
        for n in range(1_000_000):
            audit.tell("denied", None, {{"number": n, "text": "x" * 900}})
            if n == 200:
                print("going", flush=True)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"going\n"
        child.send_signal(signal.SIGKILL)
    child.wait(10)
    ring = KeyRing.from_text(KEY)
    report = verify(str(tmp_path), None, Sealing(lambda: ring, "default").audit_holds, now=to_datetime(0))
    assert report.faults == []
    assert report.lines > 200


# ------------------------------------------------------------------ the disk is full, the store is away


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """`full(True)`: of what is written to an audit's file the first ten bytes fit; not even they come out again."""
    real, state = os.write, {"full": False}

    def write(fd: int, data: bytes) -> int:
        if state["full"] and data.startswith(b'{"n":') and real(fd, data[:10]) == 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    return lambda now: state.update(full=now)


def test_on_a_full_disk_the_work_goes_on_and_what_is_missing_is_counted_in_the_next_line(
    place: Place, full: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fnqueue.audit")
    audit = place.process()
    audit.tell("denied", "DENIED before", {"number": 1})
    full(True)
    for n in (2, 3, 4):
        audit.tell("denied", f"DENIED number {n}", {"number": n})
    full(False)
    audit.tell("denied", "DENIED after", {"number": 5})
    audit.close()
    (file,) = place.files()
    assert [(line["what"], line.get("number"), line.get("count")) for line in told(file)[1:]] == [
        ("denied", 1, None),
        ("lost", None, 3),
        ("denied", 5, None),
    ]
    assert place.faults() == []
    said = [record.getMessage() for record in caplog.records]
    assert "DENIED number 3" in said  # the log has it
    assert [text for text in said if "cannot be written" in text] == [
        "the audit cannot be written, and goes on in the log only: No space left on device"
    ]


def test_an_act_that_must_be_on_record_is_refused_on_a_full_disk(place: Place, full: Callable[[bool], None]) -> None:
    audit = place.process()
    audit.must("operator", "OPERATOR", {"action": "release"})
    full(True)
    with pytest.raises(AuditUnwritable, match="No space left on device.*nothing was done"):
        audit.must("operator", "OPERATOR", {"action": "release"})


def test_a_folder_that_cannot_be_written_stops_no_work(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.folder.write_text("a file is in its place")
    audit = place.process()
    audit.tell("denied", "DENIED", {})
    assert "cannot be written" in caplog.text
    with pytest.raises(AuditUnwritable):
        audit.must("operator", "OPERATOR", {})


def test_a_store_that_is_away_stops_no_work_and_learns_of_the_end_later(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audit = place.process()
    real = audit._links.put  # type: ignore[union-attr]

    def away(*end: Any) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(audit._links, "put", away)
    audit.tell("denied", None, {})
    audit.link()
    assert "gone" in caplog.text
    monkeypatch.setattr(audit._links, "put", real)
    audit.close()
    assert len(place.links().all()) == 1


# ------------------------------------------------------------------ attacks


def edited(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    found = path.read_bytes().split(b"\n")
    found[number - 1] = change(found[number - 1])
    path.write_bytes(b"\n".join(found))


@pytest.mark.parametrize("number", [1, 3, 7])
def test_an_edited_line_of_the_audit_is_found(place: Place, written: Path, number: int) -> None:
    edited(written, number, lambda line: line.replace(b'"at":"2', b'"at":"1'))
    (fault,) = place.faults()
    assert f"{written.name} line {number}: its MAC is false" in fault


def test_a_line_with_another_lines_mac_is_found(place: Place, written: Path) -> None:
    mac = told(written)[3]["mac"].encode()
    edited(written, 3, lambda line: line[:-45] + mac + line[-2:])
    assert any("line 3: its MAC is false" in fault for fault in place.faults())


def test_a_dropped_line_of_the_audit_is_found(place: Place, written: Path) -> None:
    found = written.read_bytes().split(b"\n")
    written.write_bytes(b"\n".join(found[:3] + found[4:]))
    assert any("line 4: is number 5, and follows number 3: lines were dropped" in fault for fault in place.faults())


def test_a_replayed_line_of_the_audit_is_found(place: Place, written: Path) -> None:
    found = written.read_bytes().split(b"\n")
    written.write_bytes(b"\n".join([*found[:4], found[3], *found[4:]]))
    assert any("line 5: is number 4, and follows number 4" in fault for fault in place.faults())


def test_lines_in_another_order_are_found(place: Place, written: Path) -> None:
    found = written.read_bytes().split(b"\n")
    found[2], found[3] = found[3], found[2]
    written.write_bytes(b"\n".join(found))
    assert place.faults()


def test_a_file_that_was_cut_after_a_whole_line_is_found_by_what_the_store_knows(place: Place, written: Path) -> None:
    found = written.read_bytes().split(b"\n")
    written.write_bytes(b"\n".join(found[:5]) + b"\n")
    assert place.faults() == [f"{written.name[:-11]}: ends with number 5, and number 7 was written: it was cut"]


def test_a_torn_last_line_is_told_from_a_cut(place: Place, written: Path) -> None:
    with written.open("ab") as file:
        file.write(b'{"n":8,"at":"2026')  # killed while it wrote number 8
    report = place.verified()
    assert report.faults == []
    assert report.doubts == [f"{written.name}: line 8 has no end: its process was killed while it wrote"]
    whole = written.read_bytes()
    written.write_bytes(whole[: whole.index(b'{"n":7') + 20])  # number 7 was whole once
    assert place.faults() == [f"{written.name[:-11]}: ends with number 6, and number 7 was written: it was cut"]


def test_an_older_copy_of_the_file_is_found(place: Place) -> None:
    audit = place.process()
    audit.tell("denied", None, {"number": 1})
    (file,) = place.files()
    older = file.read_bytes()
    audit.tell("denied", None, {"number": 2})
    audit.close()
    file.write_bytes(older)
    assert any("it was cut" in fault for fault in place.faults())


def test_a_missing_file_of_a_chain_and_a_missing_chain_are_found(place: Place, written: Path) -> None:
    audit = place.process(bytes_max=500)
    for n in range(12):
        audit.tell("denied", None, {"number": n})
    audit.close()
    longer = [file for file in place.files() if file != written]
    kept = longer[1].read_bytes()
    longer[1].unlink()
    assert place.faults() == [f"{longer[1].name}: is missing"]
    longer[1].write_bytes(kept)
    assert place.faults() == []
    longer[-1].unlink()
    assert any("it was cut" in fault for fault in place.faults())
    written.unlink()
    assert any(f"{written.name[:-11]}: its files are missing, with 7 lines" in fault for fault in place.faults())


def test_files_that_somebody_put_there_neither_hold_verify_up_nor_fill_the_memory(
    place: Place, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = written.name[:-11]
    (place.folder / f"{chain}.999999.jsonl").write_bytes(b"[" * 100_000 + b"\n" + b"\xff\xfe\n\n{}\n[]\n7\n")
    faults = place.faults()
    assert f"{chain}.0002.jsonl: is missing, and so are those up to 999998" in faults
    assert len(faults) < 10
    monkeypatch.setattr("fnqueue.audit.verifying.BYTES_MAX", 2000)
    (place.folder / f"{chain}.0002.jsonl").write_bytes(b"x" * 100_000)
    assert any("has more than 2,000 bytes" in fault for fault in place.faults())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_or_a_link_in_a_files_place_is_a_fault_that_nobody_waits_for(place: Place, written: Path, make) -> None:
    written.unlink()
    make(written)
    assert f"{written.name}: is a link, a pipe or the like, and no file" in place.faults()
    assert last_lines(str(place.folder), 20) == []


def test_a_folder_that_is_gone_is_told_file_by_file_by_what_the_store_knows(place: Place, written: Path) -> None:
    written.unlink()
    place.folder.rmdir()
    assert place.faults() == [f"{chain_of(stored(place))}: its files are missing, with 7 lines"]
    place.store.delete(KIND, stored(place).id)
    with pytest.raises(FileNotFoundError):  # perhaps another folder is meant
        place.verified()


def test_a_file_in_the_place_of_another_is_found(place: Place, written: Path) -> None:
    audit = place.process()
    for _ in range(6):
        audit.tell("denied", None, {})
    audit.close()
    (other,) = [file for file in place.files() if file != written]
    ours, theirs = written.read_bytes(), other.read_bytes()
    written.write_bytes(theirs)
    assert any(written.name in fault and "comes from another file" in fault for fault in place.faults())
    other.write_bytes(ours)
    assert len({fault.split(" ")[0] for fault in place.faults()} & {written.name, other.name}) == 2


def test_the_files_of_one_chain_in_another_order_are_found(place: Place) -> None:
    audit = place.process(bytes_max=500)
    for n in range(12):
        audit.tell("denied", None, {"number": n})
    audit.close()
    second, third = place.files()[1:3]
    swapped = second.read_bytes(), third.read_bytes()
    second.write_bytes(swapped[1])
    third.write_bytes(swapped[0])
    assert any("does not begin this file" in fault for fault in place.faults())


def test_a_chain_that_somebody_without_a_key_made_up_is_found(place: Place, written: Path) -> None:
    place.keys = (new_key(),)
    audit = place.process()
    audit.tell("denied", None, {})
    audit.close()
    place.keys = (KEY,)
    assert any("not in the key ring" in fault for fault in place.faults())
    assert any("what the store says of its end was changed" in fault for fault in place.faults())
    (place.folder / "notes.jsonl").write_text("{}")
    assert any("notes.jsonl: no file of an audit has such a name" in fault for fault in place.faults())


def test_a_chain_of_staging_does_not_stand_in_production(place: Place) -> None:
    place.environment = "staging"
    audit = place.process()
    audit.tell("denied", None, {})
    audit.close()
    place.environment = "production"
    assert any("its MAC is false" in fault for fault in place.faults())


def test_environments_that_share_a_store_do_not_miss_the_files_of_each_other(place: Place) -> None:
    ours, place.folder, place.environment = place.folder, place.folder.parent / "staging", "staging"
    audit = place.process()
    audit.tell("denied", None, {})
    audit.close()
    assert (place.faults(), len(place.links().all())) == ([], 1)
    place.folder, place.environment = ours, "production"
    ours.mkdir()
    assert (place.faults(), place.links().all()) == ([], {})


def links_of(place: Place) -> list[Record]:
    return place.store.query(KIND, f"{place.environment} chains").records


def chain_of(record: Record) -> str:
    return record.id.rpartition(" ")[2]


def stored(place: Place) -> Record:
    (record,) = links_of(place)
    return record


def kept_as(place: Place, record: Record, **fields: Any) -> None:
    place.store.put(
        Record(kind=KIND, id=record.id, fields=fields or record.fields, bucket=record.bucket, sort=record.sort)
    )


def test_a_store_row_of_an_audit_that_was_edited_is_found(place: Place, written: Path) -> None:
    record = stored(place)
    true = dict(record.fields)
    for forged in ({"n": 3}, {"digest": "0" * 64}, {"mac": "A" * 43}, {"mac": b"A"}, {"n": "7"}):
        kept_as(place, record, **(true | forged))
        assert place.faults() == [f"{chain_of(record)}: what the store says of its end was changed, or copied there"]
    kept_as(place, record, **(true | {"key": "aaaaaaaa"}))
    (fault,) = place.faults()
    assert fault.startswith(
        f"{chain_of(record)}: what the store says of its end was changed, or made with key aaaaaaaa, which"
    )


def test_a_store_row_of_one_audit_under_the_name_of_another_is_found(place: Place, written: Path) -> None:
    record = stored(place)
    audit = place.process()
    audit.tell("denied", None, {})
    audit.close()
    other = next(each for each in links_of(place) if each.id != record.id)
    kept_as(place, record, **other.fields)
    assert any("was changed, or copied there" in fault for fault in place.faults())


def test_a_store_row_that_is_gone_is_found(place: Place, written: Path) -> None:
    place.store.delete(KIND, stored(place).id)
    assert any("the store knows nothing of it" in fault for fault in place.faults())
    place.clock.advance(seconds=KEPT_SECONDS + 10)  # it went by itself
    assert place.faults() == []


def test_a_process_that_was_killed_in_its_first_moment_is_a_doubt_only(place: Place) -> None:
    audit = place.process()
    audit.tell("keys", None, {})
    assert place.faults() == []
    assert len(place.verified().doubts) == 1


# ------------------------------------------------------------------ keys


def test_lines_stay_true_over_a_rotation(place: Place) -> None:
    new = new_key()
    audit = place.process()
    audit.tell("denied", None, {"number": 1})
    audit.close()
    place.keys = (f"primary:{new}", f"accept:{KEY}")
    assert place.faults() == []


def test_lines_of_a_key_that_was_revoked_stand_where_a_later_line_vouches_for_them(place: Place) -> None:
    new, rings = new_key(), [KeyRing.from_text(KEY)]
    sealing = Sealing(lambda: rings[-1], "default")
    files = Files(str(place.folder), place.clock, sealing.audit_key_id, sealing.audit_mac)
    links = links_with(place, sealing)
    audit = Audit(place.clock, files, links)
    audit.tell("denied", None, {"number": 1})
    audit.link()
    place.keys = (f"primary:{new}", f"revoked:{KEY}")
    assert place.faults() == []
    assert any("is revoked: whoever got that key could have made it" in doubt for doubt in place.verified().doubts)
    rings.append(KeyRing.from_text(" ".join(place.keys)))
    audit.tell("denied", None, {"number": 2})
    audit.close()
    assert (place.faults(), place.verified().doubts) == ([], [])


def test_whoever_got_a_key_that_is_revoked_by_now_cannot_write_on_after_a_better_one(place: Place) -> None:
    new = new_key()
    place.keys = (new,)
    audit = place.process()
    for n in range(3):
        audit.tell("denied", None, {"number": n})
    audit.close()
    (file,) = place.files()
    place.keys = (KEY,)  # the thief makes the last line anew, with the key that he has
    *kept, last = file.read_bytes().splitlines()
    stolen, line = place.sealing, lines.read(last)
    assert line is not None
    chain = file.name[:-11]
    text = lines.text_of(line.n, line.at, "denied", {"number": 99}, prev=line.prev, key=stolen.audit_key_id())
    forged = lines.finished(text, stolen.audit_mac(stolen.audit_key_id(), chain, text))
    file.write_bytes(b"\n".join([*kept, forged]) + b"\n")
    place.keys = (f"primary:{new}", f"revoked:{KEY}")
    assert any("is another than the one that was written" in fault for fault in place.faults())


# ------------------------------------------------------------------ what is told


def test_a_field_cannot_take_the_place_of_a_lines_own_and_a_long_one_is_cut(place: Place) -> None:
    audit = place.process()
    audit.tell("denied", None, {"n": 99, "mac": "x", "what": "y", "text": "z" * 5000, "line": "a\nb\x1b[2J"})
    audit.close()
    (file,) = place.files()
    line = told(file)[1]
    assert (line["n"], line["what"], len(line["text"]), line["line"]) == (2, "denied", 1000, "a\nb\x1b[2J")
    assert file.read_bytes().count(b"\n") == 2
    assert place.faults() == []


def test_a_process_whose_keys_make_no_mac_leaves_no_file_that_looks_like_a_fault(place: Place) -> None:
    """A dashboard has only what verifies: what it tells is in the log, and what operators do there is not done."""
    place.keys = (given(whole("split"), "dashboard"),)
    audit = place.process()
    audit.tell("denied", None, {})
    with pytest.raises(AuditUnwritable, match="needs fnqk1-state"):
        audit.must("operator", "OPERATOR", {})
    audit.close()
    assert place.files() == []


def test_who_has_not_the_key_cannot_say_whether_its_lines_are_true(place: Place, written: Path) -> None:
    sealing = Sealing(lambda: KeyRing([]), "default")
    report = verify(str(place.folder), None, sealing.audit_holds, now=to_datetime(place.clock.now()))
    assert any("not in the key ring" in fault for fault in report.faults)
