"""The house stands: who may import whom, and which door leads where.

A room imports itself and lower floors: never sideways or up, not inside functions, not under TYPE_CHECKING.
The last tests plant wrong imports and see them found, so that this file cannot pass by seeing nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUESTS = ("flask_fnqueue", "django_fnqueue")

#: floor -> rooms. A room is a module or package below `fnqueue`, or a guest.
FLOORS: dict[int, set[str]] = {
    1: {"errors", "quotas", "clock", "forks"},
    2: {"aws", "codec", "events", "database", "settings"},
    3: {"security", "broker", "store"},
    4: {"audit", "workflow", "state", "outcome", "context", "policies"},
    5: {"task", "middleware", "schedule"},
    6: {"backends", "registry", "dispatch", "claims", "held", "execution", "emulator"},
    7: {"app", "acting", "lambdas", "hooks", "runtime", "reads", "keeping", "sealing", "operating", "scheduling"},
    8: {"worker", "dashboard", "observe"},
    9: {"cli", "testing", "compat"},
    10: {"flask_fnqueue", "django_fnqueue", "__main__"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}

#: Rooms of one floor that are one thing in several files: the wiring, and the way from a call to a delivery.
TOGETHER = [
    {"app", "acting", "lambdas", "hooks", "runtime", "reads", "keeping", "sealing", "operating", "scheduling"},
    {"registry", "dispatch", "claims", "held", "execution", "backends"},
]

#: library -> where it may be imported (path prefixes below the root).
AWS = (
    "fnqueue/aws",
    "fnqueue/broker/sqs",
    "fnqueue/store/dynamodb",
    "fnqueue/schedule/eventbridge",
    "fnqueue/security/kms/client",
    "fnqueue/security/secrets_manager",
    "fnqueue/security/blobs",
    "fnqueue/testing/aws",
)
DOORS: dict[str, tuple[str, ...]] = {
    "boto3": AWS,
    "botocore": AWS,
    "redis": ("fnqueue/store/redis",),
    "sqlite3": ("fnqueue/database",),
    "uvicorn": ("fnqueue/emulator",),
    "uvloop": ("fnqueue/emulator",),
    "importlib": ("fnqueue/backends", "fnqueue/lambdas", "fnqueue/cli/", "integrations/"),
    "cfnlint": (),
    "yaml": (),
    "pickle": (),
    "marshal": (),
    "shelve": (),
    "flask": ("integrations/flask_fnqueue",),
    "flask_login": ("integrations/flask_fnqueue",),
    "sqlalchemy": ("integrations/flask_fnqueue",),
    "django": ("integrations/django_fnqueue",),
}


def sources() -> list[Path]:
    return sorted([*(ROOT / "fnqueue").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")])


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "integrations":
        return parts[1]
    return parts[1].removesuffix(".py") if len(parts) > 1 else ""


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported name, wherever it stands; `from fnqueue import x` counts as `fnqueue.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "fnqueue":
                yield from (f"fnqueue.{alias.name}" for alias in node.names)
            else:
                yield node.module


def target_room(name: str) -> str | None:
    top, _, rest = name.partition(".")
    if rest == "__version__":
        return None
    if top in GUESTS:
        return top
    return rest.partition(".")[0] if top == "fnqueue" and rest else None


def may(own: str, other: str) -> bool:
    if own == other or any({own, other} <= group for group in TOGETHER):
        return True
    return FLOOR[other] < FLOOR[own]


def faults(path: Path, text: str) -> list[str]:
    own, shown, found = room_of(path), path.relative_to(ROOT).as_posix(), []
    public = {"__init__"} if own == "__init__" else set()
    for name in imports(ast.parse(text)):
        other = target_room(name)
        if other is not None and not public and not (FLOOR[own] == 10 and other not in FLOOR):
            if other not in FLOOR:
                found.append(f"{shown}: {name} is in no room")
            elif not may(own, other):
                found.append(f"{shown}: {own} (floor {FLOOR[own]}) imports {other} (floor {FLOOR[other]})")
        door = name.partition(".")[0]
        if door in DOORS and not shown.startswith(DOORS[door]):
            found.append(f"{shown}: {door} may be imported only in {DOORS[door] or 'no file'}")
    if own not in public and any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(ast.parse(text))):
        found.append(f"{shown}: relative import")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.append(f"{shown}: {node.func.id}()")
    return found


def test_every_file_has_a_room() -> None:
    unknown = [p.as_posix() for p in sources() if room_of(p) not in FLOOR and room_of(p) != "__init__"]
    assert unknown == []


def test_a_room_imports_only_itself_and_lower_floors_and_each_library_has_its_door() -> None:
    found = [fault for path in sources() for fault in faults(path, path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("fnqueue/broker/base.py", "from fnqueue.store.base import Store"),
        ("fnqueue/errors.py", "import fnqueue.clock"),
        ("fnqueue/store/base.py", "def f():\n    from fnqueue.app import FnQueue"),
        ("fnqueue/task/task.py", "if TYPE_CHECKING:\n    from fnqueue.worker.worker import Worker"),
        ("fnqueue/task/task.py", "from fnqueue import runtime"),
        ("fnqueue/worker/worker.py", "import boto3"),
        ("fnqueue/store/base.py", "import sqlite3"),
        ("fnqueue/codec/__init__.py", "import pickle"),
        ("fnqueue/app.py", "from flask import Flask"),
        ("fnqueue/app.py", "x = eval('1')"),
        ("integrations/flask_fnqueue/__init__.py", "import django_fnqueue"),
    ],
)
def test_a_wrong_import_is_found_when_it_is_planted(file: str, planted: str) -> None:
    assert faults(ROOT / file, planted)


def test_no_import_circle() -> None:
    """Module by module, also inside a room."""
    graph: dict[str, set[str]] = {}
    modules = {_module(path): path for path in sources()}
    for name, path in modules.items():
        graph[name] = {
            target for imported in _full_imports(ast.parse(path.read_text(encoding="utf-8")))
            if (target := _known(imported, modules)) and target != name
        }  # fmt: skip
    assert _circle(graph) is None


def _module(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts[1:] if parts[0] == "integrations" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _full_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _known(name: str, modules: dict[str, Path]) -> str | None:
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    # The package itself is the public face: its rooms do not depend on what it exports.
    return parent if parent in modules and parent not in ("fnqueue",) else None


def _circle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str] | None:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return None
        for other in sorted(graph[name]):
            if found := visit(other, [*trail, name]):
                return found
        done.add(name)
        return None

    return next((found for name in sorted(graph) if (found := visit(name, []))), None)


def test_a_circle_is_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None


LONG_WITH_A_REASON: dict[str, str] = {
    "fnqueue/errors.py": "the one tree of errors, as the style asks for",
}


def test_no_file_is_over_400_lines_without_a_reason() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert {name: lines for name, lines in long.items() if name not in LONG_WITH_A_REASON} == {}


#: What a module of tasks does, and what it must not load for it: the wiring, engines and cryptography come with the
#: first call, and a worker's parts in a worker only.
TASKS = """
from fnqueue import Backoff, DeadLetter, FnQueue, Principal, RetryLater, TaskContext, current_task
from fnqueue.policies import authenticated, role
fn = FnQueue()
@fn.task(name="resize", retry=Backoff(3), policy=authenticated & role("editor"))
def resize(photo_id: int, *, width: int = 320) -> str: ...
"""
LATER = [
    *("fnqueue.runtime", "fnqueue.dispatch", "fnqueue.settings", "fnqueue.backends", "fnqueue.database"),
    *("fnqueue.execution", "fnqueue.worker", "fnqueue.broker.embedded", "fnqueue.broker.sqs", "fnqueue.store.sqlite"),
    *("fnqueue.security.envelope", "fnqueue.security.keyring", "fnqueue.security.tokens"),
    *("cryptography", "itsdangerous", "click", "boto3", "botocore", "redis", "flask", "django", "pydantic"),
    *("sqlite3", "asyncio", "logging", "urllib.parse", "http", "email", "json", "pathlib", "socket", "ssl", "ctypes"),
    *("difflib", "subprocess", "tempfile", "concurrent.futures"),
]


def loaded_by(program: str) -> set[str]:
    code = f"import sys; before = set(sys.modules)\n{program}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_a_module_with_tasks_loads_no_engine_no_framework_and_nothing_that_runs_them() -> None:
    loaded = loaded_by(TASKS)
    assert "fnqueue.task.task" in loaded, "so that the test can fail"
    assert [name for name in LATER if name in loaded] == []


def test_importing_fnqueue_alone_loads_next_to_nothing() -> None:
    assert [name for name in loaded_by("import fnqueue") if name.startswith(("fnqueue.", "msgspec", "inspect"))] == []


def test_a_web_process_that_defers_loads_nothing_that_executes_and_no_engine_but_its_own() -> None:
    loaded = loaded_by(
        'from fnqueue import FnQueue\nfn = FnQueue(url="sqlite://")\n'
        '@fn.task(name="f")\ndef f() -> None: ...\nf.defer()'
    )
    assert {"fnqueue.dispatch", "sqlite3"} <= loaded
    never = ("fnqueue.execution", "fnqueue.worker", "fnqueue.broker.sqs", "botocore")
    assert [name for name in loaded if name.startswith(never)] == []


def test_all_names_of_the_public_surface_are_there_and_no_others() -> None:
    import fnqueue

    for name in fnqueue.__all__:  # imported when first used
        getattr(fnqueue, name)
    visible = {
        name
        for name, value in vars(fnqueue).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("fnqueue")
    }
    visible |= {"current_task", "State", "__version__"}  # a proxy, an alias, a text: they name no module
    assert set(fnqueue.__all__) == visible


def test_the_types_of_the_public_surface_are_those_of_the_names() -> None:
    """`__init__.pyi` is what editors and mypy read; it imports each name from where `__init__.py` does."""
    import fnqueue

    stub = ast.parse((ROOT / "fnqueue" / "__init__.pyi").read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    (listed,) = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert imported == fnqueue._HOME
    assert ast.literal_eval(listed) == fnqueue.__all__


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest takes the second for the first and refuses to run both, which nobody sees who runs one folder."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
