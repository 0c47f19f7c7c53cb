"""What is not ours costs little memory before it is refused: at most twice the largest body, besides the body."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fnqueue.codec.binding import Binder
from fnqueue.errors import ArgumentError
from fnqueue.quotas import BODY_BYTES_MAX as MAX
from fnqueue.security import frame, limits
from fnqueue.security.header import parse
from fnqueue.security.keyring import KeyRing

HEAD = b'{"p":{"i":"7","k":"u"},"args":['
BOMBS = {
    "lists in a list": HEAD + b",".join([b"[]"] * 300_000) + b"]}",
    "numbers": HEAD + b",".join([b"1"] * 450_000) + b"]}",
    "brackets": HEAD + b"[" * 450_000 + b"]" * 450_000 + b"]}",
    "objects": HEAD + b",".join([b'{"a":1}'] * 110_000) + b"]}",
    "names": HEAD + b'],"kwargs":{' + b",".join(b'"%d":1' % n for n in range(90_000)) + b"}}",
    "text with quotes in it, and lists": HEAD + rb'"\"[\\",' + b",".join([b"[]"] * 300_000) + b"]}",
}


def peak(function: Callable[[], object]) -> float:
    """The memory that it takes at its height, in largest bodies."""
    function()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "rubbish",
    [
        lambda body, header: "." * MAX,
        lambda body, header: "\0" * MAX,
        lambda body, header: "\U0001f600" * MAX,
        lambda body, header: "\udc80" * MAX,
        lambda body, header: "a" * (64 * MAX),
        lambda body, header: header + "." + "A" * (MAX - len(header) - 46) + "." + "A" * 43,
        lambda body, header: header + "." + "!" * (MAX - len(header) - 46) + "." + "A" * 43,
        lambda body, header: header[:15] + "{" + "a" * (MAX - 100) + "}.AAAA." + "A" * 43,
        lambda body, header: header[:15] + "{" * (MAX - 100) + "}.AAAA." + "A" * 43,
        lambda body, header: body + "." * (MAX - len(body)),
    ],
)
def test_a_body_of_the_largest_size_that_is_rubbish_takes_twice_its_size_at_most(
    calls: Any, sealed_body: str, rubbish: Callable[[str, str], str]
) -> None:
    text = rubbish(sealed_body, parse(sealed_body, MAX).prefix.decode())
    assert peak(lambda: calls.code(text)) < 2.2


@pytest.mark.parametrize("inside", BOMBS.values(), ids=BOMBS)
def test_a_key_holders_json_of_a_million_values_is_refused_before_it_is_made(inside: bytes) -> None:
    content = b"\x00" + len(inside).to_bytes(4, "big") + inside
    content += bytes(-len(content) % 64)

    def read() -> None:
        with pytest.raises(frame.Unfit):
            frame.read(content, "u")

    assert peak(read) < 2.2


@pytest.mark.parametrize("before", [0, 1_000, 65_000, 65_457, 65_458, 65_459, 65_535, 65_536, 131_000])
def test_a_number_that_is_too_long_is_found_wherever_it_stands(before: int) -> None:
    """A long text is looked at in pieces."""
    for digits, too_long in ((limits._LONG_NUMBER - 1, False), (limits._LONG_NUMBER, True)):
        assert limits._has_long_number(b"a" * before + b"7" * digits + b"a" * 70_000) == too_long
        assert limits._has_long_number(b"a" * before + b"7" * digits) == too_long


def test_text_with_many_commas_and_ten_thousand_tagged_values_are_arguments_like_others(
    calls: Any, ring: KeyRing
) -> None:
    binder = Binder(lambda *values: None, "task")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for values in (['[{,\\"' * 90_000], [moment] * 10_000, [[moment] * 99] * 100):
        args, _ = binder.check(values, {})
        wire = {"args": list(args), "kwargs": {}, "p": {"i": "7", "k": "u", "r": [f"role{n}" for n in range(3_000)]}}
        opened = calls.open(calls.seal(sealed=wire))
        assert binder.decode(opened["args"], opened.get("kwargs", {}))[0] == tuple(values)


def test_what_no_worker_would_read_is_not_sent(calls: Any) -> None:
    wire = {"args": [[1] * 60_000], "kwargs": {}, "p": {"i": "7", "k": "u"}}
    with pytest.raises(ArgumentError, match="more than 10,000 values; nothing was sent"):
        calls.seal(sealed=wire)
