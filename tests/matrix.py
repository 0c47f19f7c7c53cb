"""`make test-matrix`: other Pythons, each with its Django, run what depends on either.

The usual tests run on one Python, with the Django of the lock file. Each further one gets a virtualenv of its own
beside it (`.venv-3.13`), with all that the lock file pins but Django. A Python that is not on this machine is named
and passed over. At the end a table says what ran; it fails if a run failed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-dev.lock"
ASKED = "import sys; print(sys.executable) if sys.version_info[:2] == ({major}, {minor}) else sys.exit(1)"
VERSIONS = """
import importlib.metadata, platform
print(platform.python_version(), *map(importlib.metadata.version, ("django", "flask")))
"""


@dataclass(frozen=True)
class Row:
    """`tests`: what is run, beneath `tests/`."""

    python: str
    django: str
    tests: tuple[str, ...]


ROWS = (
    Row("3.12", "6.0", ("integrations/django",)),
    Row("3.13", "6.1", ("integrations", "app", "testing", "state", "execution", "system/web_servers")),
)


def main() -> int:
    told, failed = [], False
    for row in ROWS:
        found = find_python(row.python)
        if found is None:
            told.append(f"Python {row.python} with Django {row.django}: not on this machine")
            continue
        python = prepare(row, found)
        code, summary = run(row, python)
        failed |= code != 0
        told.append(f"{versions(python)}: {summary}, {'passed' if code == 0 else f'FAILED ({code})'}")
    print("\n".join(["", "Other Pythons:", *(f"  {line}" for line in told)]), flush=True)
    return int(failed)


def find_python(version: str) -> str | None:
    """One that runs: a name on the PATH may be a shim of a version manager that has it switched off."""
    major, minor = version.split(".")
    for candidate in candidates(version):
        try:
            done = subprocess.run(
                [candidate, "-c", ASKED.format(major=major, minor=minor)], capture_output=True, text=True, timeout=30
            )
        except OSError:
            continue
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def candidates(version: str) -> Iterator[str]:
    yield f"python{version}"
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return
    latest = subprocess.run([pyenv, "latest", version], capture_output=True, text=True).stdout.strip()
    if latest:
        where = subprocess.run(
            [pyenv, "which", f"python{version}"],
            env={**os.environ, "PYENV_VERSION": latest},
            capture_output=True,
            text=True,
        )
        yield where.stdout.strip() or f"python{version}"


def prepare(row: Row, python: str) -> str:
    """The virtualenv's Python. Installed again when the lock file or the project's dependencies changed."""
    folder = ROOT / f".venv-{row.python}"
    own = folder / "bin" / "python"
    stamp = folder / f".dev-{_digest(row)}"
    if stamp.exists():
        return str(own)
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    constraints = folder / "constraints.txt"
    pins = LOCK.read_text().splitlines(keepends=True)
    constraints.write_text("".join(line for line in pins if not line.lower().startswith("django==")))
    pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(constraints), "-e", f"{ROOT}[dev]", f"django~={row.django}.0"], check=True)
    # Compiled, so it may be wanting: its tests are skipped then, which in CI is a failure.
    subprocess.run([*pip, "-c", str(constraints), "-e", f"{ROOT}[dev-uwsgi]"], check=False)
    stamp.touch()
    return str(own)


def run(row: Row, python: str) -> tuple[int, str]:
    """pytest's exit code and its closing line."""
    folders = [f"tests/{each}" for each in row.tests]
    workers = os.environ.get("WORKERS", "2")
    command = [python, "-m", "pytest", "-n", workers, "--dist", "loadgroup", "-p", "no:cacheprovider", *folders]
    print(f"\nPython {row.python}, Django {row.django}: {' '.join(folders)}", flush=True)
    closing = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            closing = line.strip(" =\n") if re.search(r"\d+ (passed|failed|error)", line) else closing
    return running.returncode, closing


def versions(python: str) -> str:
    done = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    found, django, flask = done.stdout.split()
    return f"Python {found}, Django {django}, Flask {flask}"


def _digest(row: Row) -> str:
    made_of = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + row.django.encode()
    return hashlib.sha256(made_of).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
