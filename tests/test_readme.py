"""Every block of the README is run: its Python by Python, its shell lines by the commands' own parsers."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from flask_fnqueue.cli import cli as flask_cli
from fnqueue import DeadLetter, RetryLater
from fnqueue.cli.main import cli
from fnqueue.policies import service
from fnqueue.settings import names
from tests.commands import environment, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]
LINES = [line for language, text in BLOCKS if not language for line in text.splitlines() if line.strip()]


def block(beginning: str) -> str:
    (found,) = [text for text in PYTHON if text.startswith(beginning)]
    return found


def python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, timeout=40
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_python_block_is_run_here():
    beginnings = ["# shop.py", "# shop/tasks.py", "send_invoice.defer(7)", "# test_shop.py"]
    assert sorted(PYTHON) == sorted(block(beginning) for beginning in beginnings)


@pytest.mark.system
def test_the_first_block_is_an_application_whose_call_runs(tmp_path):
    (tmp_path / "shop.py").write_text(block("# shop.py"))
    sent = "import shop; r = shop.app.test_client().post('/photos/7'); print(r.status_code, r.json['status'])"
    code, status = python(sent, tmp_path).split()
    assert code == "202"
    done = run("flask", "--app", "shop", "fnqueue", "worker", "--burst", "--log-format", "text", cwd=tmp_path)
    assert "SUCCESS shop.thumbnail" in done.stderr
    asked = f"import shop; r = shop.app.test_client().get({status!r}).json; print(r['state'], r['result'])"
    assert python(asked, tmp_path) == "SUCCESS photo 7 at 400 px"
    assert sorted(path.name for path in (tmp_path / "instance").iterdir() if path.suffix in (".db", ".keys")) == [
        "fnqueue.db",
        "fnqueue.keys",
    ]


@pytest.mark.system
def test_the_block_without_a_framework_runs_by_the_command_below_it(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tasks.py").write_text(block("# shop/tasks.py"))
    python("from shop import tasks; tasks.order_paid(7)", tmp_path)
    (line,) = [line for line in LINES if line.startswith("fnqueue worker")]
    done = run(*shlex.split(line), "--burst", "--log-format", "text", cwd=tmp_path)
    assert "SUCCESS shop.tasks.send_invoice" in done.stderr


@pytest.mark.system
def test_the_test_block_passes_beside_the_first_block(tmp_path):
    (tmp_path / "shop.py").write_text(block("# shop.py"))
    (tmp_path / "test_shop.py").write_text(block("# test_shop.py"))
    done = run("pytest", "-q", "-p", "no:cacheprovider", "test_shop.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_each_line_of_more_of_it_does_what_it_says(fn, drain):
    @fn.task(name="shop.send_invoice", policy=service("shop"))
    def send_invoice(account_id: int) -> int:
        return account_id

    with fn.as_service("shop"):
        known: dict[str, Any] = {"fn": fn, "send_invoice": send_invoice, "RetryLater": RetryLater}
        known |= {"DeadLetter": DeadLetter, "handle": send_invoice.defer(7)}
        drain()
        for statement in ast.parse(block("send_invoice.defer(7)")).body:
            code = compile(ast.Module([statement], []), "README.md", "exec")
            if isinstance(statement, ast.Raise):
                with pytest.raises((RetryLater, DeadLetter)):
                    exec(code, known)
            else:
                exec(code, known)
        assert drain() == 3  # one at once, two of defer_many; the one in an hour is parked


# ---------------------------------------------------------------- shell lines


def commands() -> list[str]:
    """Those in blocks, and those in the running text."""
    inline = re.findall(r"`((?:flask|fnqueue|make) [^`]*)`", README)
    found = [line.partition("#")[0].strip() for line in [*LINES, *inline]]
    return sorted({line for line in found if re.match(r"flask |fnqueue |make ", line)})


@pytest.mark.parametrize("line", commands())
def test_a_command_in_the_readme_is_one(line):
    program, *words = shlex.split(line)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M)
        return
    group: click.Group = cli
    if program == "flask":
        assert words[:2] == ["--app", "shop"]
        group, words = flask_cli, words[3:]
    # All words are parsed before --help is heeded, which asks for no argument that a sentence leaves out.
    asked = CliRunner().invoke(group, [*words, "--help"])
    assert asked.exit_code == 0, asked.output
    assert asked.output.startswith("Usage:")


def test_a_setting_in_the_readme_is_one():
    settings = set(re.findall(r"FNQUEUE_([A-Z_]+)", README))
    assert settings
    assert {name.lower() for name in settings} <= {*names(), "app"}


def test_an_extra_in_the_readme_is_one():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"fnqueue\[(\w+)\]", README)) <= set(extras)


def test_every_other_line_is_known_by_its_beginning():
    known = ("pip install ", "flask --app shop fnqueue ", "fnqueue ", "make ", "curl -X POST ", "FNQUEUE_")
    assert [line for line in LINES if not line.startswith(known)] == []
