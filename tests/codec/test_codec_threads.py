"""First uses that meet in several threads: msgspec learns classes lazily, and a race there ends the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys, threading
sys.setswitchinterval(1e-6)
from dataclasses import dataclass
from fnqueue.codec import Binder
from fnqueue.security import frame
from fnqueue.security.principal import Principal

@dataclass
class Line:
    amount: int
    text: str

@dataclass
class Invoice:
    lines: list[Line]
    first: Line

def task(invoice: Invoice) -> Invoice: ...

binders = [Binder(task, f"t{n}") for n in range(8)]
invoice = Invoice([Line(1, "a")], Line(2, "b"))
barrier = threading.Barrier(8)
ended = []

def go(binder):
    barrier.wait()
    args, kwargs = binder.check((invoice,), {})
    binder.decode(list(args), kwargs)
    frame.read(frame.write({"args": args, "kwargs": kwargs, "p": Principal(id="1").to_wire()}, "u"), "u")
    binder.result_from_json(binder.result_to_json(invoice))
    ended.append(1)

threads = [threading.Thread(target=go, args=(binder,)) for binder in binders]
[t.start() for t in threads]
[t.join() for t in threads]
assert len(ended) == 8
"""


@pytest.mark.system
def test_eight_threads_that_are_the_first_to_use_a_class_do_not_end_the_process() -> None:
    for _ in range(12):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:] or f"ended by signal {-done.returncode}"
