"""One Python that a page's snippets are typed into, in order: `python -m tests.docs.session`, in the page's project.

Reads one JSON object a line, {"where", "language", "text"}; answers {"trouble": text or null}. Statements are run
one by one. A `raise` must raise, and the next statement follows: pages show what a task may say. `await` may stand at
the top. `pycon` is a doctest, in which `...` stands for anything.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import json
import linecache
import os
import sys
import traceback
import types
from typing import Any

NAME = "example"


def run(known: dict[str, Any], where: str, text: str) -> str | None:
    name = f"<{where}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    for statement in ast.parse(text, name).body:
        code = compile(ast.Module([statement], []), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        try:
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(code, known))
            else:
                exec(code, known)
        except Exception as error:
            if not (isinstance(statement, ast.Raise) and type(error).__name__ in ast.unparse(statement)):
                return traceback.format_exc()
    return None


def run_doctest(known: dict[str, Any], where: str, text: str) -> str | None:
    test = doctest.DocTestParser().get_doctest(text, known, where, where, 0)
    test.globs = known
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    failed = runner.run(test, out=said.append, clear_globs=False).failed
    return "".join(said) if failed else None


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the snippets start may write to stdout, and must not write among the answers
    sys.modules[NAME] = module = types.ModuleType(NAME)
    for line in sys.stdin:
        asked = json.loads(line)
        kind = run_doctest if asked["language"] == "pycon" else run
        with contextlib.redirect_stdout(io.StringIO()) if kind is run else contextlib.nullcontext():
            trouble = kind(module.__dict__, asked["where"], asked["text"])
        print(json.dumps({"trouble": trouble}), file=answers, flush=True)


if __name__ == "__main__":
    main()
