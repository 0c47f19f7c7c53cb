"""Finds the application that a command is about, and imports it.

Where it is said, the first that is: `--app`, FNQUEUE_APP, `[tool.fnqueue] app` in pyproject.toml, FLASK_APP,
DJANGO_SETTINGS_MODULE, a manage.py that names it, app.py, wsgi.py. How: `module`, `module:name`, `module:factory` or
`module:factory("argument")`; the working directory is importable. What is found is recognised by its shape: a FnQueue,
an object with `.extensions["fnqueue"]`, an `Application`, or a factory of one. So no framework is imported here, and a
Django project, which is no object, is found by the name of a function that makes an `Application` of it.
What the application's own modules raise is shown as they raised it.
"""

from __future__ import annotations

import ast
import difflib
import os
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fnqueue.app import FnQueue
from fnqueue.audit import telling
from fnqueue.cli.faults import ImportFailed
from fnqueue.cli.loading import import_module, is_there
from fnqueue.errors import AppNotFound, FnQueueError
from fnqueue.registry import Registry
from fnqueue.runtime import Runtime
from fnqueue.settings import Settings, environment_value, foreign_environment
from fnqueue.task.task import Task

NAMES = ("app", "application")
FACTORIES = ("create_app", "make_app")
FILES = ("app.py", "wsgi.py")
DJANGO = "django_fnqueue.cli:application"
DJANGO_SETTINGS = "DJANGO_SETTINGS_MODULE"
SAY_WHICH = "Say which one: --app shop:app (or shop:create_app)"
NO_INIT = "it has no fnqueue: call fn.init_app(app) where it is made"


@dataclass(frozen=True, kw_only=True)
class Application:
    """`name`: as it was found, for the banner. `import_tasks()` imports the modules with tasks, and returns
    the names of those that it looked for."""

    name: str
    runtime: Runtime
    import_tasks: Callable[[], list[str]]


def discover(given: str | None, *, needs_tasks: bool = True) -> Application:
    """The application. Raises AppNotFound with all that was tried, ImportFailed with the module's own traceback.

    Without `needs_tasks`, and where none is named but FNQUEUE_URL is, the queue of the environment's settings.
    """
    if given is None and not needs_tasks and environment_value("URL") and not any(place[2] for place in _places()):
        return of_environment()
    path = given or find_path()
    return to_application(resolve(*import_path(path)), path)


def import_path(path: str) -> tuple[ModuleType, str]:
    """The module that a path names, and the expression after it. The working directory becomes importable."""
    folder, module, expression = parse_path(path)
    for each in (folder, os.getcwd()):
        if each is not None and each not in sys.path:
            sys.path.insert(0, each)
    return import_user_module(module), expression


# ---------------------------------------------------------------- where it is said


def find_path() -> str:
    tried: list[tuple[str, str]] = [("--app", "not given")]
    for name, place, found in _places():
        if found:
            return found
        tried.append((name, place))
    width = max(len(name) for name, _ in tried)
    lines = [f"  {name.ljust(width)}  {place}" for name, place in tried]
    raise AppNotFound("\n".join(["no application was found. Looked at:", *lines, SAY_WHICH]))


def _places() -> Iterable[tuple[str, str, str | None]]:
    """Name, what to say when nothing is there, what is there."""
    yield "FNQUEUE_APP", "not set", environment_value("APP")
    yield "[tool.fnqueue] app", *_pyproject(Path("pyproject.toml"))
    yield "FLASK_APP", "not set", foreign_environment("FLASK_APP")
    yield DJANGO_SETTINGS, "not set", DJANGO if foreign_environment(DJANGO_SETTINGS) else None
    yield "manage.py", f"none of Django's in {os.getcwd()}", DJANGO if _is_django(Path("manage.py")) else None
    for file in FILES:
        yield file, f"not in {os.getcwd()}", file.removesuffix(".py") if Path(file).is_file() else None


def _is_django(manage: Path) -> bool:
    """Not every manage.py is: a project that left Flask-Script may still have one."""
    try:
        return DJANGO_SETTINGS in manage.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _pyproject(path: Path) -> tuple[str, str | None]:
    if not path.is_file():
        return f"no {path} in {os.getcwd()}", None
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("fnqueue", {})
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}", None
    app = section.get("app")
    return f"not in {path.resolve()}", app if isinstance(app, str) else None


def parse_path(path: str) -> tuple[str | None, str, str]:
    """`src/shop.py:app` -> folder to import from, dotted module, expression (empty: none was given)."""
    module, _, expression = path.partition(":")
    if not module.strip():
        raise AppNotFound(f"--app {path!r}: must be module or module:name, as shop:app")
    if not (module.endswith(".py") or os.sep in module):
        return None, module.strip(), expression.strip()
    file = Path(module).resolve()
    file = file.parent if file.name == "__init__.py" else file.with_suffix("")
    parts, folder = [file.name], file.parent
    while (folder / "__init__.py").exists():
        parts, folder = [folder.name, *parts], folder.parent
    return str(folder), ".".join(parts), expression.strip()


# ---------------------------------------------------------------- importing


def import_user_module(name: str) -> ModuleType:
    """Raises AppNotFound when there is no such module, ImportFailed when one of them raises."""
    found = import_if_there(name)
    if found is None:
        missing = next(part for part in _prefixes(name) if not is_there(part))
        near = difflib.get_close_matches(missing, _modules_here(), n=1) if "." not in missing else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AppNotFound(f"there is no module {missing!r}: looked in {os.getcwd()} and on sys.path{hint}")
    return found


def import_if_there(name: str) -> ModuleType | None:
    """The module, or None if there is none. Raises ImportFailed when it is there and raises."""
    try:
        return import_module(name) if is_there(name) else None
    except (Exception, SystemExit) as error:
        raise ImportFailed(name, error, __file__) from None


def _modules_here() -> list[str]:
    """Modules and packages of the working directory, by name."""
    return [
        path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or (path.is_dir() and "." not in path.name)
    ]


def import_modules(names: Iterable[str]) -> list[str]:
    """Import all of them (FNQUEUE_IMPORTS). Returns the names."""
    try:
        return [import_user_module(name).__name__ for name in names]
    except AppNotFound as error:
        raise AppNotFound(f"FNQUEUE_IMPORTS: {error}") from None


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


# ---------------------------------------------------------------- what is found there


def resolve(module: ModuleType, expression: str) -> Any:
    """The object that the path means. Raises AppNotFound, ImportFailed."""
    if not expression:
        return _search(module)
    name, args, kwargs = _parse(module, expression)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, _MISSING)
        if found is _MISSING:
            raise AppNotFound(f"{module.__name__!r} has no {name!r}{_has(module)}")
    if isinstance(found, Task):  # callable, as a factory is; but to call it would run it
        raise AppNotFound(f"{module.__name__}:{name} is a task: name the app, its factory or the FnQueue{_has(module)}")
    if expression.endswith(")") or (callable(found) and not is_application(found) and not _is_app(found)):
        return _call(module, name, found, args, kwargs)
    return found


def is_application(found: Any) -> bool:
    return isinstance(found, FnQueue) or _state(found) is not None


def to_application(found: Any, name: str) -> Application:
    """Raises AppNotFound for what is no application."""
    if isinstance(found, Application):
        return found
    if isinstance(found, FnQueue):
        return _of_queue(found, name)
    state = _state(found)
    if state is None:
        hint = NO_INIT if _is_app(found) else "neither an app nor a FnQueue"
        raise AppNotFound(f"{name} is {_a(type(found).__name__)}; {hint}")
    return Application(name=name, runtime=state.runtime, import_tasks=state.import_tasks)


_MISSING: Any = object()
_NONE: dict[str, Any] = {}


def _of_queue(found: FnQueue, name: str) -> Application:
    try:
        runtime = found.runtime()
    except AppNotFound as error:  # a framework's FnQueue serves many apps, and does not know which one is meant
        raise AppNotFound(f"{name} belongs to a framework's app: give --app the app, or its factory") from error
    return Application(name=name, runtime=runtime, import_tasks=lambda: import_modules(runtime.settings.imports))


def of_environment() -> Application:
    runtime = Runtime(settings=Settings.build().resolved(os.getcwd()), registry=Registry())
    telling.subscribe(runtime.events, lambda: runtime.audit)
    return Application(name="FNQUEUE_URL", runtime=runtime, import_tasks=list)


def _state(found: Any) -> Any:
    return _extensions(found).get("fnqueue")


def _is_app(found: Any) -> bool:
    return _extensions(found) is not _NONE


def _extensions(found: Any) -> dict[str, Any]:
    try:
        extensions = getattr(found, "extensions", None)
    except Exception:  # a proxy of what is not there now, as Flask's current_app
        return _NONE
    return extensions if isinstance(extensions, dict) else _NONE


def _search(module: ModuleType) -> Any:
    """app, application; create_app, make_app; the one FnQueue; an app without fnqueue, for its error."""
    apps = [getattr(module, name) for name in NAMES if hasattr(module, name)]
    for found in apps:
        if is_application(found):
            return found
    for name in FACTORIES:
        if callable(getattr(module, name, None)):
            return _call(module, name, getattr(module, name), (), {})
    # Apps first: a framework's FnQueue does not know which of its apps is meant.
    for what, is_one in (("apps", _is_made_app), ("FnQueues", _is_queue)):
        if what == "FnQueues" and _waits_for(module, apps):
            break
        found = {id(value): (name, value) for name, value in vars(module).items() if is_one(value)}
        if len(found) == 1:
            return next(iter(found.values()))[1]
        if len(found) > 1:
            names = [name for name, _ in found.values()]
            several = f"{module.__name__!r} has several {what} ({', '.join(names)})"
            raise AppNotFound(f"{several}: name one, as {module.__name__}:{names[0]}")
    if any(_is_app(found) for found in apps):
        return next(found for found in apps if _is_app(found))
    raise AppNotFound(
        f"{module.__name__!r} has no application: no {', '.join((*NAMES, *FACTORIES))}, and no FnQueue. "
        f"Name it: {module.__name__}:name"
    )


def _waits_for(module: ModuleType, apps: list[Any]) -> bool:
    """Whether there is an app, and an FnQueue of its framework that was not given to it: then that is what is wrong."""
    queues = [value for value in vars(module).values() if _is_queue(value)]
    return any(_is_app(app) for app in apps) and any(type(queue) is not FnQueue for queue in queues)


def _is_made_app(value: Any) -> bool:
    return _state(value) is not None


def _is_queue(value: Any) -> bool:
    return isinstance(value, FnQueue)


def _has(module: ModuleType) -> str:
    near = [name for name, value in vars(module).items() if not name.startswith("_") and is_application(value)]
    near += [name for name in FACTORIES if callable(getattr(module, name, None))]
    return f"; it has {', '.join(near)}" if near else ""


def _parse(module: ModuleType, expression: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """`create_app("test", debug=True)` -> its name and literal arguments. Nothing is evaluated."""
    wrong = AppNotFound(f"--app {module.__name__}:{expression}: after ':' comes a name, or a call with literals")
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise wrong from None
    if not isinstance(node, ast.Call):
        return expression, (), {}
    try:
        args = tuple(ast.literal_eval(each) for each in node.args)
        kwargs = {each.arg: ast.literal_eval(each.value) for each in node.keywords if each.arg is not None}
    except ValueError:
        raise wrong from None
    return ast.unparse(node.func), args, kwargs


def _call(module: ModuleType, name: str, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not callable(factory):
        raise AppNotFound(f"{module.__name__}:{name} is no factory but {_a(type(factory).__name__)}: leave out the ()")
    try:
        return factory(*args, **kwargs)
    except (FnQueueError, ImportFailed):
        raise
    except (Exception, SystemExit) as error:
        raise ImportFailed(f"{module.__name__}:{name}", error, __file__) from None


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
