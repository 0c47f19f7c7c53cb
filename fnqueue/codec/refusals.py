"""Why a value may not travel, and what to pass instead. One place words them all.

Each text follows "args[0].lines[3]", names the type and never the value.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from fnqueue.codec.shapes import has_fields, is_named_tuple, is_pydantic, is_record

_NUMPY_HINTS = (("bool", "bool(x)"), ("int", "int(x)"), ("uint", "int(x)"), ("float", "float(x)"), ("str", "str(x)"))
#: As it is said: a User, a UUID, an Upload.
_VOWEL = re.compile(r"[AEIOaeio]|[Uu](?!ser|UI|ui|ni[^nm]|RL|rl)")
_FILES = frozenset({"FileStorage", "_TemporaryFileWrapper"})  # which have `read` from what they wrap
_BARE: tuple[type, ...] = (dict, list, tuple, set, frozenset)


def refusal(value: Any) -> str:
    """What stands after the path: "is an Invoice: pass invoice.pk, not the Invoice: load it in the task"."""
    for words in _IN_ORDER:
        text = words(value)
        if text is not None:
            return text
    return f"is {_a(value)}, which cannot travel in a message: pass plain values"


def is_foreign_scalar(kind: type) -> bool:
    """numpy's and pandas' own numbers and times: some are subclasses of Python's, and none is what it seems."""
    return kind.__module__.partition(".")[0] in ("numpy", "pandas")


def article(name: str) -> str:
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"


def _a(value: Any) -> str:
    return article(type(value).__name__)


# ---------------------------------------------------------------- each kind of value


def _record(value: Any) -> str | None:
    kind = type(value)
    if not is_record(kind):
        return None
    name = kind.__name__
    return f"is {article(name)}: pass {name.lower()}.{_key_of(kind)}, not the {name}: load it in the task"


def _key_of(kind: type) -> str:
    keys = getattr(getattr(kind, "__mapper__", None), "primary_key", None)
    return str(keys[0].key) if keys else "pk" if hasattr(getattr(kind, "_meta", None), "pk") else "id"


def _records(value: Any) -> str | None:
    kind = type(value)
    if hasattr(kind, "values_list") and hasattr(kind, "as_manager"):
        return 'is a QuerySet: pass the keys, as list(queryset.values_list("pk", flat=True)), and load in the task'
    return None


def _enum(value: Any) -> str | None:
    if not isinstance(value, Enum):
        return None
    name = type(value).__name__
    return (
        f"is a member of the Enum {name}, and no annotation says so: annotate the parameter with {name}, "
        f"or pass {name}.{value.name}.value"
    )


def _fields(value: Any) -> str | None:
    kind = type(value)
    if not has_fields(kind):
        return None
    name = kind.__name__
    plain = (
        "tuple(...)"
        if is_named_tuple(kind)
        else ".model_dump()"
        if is_pydantic(kind)
        else "msgspec.structs.asdict(...)"
        if issubclass(kind, msgspec.Struct)
        else "asdict(...)"
    )
    return f"is {article(name)}, and no annotation says so: annotate the parameter with {name}, or pass {plain}"


def _numeric(value: Any) -> str | None:
    kind = type(value)
    if not is_foreign_scalar(kind):
        return None
    module, name = kind.__module__.partition(".")[0], kind.__name__
    if module == "pandas":
        return f"is a pandas {name}: pass plain values (.to_pydatetime(), .tolist(), .to_dict())"
    hints = [hint for start, hint in _NUMPY_HINTS if name.startswith(start)]
    return f"is a numpy {name}: pass {hints[0] if hints else 'x.tolist()'}"


def _subclass(value: Any) -> str | None:
    kind = type(value)
    for base in _BARE:
        if isinstance(value, base):
            name = base.__name__
            if base is dict and hasattr(value, "getlist"):
                return f"is {_a(value)}, whose keys hold several values: pass value.to_dict() or value.dict()"
            advice = f"pass {name}(value)" + (
                f", or annotate the parameter with {name}" if base in (dict, list) else ""
            )
            return f"is {article(kind.__name__)}, which would arrive as a plain {name}: {advice}"
    return None


def _buffer(value: Any) -> str | None:
    return f"is {_a(value)}: pass bytes(value)" if isinstance(value, bytearray | memoryview) else None


def _running(value: Any) -> str | None:
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "is a generator, which only this process can run: pass a list"
    if inspect.iscoroutine(value):
        return "is a coroutine that was never awaited: pass what it returns"
    if hasattr(type(value), "__next__") and not hasattr(type(value), "read"):
        return f"is {_a(value)}, an iterator that only this process can run: pass a list"
    return None


def _code(value: Any) -> str | None:
    if isinstance(value, type):
        return "is a class, which cannot travel: pass a name, and choose the class in the task"
    if inspect.ismodule(value):
        return "is a module, which cannot travel: import it in the task"
    if inspect.isroutine(value) or type(value).__name__ == "partial":
        return "is a function, which cannot travel: pass a name, or make it a task and defer that"
    return None


def _file(value: Any) -> str | None:
    kind = type(value)
    if hasattr(kind, "read") or kind.__name__ in _FILES:
        return f"is {_a(value)}, an open file: save it, and pass its path or key"
    return None


def _web(value: Any) -> str | None:
    name = type(value).__name__
    for end in ("Request", "Response"):
        if name.endswith(end):
            return f"is {article(name)}, which lives only in this process: pass the values that the task needs"
    return None


def _foreign_secret(value: Any) -> str | None:
    if not hasattr(type(value), "get_secret_value"):
        return None
    return f"is {_a(value)}: pass fnqueue.Secret(x.get_secret_value()), and annotate the parameter with Secret[...]"


def _lock(value: Any) -> str | None:
    if type(value).__module__ in ("_thread", "threading", "asyncio.locks"):
        return f"is {_a(value)}, which guards this process only: take it in the task"
    return None


def _error(value: Any) -> str | None:
    return f"is {_a(value)}, an exception: pass its text" if isinstance(value, BaseException) else None


#: The first that has words wins: a Django model has fields too, an Enum may be a str.
_IN_ORDER: tuple[Callable[[Any], str | None], ...] = (
    _code,
    _foreign_secret,
    _record,
    _records,
    _enum,
    _fields,
    _numeric,
    _web,
    _subclass,
    _buffer,
    _running,
    _file,
    _lock,
    _error,
)
