"""Python from 3.12 on takes ?1 for a named parameter, warns of a sequence given for it, and 3.14 refuses it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import fnqueue
from fnqueue.store import sqlite_statements
from fnqueue.store.sqlite_statements import Numbered

NUMBERED = re.compile(r"\?\d")


def test_only_texts_that_numbered_rewrites_number_their_parameters():
    root = Path(fnqueue.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NUMBERED.search(node.value)
    }
    assert found == {"store/sqlite_statements.py"}
    used = [value for value in vars(sqlite_statements).values() if isinstance(value, Numbered)]
    assert len(used) == 5
    assert not any(NUMBERED.search(statement.text) for statement in used)


def test_a_value_that_is_needed_twice_is_given_twice():
    statement = Numbered("UPDATE t SET a = ?2 WHERE b = ?1 OR c = ?2")
    assert statement.text == "UPDATE t SET a = ? WHERE b = ? OR c = ?"
    assert statement.values(("one", "two", "not asked for")) == ("two", "one", "two")
