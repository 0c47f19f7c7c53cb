"""Is the audit whole? Every line against its MAC and the one before it, every chain against what the store knows of it.

A fault means that lines were changed, dropped, made up or put in another place, or that files are missing. A doubt is
what an honest end can look like, too: a process that was killed while it wrote leaves the beginning of a line, and
what it wrote in its first moments is not in the store yet. What a key made that is revoked by now is doubtful where no
later line by a better key follows in its chain: whoever got that key could have written it.
Knows files; keys and the store's links are handed in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fnqueue.audit import lines
from fnqueue.audit.files import FILE_BYTES_MAX, read_file
from fnqueue.audit.lines import Line
from fnqueue.audit.links import KEPT_SECONDS, Holds, Link

#: A file goes on in another long before.
BYTES_MAX: Final = 4 * FILE_BYTES_MAX
NOT_HERE: Final = "which is not in the key ring, or here without its state, so nobody can say whether it is true"
#: Within so long of a chain's first line its link may be on the way to the store.
FIRST_MOMENTS: Final = timedelta(seconds=2)


@dataclass(slots=True)
class Report:
    """`faults` and `doubts`: a sentence each, with file and line."""

    chains: int = 0
    lines: int = 0
    faults: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def verify(folder: str, links: Mapping[str, Link | None] | None, holds: Holds, *, now: datetime) -> Report:
    """`links`: read before this is called, or a chain that goes on looks cut. None: there is no store.

    Raises OSError when the folder cannot be read; but for one that is gone with files that the store knows of.
    """
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        if not links:
            raise
        names = []
    report, chains = Report(), _chains(names)
    for name in names:
        if name.endswith(".jsonl") and not lines.NAME.fullmatch(name):
            report.faults.append(f"{name}: no file of an audit has such a name")
    for chain in sorted(chains):
        _Walk(folder, chain, report, holds).walk(chains[chain], links, now)
    for chain in sorted(set(links or ()) - set(chains)):
        link = (links or {})[chain]
        told = f"{link.n} lines" if link is not None and link.standing != "unknown" else "an unknown number of lines"
        report.faults.append(f"{chain}: its files are missing, with {told}")
    report.chains = len(chains)
    return report


def _chains(names: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name in names:
        match = lines.NAME.fullmatch(name)
        if match:
            found.setdefault(match["chain"], []).append(int(match["file"]))
    return found


class _Walk:
    """Along one chain. `digests`: of the lines that stand, by number."""

    def __init__(self, folder: str, chain: str, report: Report, holds: Holds) -> None:
        self._folder, self._chain, self._report, self._holds = folder, chain, report, holds
        self._n: int | None = 0  # None: not known, after what is missing
        self._prev = ""
        self._digests: dict[int, str] = {}
        self._first: Line | None = None
        self._last: Line | None = None
        self._unproven: list[tuple[str, Line]] = []  # by keys of no worth now, until a later line vouches for them

    def walk(self, files: list[int], links: Mapping[str, Link | None] | None, now: datetime) -> None:
        before = 0
        for number in sorted(files):
            if number > before + 1:
                gap = "" if number == before + 2 else f", and so are those up to {number - 1:04d}"
                self._fault(before + 1, f"is missing{gap}")
                self._n, self._prev = None, "?"
            self._file(number, last=number == max(files))
            before = number
        if links is not None:
            self._compare(links, now)
        self._tell_unproven("unknown", self._report.faults, NOT_HERE)
        self._tell_unproven("revoked", self._report.doubts, "which is revoked: whoever got that key could have made it")

    def _tell_unproven(self, standing: str, into: list[str], text: str) -> None:
        found = [(where, line) for where, line in self._unproven if self._standing(line) == standing]
        if found:
            where, line = found[0]
            into.append(f"{where}: made with key {line.key}, {text}; {len(found)} such lines")

    def _standing(self, line: Line) -> str:
        return self._holds(line.key, self._chain, line.signed, line.mac)

    def _fault(self, number: int, text: str) -> None:
        self._report.faults.append(f"{self._name(number)}: {text}")

    def _name(self, number: int) -> str:
        return f"{self._chain}.{number:04d}.jsonl"

    # ---------------------------------------------------------------- a file

    def _file(self, number: int, *, last: bool) -> None:
        data = read_file(os.path.join(self._folder, self._name(number)), BYTES_MAX)
        if data is None:
            self._fault(number, "is a link, a pipe or the like, and no file")
            self._n, self._prev = None, "?"
            return
        *whole, rest = data.split(b"\n")
        if sum(map(len, whole)) + len(rest) > BYTES_MAX - len(whole):
            self._fault(number, f"has more than {BYTES_MAX:,} bytes, which no file of ours has")
        if not whole and not rest:
            self._fault(number, "is empty")
        for index, text in enumerate(whole, 1):
            self._line(number, index, text)
        if rest and last:
            self._report.doubts.append(
                f"{self._name(number)}: line {len(whole) + 1} has no end: its process was killed while it wrote"
            )
        elif rest:
            self._fault(number, f"line {len(whole) + 1} has no end, and the chain goes on")

    def _line(self, number: int, index: int, text: bytes) -> None:
        line = lines.read(text)
        self._report.lines += 1
        where = f"{self._name(number)} line {index}"
        fault = self._wrong(number, index, line)
        if fault:
            self._report.faults.append(f"{where}: {fault}")
        if line is None or (fault or "").startswith("its MAC"):
            self._n, self._prev = (None if self._n is None else self._n + 1), "?"
            return
        if fault is None:
            self._stands(where, line)
        # What follows is compared with what is there, so that one fault is told once.
        self._n, self._prev = line.n, line.digest
        self._first, self._last = self._first or line, line

    def _wrong(self, number: int, index: int, line: Line | None) -> str | None:
        if line is None:
            return "is no line of an audit"
        if self._standing(line) == "false":
            return "its MAC is false: it was changed, or comes from another file"
        if index == 1 and (line.what, line.told.get("chain"), line.told.get("file")) != (
            lines.BEGIN,
            self._chain,
            number,
        ):
            return "does not begin this file"
        if self._n is not None and line.n != self._n + 1:
            return f"is number {line.n}, and follows number {self._n}: lines were dropped or repeated"
        if self._prev not in (line.prev, "?"):
            return "does not follow the line before it, which was changed"
        return None

    def _stands(self, where: str, line: Line) -> None:
        self._digests[line.n] = line.digest
        if self._standing(line) == "good":
            self._unproven.clear()  # it names the line before it, and so on to the first
        else:
            self._unproven.append((where, line))

    # ---------------------------------------------------------------- the store

    def _compare(self, links: Mapping[str, Link | None], now: datetime) -> None:
        if self._chain not in links:
            self._without_link(now)
            return
        link = links[self._chain]
        if link is None:
            self._report.faults.append(f"{self._chain}: what the store says of its end was changed, or copied there")
        elif link.standing == "unknown":
            told = f"was changed, or made with key {link.key[:20]}, {NOT_HERE}"
            self._report.faults.append(f"{self._chain}: what the store says of its end {told}")
        elif link.n > (self._n or 0):
            self._report.faults.append(
                f"{self._chain}: ends with number {self._n or 0}, and number {link.n} was written: it was cut"
            )
        elif self._digests.get(link.n, link.digest) != link.digest:
            self._report.faults.append(f"{self._chain}: number {link.n} is another than the one that was written")
        elif link.n in self._digests and link.standing == "good":
            self._unproven = [(where, line) for where, line in self._unproven if line.n > link.n]

    def _without_link(self, now: datetime) -> None:
        first, last = _moment(self._first), _moment(self._last)
        if last is not None and now - last > timedelta(seconds=KEPT_SECONDS):
            return
        told = f"{self._chain}: the store knows nothing of it, so nobody can say whether its end is there"
        honest = first is not None and last is not None and last - first <= FIRST_MOMENTS
        (self._report.doubts if honest else self._report.faults).append(told)


def _moment(line: Line | None) -> datetime | None:
    try:
        return datetime.fromisoformat(line.at) if line is not None else None
    except ValueError:
        return None
