"""What a reader does with a page: makes its files, types its commands and snippets, in order, in one folder.

Commands that serve (`fnqueue dev`, `flask run`, a worker without --burst) go on beside the others until the page's
end, or until its `^C`. They are started here and ended here, by their process ids. A page says port 5000, say: it
becomes a free port, and turns back in what is printed.
Knows blocks; knows nothing of fnqueue but which of its commands go on for ever.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.commands import environment
from tests.docs.pages import ROOT, Block, commands, is_shell
from tests.system.browsing import CHROMIUM, QUIET

SECONDS = 60.0
PORTS = ("5000", "8000", "4566", "9324")
_SERVES = re.compile(
    r"fnqueue dev\b|flask\b.* run\b|\brunserver\b|^(gunicorn|uvicorn|hypercorn|waitress-serve|uwsgi|moto_server)\b"
    r"|fnqueue emulator\b|fnqueue schedule run\b|fnqueue worker(?!.*--(burst|help))|fnqueue_worker(?!.*--burst)"
)
#: Servers that would take a port of their own choosing.
_TAKES_PORT = (
    (re.compile(r"^flask .*fnqueue dev|^flask .* run\b"), "5000", "--port {port}"),
    (re.compile(r"^fnqueue emulator"), "9324", "--port {port}"),
    (re.compile(r"manage\.py fnqueue dev"), "8000", "--port {port}"),
    (re.compile(r"manage\.py runserver"), "8000", "{port}"),
)


#: What differs at each run, as a page shows it -> what it may be. `...` stands for anything.
_KINDS = {
    r"\d{4}-\d\d-\d\dT[\d:.+]+": r"[\dT:.+-]+",
    r"\d\d:\d\d:\d\d": r"\d\d:\d\d:\d\d",
    r"\b[0-9a-z]{26}\b": r"[0-9a-z]{26}",
    r"\bpid \d+": r"pid \d+",
    r"\bpython 3\.\d+\.\w+": r"python 3\.\d+\.\w+",
    r"\b\d+ ms\b": r"[\d.]+ m?s",
    r"\b\d\.\d s\b": r"[\d.]+ m?s",
    r"\bin \d\.\d\ds": r"in [\d.]+s",  # pytest's
}
_DIFFERS = re.compile(f"({'|'.join([re.escape('...'), *_KINDS])})")

#: Of Flask's web process, of Django's, and of the worker: said once each time that they begin.
RESTARTED = ("Restarting with", "development server at http", ", pid ")


class LeftOut(Exception):
    """What this machine cannot do, and so nothing of what comes after it on the page."""


class Trouble(AssertionError):
    """A page does not do what it says."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


@dataclass
class Running:
    command: str  # as the page has it
    full: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM) -> None:
        """The command and what it started: they are a session of their own."""
        for patience in (3, 12):  # at the second signal a worker waits for nothing more, not even for SQS's long poll
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
        with contextlib.suppress(ProcessLookupError):  # whatever a command that went away left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Project:
    """`folder` is an empty one. Use it as a context manager: what was started ends with it."""

    folder: Path
    work: Path = Path("home/ada/shop")  # shown as /home/ada/shop
    running: list[Running] = field(default_factory=list)
    ports: dict[str, str] = field(default_factory=dict)
    session: subprocess.Popen[str] | None = None
    did: list[str] = field(default_factory=list)

    def __enter__(self) -> Project:
        self.work = self.folder / self.work
        self.work.mkdir(parents=True)
        (self.folder / ".curlrc").write_text("silent\nshow-error\n")  # as it is on a terminal
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        return self

    def __exit__(self, *exc: object) -> None:
        for running in reversed(self.running):
            running.end()
        if self.session is not None:
            with self.session as session:
                session.communicate(timeout=SECONDS)

    # ---------------------------------------------------------------- blocks

    def do(self, block: Block) -> None:
        if block.not_run is not None:
            return
        self.did.append(block.where)
        if block.output_of is not None:
            self._has_said(block)
        elif block.language == "browser":
            self._visit(block)
        elif is_shell(block):
            for command, output in commands(block):
                self._type(block, command, output)
        elif block.file is not None:
            self._make(block)
        elif block.language in ("python", "pycon"):
            self._snippet(block)
        elif block.language not in ("text", "ini", "toml", "html", "json", "js"):
            raise Trouble(block.where, f"nobody knows what to do with a block of {block.language!r}")

    def _make(self, block: Block) -> None:
        assert block.file is not None
        path = self._cwd() / block.file
        text = self._with_ports(block.text)
        if block.changes:
            if not path.exists():
                raise Trouble(block.where, f"changes {block.file}, which the page has not made")
            text = merged(path.read_text(), text) if path.suffix == ".py" else path.read_text() + text
        path.parent.mkdir(parents=True, exist_ok=True)
        reloads = self._reloading() if path.exists() and re.fullmatch(r"(?!test).*\.py", path.name) else []
        path.write_text(text)
        if path.suffix == ".py":
            try:
                ast.parse(text)
            except SyntaxError as error:
                raise Trouble(block.where, f"{block.file} is no Python: {error}") from None
        for running, said in reloads:
            self._until_reloaded(block, running, said)

    def _until_reloaded(self, block: Block, running: Running, said: dict[str, int]) -> None:
        """A file that only one of the processes has imported starts only that one anew: the others get their time."""
        self._until(block, running, lambda now: any(now.count(word) > times for word, times in said.items()))
        end = time.monotonic() + 15
        while time.monotonic() < end and any(running.said.count(word) == times for word, times in said.items()):
            time.sleep(0.05)
        self._until_it_serves(block, running)

    def _reloading(self) -> list[tuple[Running, dict[str, int]]]:
        """Of each server that watches its files: how often it has said what it says when it starts anew."""
        dev = [each for each in self.running if " dev" in each.command and each.process.poll() is None]
        return [(each, {word: each.said.count(word) for word in RESTARTED if word in each.said}) for each in dev]

    def _snippet(self, block: Block) -> None:
        if self.session is None:
            with (self.folder / "session.log").open("wb") as log:
                self.session = subprocess.Popen(
                    [sys.executable, "-m", "tests.docs.session"],
                    cwd=self._cwd(),
                    env={**self._environment(), "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        assert self.session.stdin is not None and self.session.stdout is not None
        asked = {"where": block.where, "language": block.language, "text": self._with_ports(block.text)}
        self.session.stdin.write(json.dumps(asked) + "\n")
        self.session.stdin.flush()
        line = self.session.stdout.readline()
        if not line:
            raise Trouble(block.where, f"the snippet ended Python:\n{(self.folder / 'session.log').read_text()}")
        trouble = json.loads(line)["trouble"]
        if trouble is not None:
            raise Trouble(block.where, f"\n{block.text}\n{trouble}")

    def _visit(self, block: Block) -> None:
        found = re.fullmatch(r"(\S+) click (\S+), (\S+) says: (.+)", block.text)
        if not found:
            raise Trouble(block.where, f"nobody knows how to visit {block.text!r}")
        if CHROMIUM is None:
            raise LeftOut(f"{block.where} needs chromium")
        url, button, place, text = found.groups()
        with in_chromium() as page:
            page.goto(self._with_ports(url))
            page.click(button)
            try:
                page.wait_for_function(
                    "([at, text]) => document.querySelector(at).textContent == text", arg=[place, text]
                )
            except Exception as error:
                raise Trouble(block.where, f"{place} says {page.text_content(place)!r}: {error}") from None

    # ---------------------------------------------------------------- commands

    def _type(self, block: Block, command: str, output: list[str]) -> None:
        if command == "^C":
            self.running[-1].end(signal.SIGINT)
        elif command.startswith(("pip install ", "python -m pip install ")):
            self._is_installed(block, command)
        elif _SERVES.search(command):
            self._start(block, command, output)
        else:
            self._run(block, command, output)

    def _run(self, block: Block, command: str, output: list[str]) -> None:
        script = (
            f"{self._state()}\n{self._with_ports(command)}\n"
            f'code=$?; {{ export -p; echo "cd $(printf %q "$PWD")"; }} > {shlex.quote(str(self._state_file))}\n'
            "exit $code"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.work,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        said = self._as_shown(done.stdout)
        refused = any(line.startswith(("fnqueue: ", "Usage: ", "Error: ")) for line in output)
        if done.returncode != 0 and not refused and "FAILED" not in "".join(output):
            raise Trouble(block.where, f"$ {command}\nended with {done.returncode}:\n{said}{self._all_said()}")
        if output and not matches("\n".join(output), said):
            raise Trouble(block.where, f"$ {command}\nprinted:\n{said}\nand not:\n" + "\n".join(output))

    def _start(self, block: Block, command: str, output: list[str]) -> None:
        full = self._with_ports(command)
        for pattern, port, words in _TAKES_PORT:
            if pattern.search(command) and not re.search(r" --?p(ort)?\b", command):
                full += " " + words.format(port=self.ports[port])
        log = self.folder / f"running-{len(self.running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"{self._state()}\nexec {full}"],
                cwd=self.work,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running = Running(command, full, process, log)
        self.running.append(running)
        self._until_it_serves(block, running)
        if output:
            self._until_said(block, running, "\n".join(output))

    def _until_it_serves(self, block: Block, running: Running) -> None:
        """A server is there when its port is open; a worker, when its banner is."""
        ports = [port for port in self.ports.values() if port in running.full]
        works = re.search(r"fnqueue(_worker| worker| dev)", running.command) is not None
        self._until(
            block, running, lambda said: all(map(is_open, ports)) and (not works or re.search(r", pid \d", said))
        )

    def _has_said(self, block: Block) -> None:
        found = [running for running in self.running if block.output_of in running.command]
        if not found:
            raise Trouble(block.where, f"output of {block.output_of!r}, which the page has not started")
        self._until_said(block, found[-1], block.text)

    def _until_said(self, block: Block, running: Running, wanted: str) -> None:
        self._until(block, running, lambda said: matches(wanted, self._as_shown(said), all_of_it=False))

    def _until(self, block: Block, running: Running, what: Callable[[str], object]) -> None:
        end = time.monotonic() + SECONDS
        while not what(running.said):
            if running.process.poll() is not None or time.monotonic() > end:
                raise Trouble(block.where, f"{running.command} did not come to that:\n{running.said}")
            time.sleep(0.05)

    def _is_installed(self, block: Block, command: str) -> None:
        """The distributions that a page installs are those that the tests were set up with."""
        for word in shlex.split(command, comments=True)[2:]:
            name = re.match(r"[\w.-]+", word)
            if name and name[0] != "install" and not word.startswith("-"):
                try:
                    importlib.metadata.distribution(name[0])
                except importlib.metadata.PackageNotFoundError:
                    raise Trouble(block.where, f"{command}: {name[0]} is not installed here") from None

    # ---------------------------------------------------------------- the shell's state

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.sh"

    def _state(self) -> str:
        return self._state_file.read_text() if self._state_file.exists() else ""

    def _cwd(self) -> Path:
        found = re.findall(r"^cd (.+)$", self._state(), re.M)
        return Path(shlex.split(found[-1])[0]) if found else self.work

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        # As on a reader's terminal, but without colours; of what pytest put on its own path nothing.
        return environment(
            PATH=path,
            PYTHONPATH="",
            HOME=str(self.folder),
            NO_COLOR="1",
            COLUMNS="120",
            FNQUEUE_LOG_FORMAT="text",
            LC_ALL="C.UTF-8",
        )

    def _with_ports(self, text: str) -> str:
        ports = f"({'|'.join(PORTS)})"
        text = re.sub(rf"( -p| --port)[ =]{ports}\b", lambda found: f"{found[1]} {self.ports[found[2]]}", text)
        return re.sub(rf"\b(localhost|127\.0\.0\.1):{ports}\b", lambda found: f"127.0.0.1:{self.ports[found[2]]}", text)

    def _as_shown(self, text: str) -> str:
        for shown, port in self.ports.items():
            text = re.sub(rf"\b{port}\b", shown, text)
        return text.replace(str(self.folder), "")

    def _all_said(self) -> str:
        return "".join(f"\n--- {each.command}\n{each.said}" for each in self.running)


@contextlib.contextmanager
def in_chromium() -> Iterator[Any]:
    """An empty page. What goes wrong in its scripts is said by the test that waits in vain."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser.new_page()
        browser.close()


# ---------------------------------------------------------------- output


def free_ports(number: int) -> list[str]:
    """Ports of 127.0.0.1 that nobody listens on now, each another."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]


def is_open(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def matches(wanted: str, said: str, *, all_of_it: bool = True) -> bool:
    """Whether `said` has the lines that are wanted, one after another; `...` stands for anything, or for any lines.

    Spaces count as one; times, ids and the like stand for any of their kind. Without `all_of_it` other lines may
    stand between.
    """
    lines = [_line(line) for line in wanted.strip().splitlines() if line.strip()]
    there = [" ".join(line.split()) for line in said.strip().splitlines() if line.strip()]
    return _match(lines, there, gaps=not all_of_it)


def _match(wanted: list[str], there: list[str], *, gaps: bool) -> bool:
    if not wanted:
        return gaps or not there
    if wanted[0] == ".*":
        return any(_match(wanted[1:], there[n:], gaps=gaps) for n in range(len(there) + 1))
    for n, line in enumerate(there):
        if re.fullmatch(wanted[0], line):
            return _match(wanted[1:], there[n + 1 :], gaps=gaps)
        if not gaps:
            return False
    return False


def _line(line: str) -> str:
    """A pattern of it: what differs at each run stands for any of its kind."""
    parts = _DIFFERS.split(" ".join(line.split()))
    return "".join(re.escape(part) if n % 2 == 0 else _kind(part) for n, part in enumerate(parts))


def _kind(part: str) -> str:
    return next((kind for shown, kind in _KINDS.items() if re.fullmatch(shown, part)), ".*")


# ---------------------------------------------------------------- changes of a file


def merged(old: str, change: str) -> str:
    """As a reader does it: what has a name that the file has replaces it, imports go to the top, the rest below."""
    lines = change.splitlines()
    for statement in ast.parse(change).body:
        text = "\n".join(lines[_begin(statement) - 1 : statement.end_lineno]) + "\n"
        kept = old.splitlines()
        twin = next((each for each in ast.parse(old).body if _name(each) and _name(each) == _name(statement)), None)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports = [each for each in ast.parse(old).body if isinstance(each, ast.Import | ast.ImportFrom)]
            at = (imports[-1].end_lineno or 0) if imports else 0
            kept[at:at] = [text.rstrip("\n")]
        elif twin is not None:
            kept[_begin(twin) - 1 : twin.end_lineno] = [text.rstrip("\n")]
        else:
            kept += ["", "", text.rstrip("\n")]
        old = "\n".join(kept) + "\n"
    return old


def _begin(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _name(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.name
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return None
