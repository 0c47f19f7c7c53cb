"""All settings, once, whole.

Built from a mapping (Flask's config, Django's FNQUEUE) and the environment (`FNQUEUE_*`, which wins),
and validated together: every fault is reported at once. The only module that reads the environment,
and never at import. Durations end in `_seconds`. Knows nothing of engines: whether a url needs more
settings is asked in `backends`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fnqueue import quotas
from fnqueue.errors import SettingsInvalid

PREFIX = "FNQUEUE_"


def _number(low: float, high: float, default: float | None) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Frozen. Make it with `Settings.build`. Every name here is `FNQUEUE_<NAME>` in the environment."""

    #: The queue: `sqlite:///file`, `sqlite://` (memory), `sqs://region/prefix?endpoint=...`. A relative file lies in
    #: Flask's instance folder, in Django's BASE_DIR, else in the working directory.
    url: str = "sqlite:///fnqueue.db"
    #: Where records are kept: results and states, `once`, `dedupe`, long delays. Unset: the queue's own file for
    #: sqlite, none for sqs. "none": none.
    store_url: str | None = None
    #: Part of every seal: staging cannot run production's messages by accident. Must be named on Amazon SQS.
    environment: str = "default"
    #: Key ring, as text: what `fnqueue keys new` prints; or `secretsmanager://REGION/NAME`, a secret of AWS with that
    #: text, read again once a minute. Never shown. Unset with sqlite: a file `fnqueue.keys` beside
    #: the database, made at first use. On SQS this, or FNQUEUE_KEYS_FILE, must be given.
    keys: str | None = field(default=None, repr=False)
    #: A file with the key ring, mode 0600; read again when it changes.
    keys_file: str | None = None
    #: Suites that are taken: `split`, or `signed,split`, or for one queue `mail=signed|split`. Unset: each of which
    #: there is a key. Refuses the messages of a key that is still in the ring, and of a suite that is not wanted here.
    suites: tuple[str, ...] = ()
    #: The policy of tasks that have none. Unset: on SQLite anybody may defer them, and the worker's banner lists them;
    #: on SQS web and worker do not start.
    default_policy: str | None = field(default=None, metadata={"choices": ("authenticated", "public")})
    #: "once": tasks with once=True have a record by which a copy of a call is known and not run. "required": all have,
    #: at the cost of a write for each run; no call runs while the store cannot be asked.
    replay: str = field(default="once", metadata={"choices": ("once", "required")})
    #: "full": `defer` returned means on disk. "relaxed": a power cut may lose the last moments.
    durability: str = field(default="full", metadata={"choices": ("full", "relaxed")})
    #: Bytes a sealed body may have; unset: the engine's own limit.
    max_body_bytes: int | None = _number(1024, quotas.BODY_BYTES_MAX, None)
    #: Where arguments and results are kept, sealed, that are too large for a message or a record: `s3://bucket/prefix`
    #: (`?region=`, `?endpoint=`, `?profile=`), `file:///folder`. Unset: with a sqlite file the folder `<name>.blobs`
    #: beside it, made at first use; on SQS nowhere, and they are refused. "none": nowhere.
    blobs_url: str | None = None
    #: Modules with tasks that a worker imports. All must be there. What the application itself imports counts anyway;
    #: unset, Flask's app and blueprints are looked beside for a module `tasks`.
    imports: tuple[str, ...] = ()
    #: Queues whose calls may have a high or low priority on SQS, where each is a queue of its own. "*": all.
    priority_queues: tuple[str, ...] = ()
    #: Where `fn.status_url` points without a framework. Flask and Django have a route of their own.
    status_url: str = "/fnqueue/status/{token}"

    #: Folder of the audit: signed lines of who was denied what, and what operators did. Unset: only the logger
    #: `fnqueue.audit`. Each process makes a file of its own.
    audit_dir: str | None = None

    # ---- the worker
    #: Threads that run tasks.
    concurrency: int = _number(1, 1000, 8)
    #: Coroutine tasks that run at once, on one loop.
    async_concurrency: int = _number(1, 10_000, 100)
    #: How long a message is hidden at each receive; the heartbeat renews it at half.
    visibility_seconds: int = _number(1, quotas.VISIBILITY_SECONDS_MAX, 60)
    #: Asked at each receive on SQS. 20 is its maximum, and the cheapest.
    wait_time_seconds: int = _number(0, quotas.WAIT_TIME_SECONDS_MAX, 20)
    #: How often revocations are read, and leases looked at.
    heartbeat_seconds: float = _number(0.05, 300, 5.0)
    #: How long running tasks may go on after SIGTERM.
    shutdown_timeout_seconds: float = _number(0, 86_400, 25.0)
    #: Recorded starts without an outcome after which a message goes to the dead-letter queue.
    max_crashes: int = _number(1, 100, 3)
    #: How long an unknown task or key is waited for before the message is dead-lettered.
    unknown_grace_seconds: float = _number(0, quotas.RETENTION_SECONDS_MAX, 3600.0)
    #: "text", "json", or "auto": text on a terminal.
    log_format: str = field(default="auto", metadata={"choices": ("auto", "text", "json")})

    @classmethod
    def build(
        cls, mapping: Mapping[str, Any] | None = None, *, environment: Mapping[str, str] | None = None, **overrides: Any
    ) -> Settings:
        """Defaults, then `mapping`, then `overrides`, then the environment.

        `mapping` has names as here or with FNQUEUE_, in any case. Raises SettingsInvalid with all faults.
        """
        faults: list[str] = []
        values: dict[str, Any] = {}
        env = os.environ if environment is None else environment
        given = [*_named(mapping or {}, ""), *_named(overrides, ""), *_named(env, PREFIX)]
        for shown, name, value in given:
            _take(values, shown, name, value, faults)
        if faults:
            raise SettingsInvalid(faults)
        return cls(**values)

    def resolved(self, base: str | Path) -> Settings:
        """The same with relative SQLite paths and the key file made absolute under `base`."""
        changed = {
            "url": _absolute(self.url, base),
            "store_url": _absolute(self.store_url, base) if self.store_url else None,
            "keys_file": str(Path(base, self.keys_file)) if self.keys_file else None,
            "audit_dir": str(Path(base, self.audit_dir)) if self.audit_dir else None,
        }
        return Settings(**{f.name: changed.get(f.name, getattr(self, f.name)) for f in fields(self)})


def merged(mapping: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Both as one mapping: `environment` is no keyword of `build`."""
    return {**(mapping or {}), **overrides}


def names() -> list[str]:
    return [f.name for f in fields(Settings)]


def environment_value(name: str) -> str | None:
    """`FNQUEUE_<name>` that is no setting of an application: FNQUEUE_APP, say."""
    return os.environ.get(PREFIX + name)


def foreign_environment(name: str) -> str | None:
    """A variable of another program that users expect us to heed: NO_COLOR, FLASK_APP."""
    return os.environ.get(name)


#: Names under FNQUEUE_ that are for the command line or for tests, and no settings: a web process may share its
#: environment.
NOT_SETTINGS = frozenset(
    {
        "allow_empty",
        "app",
        "burst",
        "chaos_seed",
        "health_file",
        "log_level",
        "max_tasks",
        "no_schedule",
        "queues",
        "reload",
        "schedule_role_arn",
        "worker_name",
    }
)


#: What people look for among the settings, and where it is.
_ELSEWHERE = {"eager": "; a test that wants calls to run at once says so: fnqueue.testing.in_memory(fn, eager=True)"}


def _named(mapping: Mapping[str, Any], prefix: str) -> list[tuple[str, str, Any]]:
    found = []
    for key, value in mapping.items():
        if prefix and not key.startswith(prefix):
            continue
        name = key.lower().removeprefix(PREFIX.lower())
        if not (prefix and name in NOT_SETTINGS):
            found.append((key, name, value))
    return found


#: Words of other queues, and of ours in other places -> the setting.
_MEANT = {
    "backend": "store_url",
    "broker": "url",
    "broker_url": "url",
    "database_url": "url",
    "key": "keys",
    "key_file": "keys_file",
    "policy": "default_policy",
    "queue_url": "url",
    "redis_url": "url",
    "region": "url",
    "result_backend": "store_url",
    "secret_key": "keys",
    "threads": "concurrency",
    "uri": "url",
    "workers": "concurrency",
}


def _take(values: dict[str, Any], shown: str, name: str, value: Any, faults: list[str]) -> None:
    known = {f.name: f for f in fields(Settings)}
    if name not in known:
        import difflib  # only who mistakes a name pays for it

        near = [_MEANT[name]] if name in _MEANT else difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {shown[: len(shown) - len(name)]}{_like(shown, near[0])}?" if near else ""
        hint = _ELSEWHERE.get(name, hint)
        faults.append(f"{shown} is no setting of fnqueue{hint}")
        return
    spec = known[name]
    try:
        values[name] = _convert(value, spec.default if spec.default is not MISSING else None, str(spec.type))
        _check(values[name], spec.metadata)
    except ValueError as error:
        secret = not spec.repr
        faults.append(f"{shown}{'' if secret else f'={value!r}'}: {error}")


def _like(shown: str, name: str) -> str:
    return name.upper() if shown.isupper() else name


def _convert(value: Any, default: Any, kind: str) -> Any:
    if value is None or (value == "" and "None" in kind):
        return default
    convert = _CONVERTERS.get(kind.removesuffix(" | None"))
    return convert(value) if convert else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, got {type(value).__name__}")
    if not value.strip():
        raise ValueError("is empty: leave it out, or give a value")
    return value.strip()


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    try:
        return float(value)
    except ValueError:
        raise ValueError("must be a number") from None


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise ValueError("must be a list of names, or names with commas between")


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _int,
    "float": _float,
    "tuple[str, ...]": _texts,
}


def _check(value: Any, metadata: Mapping[str, Any]) -> None:
    choices = metadata.get("choices")
    if choices and value is not None and value not in choices:
        raise ValueError(f"must be one of {', '.join(map(repr, choices))}")
    bounds = metadata.get("range")
    if bounds and value is not None and not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"must be {bounds[0]:,} to {bounds[1]:,}")


def _absolute(url: str, base: str | Path) -> str:
    parts = urlsplit(url)
    if not url.startswith("sqlite:///") or not parts.path.strip("/"):
        return url
    path = parts.path[1:]  # sqlite:///relative, sqlite:////absolute
    return "sqlite:///" + str(Path(base, path)) + (f"?{parts.query}" if parts.query else "")
