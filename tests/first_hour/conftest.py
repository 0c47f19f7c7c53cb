"""What a newcomer is told in the first hour, compared with texts/*.txt, which are there to be read and judged.

Every situation is produced for real. `pytest tests/first_hour --write-texts` writes the files anew; read the
difference before you commit it. What differs from run to run (paths, ids, ports, times) is replaced.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fnqueue.settings import names
from tests.commands import run

TEXTS = Path(__file__).parent / "texts"
ROOT = Path(__file__).resolve().parents[2]
HEAD = "## "
#: In this order.
VARYING: list[tuple[str, str]] = [
    (r"\b\d\d:\d\d:\d\d\b", "12:00:00"),
    (r"\b0[0-9a-hjkmnp-tv-z]{25}\b", "<id>"),
    (r"(?<=http://127\.0\.0\.1:)\d+|(?<=port )\d{4,5}", "<port>"),
    (r"(?<=pid )\d+", "<pid>"),
    (r"(?<=python )3\.\d+\.\d+\w*", "3.x"),
    (r"(?<= key )[a-z2-7]{8}\b|(?<=^  key          )[a-z2-7]{8}\b|(?<=primary )[a-z2-7]{8}\b", "<key id>"),
    (r"(?<=changed )20\d\d-\d\d-\d\d", "<date>"),
    (r"\b\d+(\.\d+)? (ms|s)(?=, )", "<time>"),
    (r"(?<=at )0x[0-9a-f]+", "0x..."),
]


@pytest.fixture(autouse=True)
def _nothing_of_the_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*names(), "app"]:
        monkeypatch.delenv(f"FNQUEUE_{name.upper()}", raising=False)
    for name in ("FLASK_APP", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The newcomer's project, and working directory; shown as /srv/shop."""
    path = tmp_path / "shop"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setattr(sys, "path", [str(path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(path)):
            del sys.modules[name]


class Says:
    """Collects what one situation says, and compares it with its section at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.replaced: list[tuple[str, str]] = []

    def note(self, text: object) -> None:
        self.lines.append(str(text).rstrip())

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / f"{name.replace('___init', '/__init__').replace('__tasks', '/tasks')}.py"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)

    def python(self, code: str, **names: Any) -> dict[str, Any]:
        """Run one statement here, with `names`; note it and the error that it raises, if it does."""
        self.note("\n".join((">>> " if n == 0 else "... ") + line for n, line in enumerate(code.strip().split("\n"))))
        try:
            exec(code, names)
        except Exception as error:
            self.note(f"{type(error).__name__}: {error}")
        return names

    def command(
        self, *arguments: str, env: dict[str, str] | None = None, shown: dict[str, str] | None = None, as_: str = ""
    ) -> str:
        """Run a command as a process; note what it prints, and its exit code. `env` is noted, as `shown` if given."""
        ended = run(*arguments, cwd=self.folder, env={"PYTHONPATH": "", **(env or {})})
        line = " ".join([f"{name}={value}" for name, value in (shown or env or {}).items()] + [as_ or _line(arguments)])
        self.note(f"$ {line}")
        for text in (ended.stdout, ended.stderr):
            if text:
                self.note(text)
        self.note(f"[exit {ended.returncode}]")
        return ended.stdout + ended.stderr

    def check(self, *arguments: str, **given: Any) -> str:
        return self.command("fnqueue", "--app", "shop", "check", *arguments, **given)

    def worker(self, *arguments: str, **given: Any) -> str:
        return self.command(
            "fnqueue", "--app", "shop", "worker", "--burst", "--log-format", "text", *arguments, **given
        )

    def text(self) -> str:
        text = "\n".join(self.lines)
        for before, after in [
            *self.replaced,
            (str(self.folder), "/srv/shop"),
            (str(self.folder.parent), "/srv"),
            (str(ROOT), "/src/fnqueue"),
        ]:
            text = text.replace(before, after)
        for pattern, shown in VARYING:
            text = re.sub(pattern, shown, text, flags=re.MULTILINE)
        # Each version of Python points differently at the place in a line.
        lines = [line.rstrip() for line in text.split("\n") if not re.fullmatch(r" +[~^]+ *", line)]
        return "\n".join(lines).strip()


def _line(arguments: tuple[str, ...]) -> str:
    return " ".join(f"'{each}'" if re.search(r"[ ()*]", each) else each for each in arguments)


@pytest.fixture
def says(folder: Path, request: pytest.FixtureRequest) -> Iterator[Says]:
    made = Says(folder)
    yield made
    path = TEXTS / f"{request.path.stem.removeprefix('test_first_hour_')}.txt"
    title = request.node.name.removeprefix("test_").replace("_", " ")
    if request.config.getoption("--write-texts", default=False):
        _write(path, title, made.text(), titles(request.path))
        return
    assert made.text() == sections(path).get(title), (
        f"{path.name} says otherwise; meant? pytest tests/first_hour --write-texts"
    )


def sections(path: Path) -> dict[str, str]:
    """Title -> text."""
    parts = re.split(rf"^{HEAD}", path.read_text() if path.exists() else "", flags=re.MULTILINE)[1:]
    return {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}


def _write(path: Path, title: str, text: str, order: list[str]) -> None:
    kept = sections(path) | {title: text}
    path.write_text("\n".join(f"{HEAD}{each}\n\n{kept[each]}\n" for each in order if each in kept))


def titles(module: Path) -> list[str]:
    """Of all situations of a file, in its order. A section of no situation is left out when texts are written."""
    found = re.findall(r"^def test_(\w+)\(", module.read_text(), flags=re.MULTILINE)
    return [name.replace("_", " ") for name in found]
