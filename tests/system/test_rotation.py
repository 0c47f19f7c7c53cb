"""Keys of every kind are exchanged while calls are made and run: none is lost, refused, or run twice."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fnqueue.security.keyfile import add, promote, read, remove, update
from fnqueue.security.keyring import record_of
from fnqueue.security.keystrings import new_part
from tests.security.rings import given, kms_key, sealing_part, whole
from tests.system.fleet import Fleet

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

#: What is exchanged, one after the other, in a running site.
KINDS = {
    "local": ("root",),
    "signed": ("sign", "shared", "state"),
    "split": ("sign", "open", "state"),
    "kms": ("sign", "kms", "state"),
}
#: A process looks at its key file once a second.
SEEN_SECONDS = 1.5


def exchanged(key: str, kind: str) -> str:
    """A new key: of `key` another part of this kind, and another signing part, because that is what a key's id is."""
    if kind == "root":
        return new_part("root")
    parts, _, options = key.partition(";")
    fresh = [new_part(each) if each in ("sign", kind) else part for part in parts.split("+") for each in [_type(part)]]
    if kind == "kms":
        options = options.replace(sealing_part(key), f"kms={kms_key()}")
    return "+".join(fresh) + f";{options}"


def _type(part: str) -> str:
    return part.split("-")[1]


class Keys:
    """What an operator has: the whole text, and a file for each role with its part of it."""

    def __init__(self, folder: Path, key: str) -> None:
        self.text = f"primary:{key}\n"
        self.web, self.worker = folder / "web.keys", folder / "worker.keys"
        for path, text in self._files():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(text)

    def change(self, change: Callable[[str], str]) -> None:
        self.text = change(self.text)
        for path, text in self._files():
            update(path, lambda _, text=text: text)  # type: ignore[misc]

    def _files(self) -> list[tuple[Path, str]]:
        return [(self.worker, given(self.text, "worker")), (self.web, given(self.text, "web"))]


class Producer:
    """Defers in tens, at a pace that leaves it in the middle at each exchange, from a thread of the web process."""

    def __init__(self, fleet: Fleet, total: int, seconds: float) -> None:
        self.fleet, self.total, self.pause = fleet, total, 10 * seconds / total
        self.calls: list[str] = []
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            began = time.monotonic()
            for n in range(self.total // 10):
                time.sleep(max(0.0, began + n * self.pause - time.monotonic()))
                handles = self.fleet.fn.defer_many(self.fleet.task("work"), [(0.0,)] * 10)
                self.calls += [handle.id for handle in handles]
        except BaseException as error:
            self.failed.append(error)

    @property
    def busy(self) -> bool:
        return self._thread.is_alive()

    def done(self) -> None:
        self._thread.join(120)
        assert self.failed == []
        assert len(self.calls) == self.total


@pytest.mark.parametrize("suite", KINDS)
def test_every_kind_of_key_is_rotated_in_the_middle_of_the_work(
    fleet: Fleet, tmp_path: Path, full: bool, suite: str
) -> None:
    """Accept everywhere, promote, and when all is worked off, remove. Web and workers have their own parts only."""
    key = whole(suite)
    keys, kinds, total = Keys(tmp_path, key), KINDS[suite], 5000 if full else 600
    fleet.settings["FNQUEUE_KEYS_FILE"] = str(keys.web)
    fleet.settings["FNQUEUE_DURABILITY"] = "relaxed"
    workers = [fleet.start(keys_file=str(keys.worker)) for _ in range(3)]
    fleet.wait(lambda: len({line.pid for line in fleet.lines("ready")}) == 3, 60, "three workers")
    first = [handle.id for handle in fleet.fn.defer_many(fleet.task("work"), [(0.3,)] * 60)]
    fleet.wait(lambda: len(fleet.busy()) == 3, 60, "all three at work")
    producer, marks, primary = Producer(fleet, total, 5.0 * len(kinds) + 3), [0], key
    for kind in kinds:
        fleet.wait(lambda: len(producer.calls) > marks[-1] + 50, 30)
        primary = exchanged(primary, kind)
        key_id = record_of(primary).key_id
        keys.change(lambda text, new=primary: add(text, new))  # type: ignore[misc]
        time.sleep(SEEN_SECONDS)
        keys.change(lambda text, id=key_id: promote(text, id))  # type: ignore[misc]
        time.sleep(SEEN_SECONDS)
        assert fleet.fn.runtime().ring().primary.key_id == key_id
        marks.append(len(producer.calls))
        assert producer.busy, f"the exchange of {kind} was not in the middle: {marks} of {total}"
    producer.done()
    fleet.wait(lambda: len(fleet.by_call("settled")) == total + len(first), 120, "all calls")

    assert [worker.poll() for worker in workers] == [None] * 3, "nobody was started anew"
    assert fleet.by_call("effect").keys() == {*first, *producer.calls}, "none lost"
    assert [line.word for line in fleet.lines("effect")] == ["1"] * (total + len(first)), "none run twice"
    assert fleet.lines("refused") == []
    fleet.wait(lambda: fleet.left() == 0, 10)
    assert fleet.dead() == 0
    sample = [first[0], *(producer.calls[mark] for mark in marks)]
    assert [fleet.fn.handle(id).state for id in sample] == ["SUCCESS"] * len(sample), "results of all of them open"

    old = [record.key_id for record in fleet.fn.runtime().ring() if record.state != "primary"]
    assert len(old) == len(kinds)
    for key_id in old:
        keys.change(lambda text, id=key_id: remove(text, id))  # type: ignore[misc]
    assert not any(part in read(keys.web) + read(keys.worker) for part in key.partition(";")[0].split("+"))
    time.sleep(SEEN_SECONDS)
    assert fleet.task("work").defer(0).result(20) is None
    print(f"{suite}: {total:,} messages; {', '.join(kinds)} exchanged, promoted after {marks[1:]}")
