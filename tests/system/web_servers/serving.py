"""A site, a real server before it, its visitors, and what is left when it has been told to stop.

Servers listen on 127.0.0.1, on a port that was free, and are ended by their process ids. What a call did is a line
in a file that a real worker wrote: an id that was answered and is not there exactly once was lost or doubled.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from tests.commands import PYTHON_M, Started, run, started
from tests.docs.project import free_ports

HERE = Path(__file__).parent
VISITORS = 8
SECONDS = 30.0


@dataclass(frozen=True)
class Kind:
    """A server as somebody starts it. `PORT` in its words becomes a free port."""

    framework: str
    name: str  # its distribution, and how it is started
    words: tuple[str, ...]
    program: tuple[str, ...] = PYTHON_M
    view: str = "defer"
    ends_with: int = 0  # after SIGTERM, as it is documented
    preloads: bool = False  # imports the application in a master, which then forks
    one_thread: bool = True


@dataclass
class Site:
    """The files of a site in a folder of their own, with a queue and a file of effects."""

    folder: Path
    framework: str
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shutil.copytree(HERE / f"{self.framework}_site", self.folder / "site")
        self.env = {
            "FNQUEUE_URL": f"sqlite:///{self.folder}/queue.db",
            "FNQUEUE_DEFAULT_POLICY": "public",
            "EFFECTS": f"{self.folder}/effects",
            "HOME": str(self.folder),  # gunicorn has a socket there
            "PYTHONWARNINGS": "default::ResourceWarning",
            **self.env,
        }

    @property
    def home(self) -> Path:
        return self.folder / "site"

    @contextmanager
    def served_by(self, kind: Kind, **env: str) -> Iterator[Serving]:
        (port,) = free_ports(1)
        words = [word.replace("PORT", port) for word in kind.words]
        log = self.folder / "server.log"
        family: dict[int, psutil.Process] = {}
        try:
            with started(*words, cwd=self.home, env={**self.env, **env}, log=log, program=kind.program) as server:
                serving = Serving(kind, server, int(port), family)
                server.until(lambda: serving.listens() or server.process.poll() is not None)
                assert server.process.poll() is None, f"it ended with {server.process.returncode}:\n{server.output}"
                try:
                    yield serving
                finally:
                    serving.remember()
        finally:
            for process in family.values():  # whatever went wrong: none outlives the test
                if process.is_running():
                    process.kill()

    def change(self, file: str) -> None:
        """The site's second version: written with another time than it had, as a clock may be too coarse to tell."""
        path = self.home / file
        stat = path.stat()
        path.write_text(path.read_text().replace('VERSION = "first"', 'VERSION = "second"'))
        os.utime(path, (stat.st_atime + 5, stat.st_mtime + 5))

    def effects(self) -> collections.Counter[str]:
        """What a worker does that takes all there is in the queue."""
        app = ["--app", "shop:app"] if self.framework == "flask" else []
        done = run("fnqueue", "worker", *app, "--burst", cwd=self.home, env=self.env)
        assert done.returncode == 0, done.stderr
        path = Path(self.env["EFFECTS"])
        return collections.Counter(path.read_text().split() if path.exists() else [])


@dataclass
class Serving:
    kind: Kind
    server: Started
    port: int
    #: Each process of the server that was seen, so that one which outlives its master is found.
    family: dict[int, psutil.Process]

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    # ---------------------------------------------------------------- visitors

    def get(self, text: str, seconds: float = SECONDS) -> dict[str, Any]:
        """Have `text` deferred, in a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", f"/{self.kind.view}/{text}", headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, f"{answer.status}: {body[:2000]!r}\n{self.server.output[-3000:]}"
        found: dict[str, Any] = json.loads(body)
        return found

    def crowd(self, texts: Iterable[str]) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(VISITORS) as visitors:
            return list(visitors.map(self.get, texts))

    def tolerant(self, text: str) -> dict[str, Any] | None:
        """As `get`; None when no answer comes, as from a process that was killed meanwhile."""
        try:
            return self.get(text)
        except (OSError, http.client.HTTPException):
            return None

    # ---------------------------------------------------------------- its processes

    def remember(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            master = psutil.Process(self.server.process.pid)
            self.family |= {each.pid: each for each in [master, *master.children(recursive=True)]}

    def open_files(self, pids: Iterable[int]) -> dict[int, int]:
        return {pid: psutil.Process(pid).num_fds() for pid in pids}

    def stop(self) -> str:
        """SIGTERM, to its end. What it has logged: free of trouble, and it exits as it is documented, with all its
        processes."""
        self.remember()
        self.server.signal(signal.SIGTERM)
        code = self.server.wait()
        said = self.server.output
        assert code == self.kind.ends_with, f"exit code {code}:\n{said[-3000:]}"
        _, left = psutil.wait_procs(list(self.family.values()), timeout=SECONDS)
        assert not left, f"it left {left}"
        # gunicorn leaves the socket that it listens on to Python's end, and is warned of that itself.
        ours = re.sub(
            rf"^.*ResourceWarning: unclosed <socket.*laddr=\('127.0.0.1', {self.port}\)>$", "", said, flags=re.M
        )
        for trouble in ("Traceback", "Warning: unclosed", "Exception ignored"):
            assert trouble not in ours, said[-3000:]
        return said


@dataclass
class Polled:
    """One visitor who comes again and again, each time with another text, until the answer is as it should be."""

    serving: Serving
    wanted: Callable[[dict[str, Any]], bool]
    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)

    def until_it_is_so(self) -> dict[str, Any]:
        until(self._ask, lambda: f"{self.answer}:\n{self.serving.server.output[-3000:]}")
        return self.answer

    def _ask(self) -> bool:
        self.asked.append(text := f"polled-{len(self.asked)}")
        answer = self.serving.tolerant(text)
        if answer is None:
            return False
        self.answered.append(text)
        self.answer = answer
        return self.wanted(answer)


def until(what: Callable[[], object], said: Callable[[], object], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, said()
        time.sleep(0.02)


# ---------------------------------------------------------------- the servers


def program(name: str) -> str:
    """A command of this virtualenv."""
    return str(Path(sys.executable).parent / name)


HAS_UWSGI = os.path.exists(program("uwsgi"))

_GUNICORN = ("gunicorn", "-b", "127.0.0.1:PORT")
_HTTP = ("--http-socket", "127.0.0.1:PORT")
_UWSGI = ("--master", "--processes", "3", "--need-app", "--die-on-term", "--virtualenv", sys.prefix)

GUNICORN_SYNC = Kind("flask", "gunicorn sync", (*_GUNICORN, "-w", "2", "shop:app"))
GUNICORN_THREADS = replace(
    GUNICORN_SYNC, name="gunicorn gthread", one_thread=False,
    words=(*_GUNICORN, "-w", "2", "-k", "gthread", "--threads", "4", "shop:app"),
)  # fmt: skip
GUNICORN_PRELOAD = replace(
    GUNICORN_SYNC, name="gunicorn --preload", words=(*_GUNICORN, "--preload", "-w", "4", "shop:app"), preloads=True
)
UWSGI = Kind(
    "flask", "uwsgi without threads", (*_HTTP, *_UWSGI, "--module", "shop:app"),
    program=(program("uwsgi"),), preloads=True,
)  # fmt: skip
WAITRESS = Kind(
    "flask", "waitress", ("waitress", "--listen=127.0.0.1:PORT", "shop:app"), one_thread=False, ends_with=-15
)
DJANGO_GUNICORN = replace(GUNICORN_SYNC, framework="django", words=(*_GUNICORN, "-w", "2", "desk.wsgi:application"))
UVICORN = Kind(
    "django",
    "uvicorn",
    ("uvicorn", "--port", "PORT", "desk.asgi:application"),
    view="adefer",
    one_thread=False,
    ends_with=-15,
)
HYPERCORN = replace(
    UVICORN, name="hypercorn", ends_with=0, words=("hypercorn", "-b", "127.0.0.1:PORT", "desk.asgi:application")
)
FLASK_RUN = Kind("flask", "flask run", ("flask", "--app", "shop", "run", "--debug", "--port", "PORT"), one_thread=False)
RUNSERVER = Kind(
    "django", "runserver", ("manage.py", "runserver", "127.0.0.1:PORT"), program=(sys.executable,), one_thread=False
)

ALL = [
    GUNICORN_SYNC, GUNICORN_THREADS, GUNICORN_PRELOAD, UWSGI, WAITRESS, DJANGO_GUNICORN, UVICORN, HYPERCORN,
]  # fmt: skip
