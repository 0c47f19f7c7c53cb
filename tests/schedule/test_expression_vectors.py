"""The shared vectors: what five other implementations and a minute scanner agree on, and what must be refused."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from fnqueue.errors import ExpressionInvalid
from fnqueue.schedule.expression import parse

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "cron_vectors.json").read_text())
INVALID = [each["expression"] for each in json.loads((HERE / "cron_invalid.json").read_text())]


def instant(text):
    return datetime.fromisoformat(text) if text else None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['id']} {vector['expression']}")
def test_an_expression_fires_when_the_vector_says(vector):
    expression = parse(
        vector["expression"], vector["timezone"], start=instant(vector.get("start")), end=instant(vector.get("end"))
    )
    expected = [instant(each) for each in vector["expected"]]
    more = 1 if vector["complete"] else 0  # a series that is exhausted has none after its last
    found = list(islice(expression.after(instant(vector["after"])), len(expected) + more))
    assert found == expected
    if not vector["expression"].startswith("rate") or vector.get("start"):
        assert all(expression.is_occurrence(each) for each in expected)


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_expression_is_refused_with_its_field_and_the_reason(text):
    with pytest.raises(ExpressionInvalid) as caught:
        parse(text)
    assert str(caught.value).startswith(f"Invalid Schedule Expression {text}: {caught.value.field}: ")
    assert caught.value.why
