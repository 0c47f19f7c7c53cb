"""Writes the pages that follow from the code: docs/settings.md and docs/cli.md. `make docs`.

A setting's text is the `#:` comment above it in fnqueue/settings.py, a command's text is its own help: both are
written once, where they are read by whoever changes them. A test fails when the committed pages are not these.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from pathlib import Path

import click

from flask_fnqueue.cli import cli as flask_cli
from fnqueue.cli.main import cli
from fnqueue.settings import NOT_SETTINGS, PREFIX, Settings

FOLDER = Path(__file__).resolve().parent
WIDTH = 100
MADE = "<!-- Made by `make docs`. Change the code that it is made from, not this file. -->\n"

SETTINGS_HEAD = """# Settings

{made}
Every setting has one name and three spellings. The later wins:

1. the default below,
2. what your code says: Flask's `app.config`, Django's `settings.py`, or `FnQueue(...)`,
3. the environment.

| | spelling |
|---|---|
| environment | `FNQUEUE_CONCURRENCY=16` |
| Flask | `app.config["FNQUEUE_CONCURRENCY"] = 16`, or `app.config["FNQUEUE"] = {{"concurrency": 16}}` |
| Django | `FNQUEUE = {{"CONCURRENCY": 16}}` in `settings.py` |
| neither | `FnQueue(concurrency=16)` |

A list is written with commas in the environment. Nothing is read when your modules are imported: settings are read at
the first call, or when a worker starts. What is wrong is said then, all at once, and a name that is no setting is
wrong, too. The environment is not reread; a key file is.
"""

SETTINGS_END = """
## Options of the command line

These are no settings of an application: {named}. Each stands for an option of a command, in the environment only: see
[the command line](cli.md).
"""

CLI_HEAD = """# The command line

{made}
`flask --app shop fnqueue worker` and `fnqueue worker --app shop` are the same, and so are the other commands. The
first finds the application as `flask` does. The second needs no framework: `--app` takes `module`, `module:name` or
`module:create_app`, and FNQUEUE_APP stands for it.

Tables go to standard output, notes and logs to standard error. `--json` is for programs. Colours follow NO_COLOR. What
cannot be undone asks for the name of what is lost; without a terminal it wants `--yes`.
"""


# ---------------------------------------------------------------- settings


@dataclass(frozen=True)
class Described:
    section: str
    text: str
    field: Field[object]


def described() -> Iterator[Described]:
    """Every setting with the comment above it and the heading that it stands under."""
    known = {each.name: each for each in fields(Settings)}
    section, comment = "Web and worker", list[str]()
    for line in inspect.getsource(Settings).splitlines():
        line = line.strip()
        if line.startswith("# ---- "):
            section = line.removeprefix("# ---- ").removeprefix("the ").capitalize()
        elif line.startswith("#: "):
            comment.append(line.removeprefix("#: "))
        elif (name := line.partition(":")[0]) in known and comment:
            yield Described(section, " ".join(comment), known[name])
            comment = []


def settings_page() -> str:
    parts, section = [SETTINGS_HEAD.format(made=MADE)], ""
    found = list(described())
    missing = {each.name for each in fields(Settings)} - {each.field.name for each in found}
    assert not missing, f"settings without a #: comment: {', '.join(sorted(missing))}"
    for each in found:
        if each.section != section:
            section = each.section
            parts.append(f"\n## {section}\n")
        parts.append(f"\n### {PREFIX}{each.field.name.upper()}\n\n{each.text}\n\n{_facts(each.field)}\n")
    named = ", ".join(f"`{PREFIX}{name.upper()}`" for name in sorted(NOT_SETTINGS))
    return "".join([*parts, SETTINGS_END.format(named=named)])


def _facts(field: Field[object]) -> str:
    facts = [f"Default: {_shown(field.default)}."]
    if "range" in field.metadata:
        low, high = field.metadata["range"]
        facts.append(f"Range: {low:,} to {high:,}.")
    if "choices" in field.metadata:
        facts.append(f"One of: {', '.join(f'`{choice}`' for choice in field.metadata['choices'])}.")
    if "tuple" in str(field.type):
        facts.append("A list of names.")
    return " ".join(facts)


def _shown(default: object) -> str:
    if default is None:
        return "not set"
    if default == ():
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


# ---------------------------------------------------------------- commands


def cli_page() -> str:
    parts, dev = [CLI_HEAD.format(made=MADE)], flask_cli.get_command(_context(flask_cli, "flask fnqueue"), "dev")
    assert dev is not None
    for context in (*walk(_context(cli, "fnqueue")), _context(dev, "dev", _context(flask_cli, "flask fnqueue"))):
        heading = "###" if context.parent and context.parent.parent else "##"
        text = re.sub(r"[ \t]+$", "", context.get_help(), flags=re.M).strip()
        parts.append(f"\n{heading} {context.command_path}\n\n```text\n{text}\n```\n")
    return "".join(parts)


def walk(context: click.Context) -> Iterator[click.Context]:
    """The command, then what is in it, by name."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            yield from walk(_context(command, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    width = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **{**command.context_settings, **width})


def made() -> dict[str, str]:
    return {"settings.md": settings_page(), "cli.md": cli_page()}


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 and name the pages that are behind.")
def main(check: bool) -> None:
    """Write the pages that are made from the code."""
    behind = [name for name, text in made().items() if not (FOLDER / name).exists() or _read(name) != text]
    for name in behind:
        click.echo(f"docs/{name}{' is behind the code: make docs' if check else ''}")
    if check:
        raise SystemExit(1 if behind else 0)
    for name, text in made().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
