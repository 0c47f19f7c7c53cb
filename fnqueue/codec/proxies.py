"""What only stands for a value: it is taken out, so that the value travels and not its stand-in.

Frameworks are told by their marks and never imported. An exception of the code behind a proxy (a session
that is gone, say) is the caller's own and rises as it is.
"""

from __future__ import annotations

from typing import Any

_LAZY_TEXTS = frozenset({"LazyString", "_LazyString"})  # Flask-Babel, speaklater


def unwrap(value: Any) -> Any:
    """The value behind a proxy, or `value` itself. One layer: call again with what came out."""
    kind = type(value)
    cast = getattr(kind, "_proxy____cast", None)  # Django's gettext_lazy and lazystr
    if cast is not None:
        return cast(value)
    if kind.__name__ in _LAZY_TEXTS:
        return str(value)
    if hasattr(kind, "_get_current_object"):  # werkzeug's LocalProxy: current_user, session, g
        return value._get_current_object()
    if any(base.__name__ == "LazyObject" for base in kind.__mro__):  # Django's SimpleLazyObject: request.user
        if type(value._wrapped) is object:  # the mark of "not made yet"
            value._setup()
        return value._wrapped
    return value
