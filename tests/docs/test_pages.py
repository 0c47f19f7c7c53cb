"""README.md and docs/ say what is so: every block is run, every command, setting and link is one.

Each page is followed in a folder of its own, from its first block to its last, as a reader would. What cannot be run
here is listed in NOT_RUN, with the page's own reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from django_fnqueue.cli import cli as django_cli
from flask_fnqueue.cli import cli as flask_cli
from fnqueue.cli.main import cli
from fnqueue.settings import NOT_SETTINGS, names
from tests.commands import run
from tests.docs.pages import ROOT, Page, commands, is_shell, page, pages
from tests.docs.project import LeftOut, Project

PAGES = [each.name for each in pages()]
ALL_TEXT = {each.name: each.text for each in pages()}

#: page -> why some of its blocks are not run. A new one is to be thought about, so it is to be written here, too.
NOT_RUN: dict[str, list[str]] = {
    "README.md": ["CI runs them by themselves"],
    "docs/deploying-web.md": [
        "it has to be compiled first; tests/system/web_servers starts it",
        "tests/system/web_servers starts them, with a project of its own",
    ],
    "docs/tutorial-django.md": ["the tests have a virtualenv already"],
    "docs/tutorial-flask.md": ["the tests have a virtualenv already"],
}


# ---------------------------------------------------------------- every block


@pytest.mark.system
@pytest.mark.parametrize("name", PAGES)
def test_a_reader_can_follow_the_page_from_its_first_block_to_its_last(name, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("the pages ask their servers with curl, which is not installed")
    here = page(name)
    work = "home/ada" if re.search(r"^cd |&& cd ", here.text, re.M) else "home/ada/shop"
    with Project(tmp_path, Path(work)) as project:
        try:
            for block in here.blocks():
                project.do(block)
        except LeftOut as error:
            pytest.skip(str(error))
        if name == "README.md":
            the_readme_kept_its_word(project)


def the_readme_kept_its_word(project: Project) -> None:
    """What its sentences promise beside its blocks."""
    kept = {path.name for path in (project.work / "instance").iterdir() if path.suffix in (".db", ".keys")}
    assert kept == {"fnqueue.db", "fnqueue.keys"}  # "the queue is instance/fnqueue.db, its key lies beside it"


def test_what_is_not_run_is_listed_here_with_its_reason():
    found = {each.name: [b.not_run for b in each.blocks() if b.not_run is not None] for each in pages()}
    for name, reasons in found.items():
        for reason in reasons:
            print(f"not run: {name}: {reason}")
    assert {name: reasons for name, reasons in found.items() if reasons} == NOT_RUN


# ---------------------------------------------------------------- words that name something


def inline_commands() -> list[tuple[str, str]]:
    """(page, command) of all that begins with flask, fnqueue, make or manage.py, in blocks and in the running text."""
    found = set()
    for each in pages():
        lines = [command for block in each.blocks() if is_shell(block) for command, _ in commands(block)]
        lines += re.findall(r"`((?:flask|fnqueue|make|python manage\.py fnqueue) [^`\n]*)`", each.prose)
        found |= {
            (each.name, line) for line in lines if re.match(r"(flask|fnqueue|make|python manage.py fnqueue) ", line)
        }
    return sorted(found)


@pytest.mark.parametrize(("name", "line"), inline_commands())
def test_a_command_in_a_page_is_one(name, line):
    program, *words = shlex.split(re.sub(r"\s*(&&|\||>|2>).*$", "", line), comments=True)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M)
        return
    group: click.Group = cli
    if program == "python":
        group, words = django_cli, words[2:]
    if program == "flask":
        words = words[2:] if words[0] == "--app" else words
        if words[0] != "fnqueue":
            assert words[0] in ("run", "shell")
            return
        group, words = flask_cli, words[1:]
    # All words are parsed before --help is heeded, which asks for no argument that a sentence leaves out.
    asked = CliRunner().invoke(group, [*words, "--help"])
    assert asked.exit_code == 0, asked.output
    assert asked.output.startswith("Usage:")


@pytest.mark.parametrize("name", PAGES)
def test_a_setting_in_a_page_is_one(name):
    settings = {found.lower() for found in re.findall(r"\bFNQUEUE_([A-Z][A-Z_]*[A-Z])\b", ALL_TEXT[name])}
    assert settings <= {*names(), *NOT_SETTINGS}


@pytest.mark.parametrize("name", PAGES)
def test_an_extra_in_a_page_is_one(name):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"fnqueue\[([\w,]+)\]", ALL_TEXT[name]):
        assert set(named.split(",")) <= set(extras)


@pytest.mark.parametrize("name", PAGES)
def test_a_name_of_fnqueue_in_a_page_is_one(name):
    """`fnqueue.policies`, `fnqueue.testing.in_memory`: modules, or what they have."""
    for dotted in set(re.findall(r"`((?:fnqueue|flask_fnqueue|django_fnqueue)(?:\.\w+)+)`", page(name).prose)):
        if not dotted.endswith((".db", ".keys", ".blobs")):  # files
            assert is_importable(dotted), f"{name}: {dotted} is nothing"


def is_importable(dotted: str) -> bool:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        if importlib.util.find_spec(parts[0]) and _spec(module):
            found = importlib.import_module(module)
            for part in parts[length:]:
                found = getattr(found, part, None)
            return found is not None
    return False


def _spec(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def test_the_pages_made_from_the_code_are_those_of_the_code_now():
    # In a process of its own: click keeps the help option that it made first, for whichever group asked.
    done = run("docs.generate", "--check", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- links


def broken_links(among: list[Page]) -> list[str]:
    known = {each.name: each for each in among}
    found = []
    for each in among:
        for link in each.links():
            if "://" in link or link.startswith("mailto:"):
                found += [] if link.startswith("https://") else [f"{each.name}: {link} is not https"]
                continue
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(each.name), path)) if path else each.name
            if target not in known and not (ROOT / target).exists():
                found.append(f"{each.name}: {link} is not there")
            elif anchor and target in known and anchor not in known[target].anchors():
                found.append(f"{each.name}: {link} is no heading")
    return found


def test_every_link_leads_somewhere():
    assert broken_links(pages()) == []


def test_every_page_is_reached_from_the_index_and_the_index_from_the_readme():
    linked = {os.path.basename(link.partition("#")[0]) for link in page("docs/index.md").links()}
    assert {os.path.basename(name) for name in PAGES if name.startswith("docs/")} - {"index.md"} <= linked
    assert "docs/index.md" in page("README.md").links()


@pytest.mark.parametrize("name", ["gunicorn", "uWSGI", "waitress", "uvicorn", "hypercorn", "Flask", "Django"])
def test_the_servers_in_the_page_are_those_that_are_tested(name):
    pins = dict(line.lower().split("==") for line in (ROOT / "requirements-dev.lock").read_text().splitlines())
    assert f"{name} {pins[name.lower()]}" in ALL_TEXT["docs/deploying-web.md"]
