"""Whatever serves the pages, `defer` in a view works: nothing lost, doubled, leaked, inherited or left behind."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.system.web_servers import serving
from tests.system.web_servers.serving import HAS_UWSGI, VISITORS, Kind, Polled, Serving, Site, until

pytestmark = pytest.mark.system

N, WARM = 120, 40


def cases(case: str, *kinds: Kind) -> pytest.MarkDecorator:
    """A test of each, with its row in the table."""
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(
                kind,
                id=f"{kind.framework} {kind.name}",
                marks=[
                    pytest.mark.row(kind.framework, kind.name, case),
                    pytest.mark.skipif(kind is serving.UWSGI and not HAS_UWSGI, reason="needs uwsgi, which needs gcc"),
                ],
            )
            for kind in kinds
        ],
    )


def deferred_by_a_crowd(serving: Serving) -> list[dict[str, Any]]:
    """N requests, eight at once. No thread of ours, and after the first ones no more files than before."""
    first = serving.crowd(f"call-{n}" for n in range(WARM))
    pids = {answer["pid"] for answer in first}
    # Threads that no request had met yet may each open their connection once; a leak would be ten times that.
    spare = 0 if serving.kind.one_thread else 4
    before = serving.open_files(pids)
    rest = serving.crowd(f"call-{n}" for n in range(WARM, N))
    until(
        lambda: all(now <= before[pid] + spare for pid, now in serving.open_files(pids).items()),
        lambda: f"open files: {before} before, {serving.open_files(pids)} now",
    )
    answers = first + rest
    threads = {name for answer in answers for name in answer["threads"]}
    assert not [name for name in threads if "fnqueue" in name.lower()]
    if serving.kind.one_thread:
        assert {len(answer["threads"]) for answer in answers} == {1}
        assert {psutil.Process(pid).num_threads() for pid in pids} == {1}
    return answers


def nothing_lost_or_doubled(site: Site, answers: list[dict[str, Any]], texts: list[str]) -> None:
    assert len({answer["id"] for answer in answers}) == len(answers)
    assert site.effects() == Counter(texts)


# ---------------------------------------------------------------- each server


@pytest.mark.usefixtures("served")
@cases(f"{N} calls, 8 at once", *serving.ALL)
def test_each_call_of_a_crowd_is_run_once_and_nothing_is_left(kind: Kind, site: Callable[[str], Site]) -> None:
    here = site(kind.framework)
    with here.served_by(kind, **({"DEFER_AT_IMPORT": "yes"} if kind.preloads else {})) as served:
        answers = deferred_by_a_crowd(served)
        master = served.server.process.pid
        served.stop()
    at_import = [f"import-{master}"] if kind.preloads else []
    nothing_lost_or_doubled(here, answers, [f"call-{n}" for n in range(N)] + at_import)


@pytest.mark.aws
@pytest.mark.usefixtures("served")
@cases(f"{N} calls, 8 at once, to SQS (moto)", serving.GUNICORN_PRELOAD, serving.UVICORN)
def test_the_same_on_sqs(kind: Kind, sqs_site: Callable[[str], Site]) -> None:
    """boto3's clients and their sockets are not to be shared by a fork, either."""
    test_each_call_of_a_crowd_is_run_once_and_nothing_is_left(kind, sqs_site)


# ---------------------------------------------------------------- bad days


@pytest.mark.usefixtures("served")
@cases("HUP under load", serving.GUNICORN_SYNC)
def test_workers_are_replaced_under_load_and_no_call_is_lost(kind: Kind, site: Callable[[str], Site]) -> None:
    here = site(kind.framework)
    texts = [f"call-{n}" for n in range(N)]
    with here.served_by(kind) as served, ThreadPoolExecutor(VISITORS) as visitors:
        before = {answer["pid"] for answer in served.crowd(texts[:WARM])}
        here.change("shop.py")
        served.remember()
        served.server.signal(signal.SIGHUP)
        during = visitors.map(served.get, texts[WARM:])
        after = Polled(served, lambda answer: answer["version"] == "second").until_it_is_so()
        assert after["pid"] not in before
        list(during)
        served.stop()
    found = here.effects()
    assert [text for text in texts if found[text] != 1] == []


@pytest.mark.usefixtures("served")
@cases("kill -9 while deferring", serving.GUNICORN_PRELOAD, serving.GUNICORN_THREADS, serving.UWSGI)
def test_a_process_that_is_killed_while_it_defers_leaves_no_lock(kind: Kind, site: Callable[[str], Site]) -> None:
    here = site(kind.framework)
    with here.served_by(kind) as served:
        asked, answered = killed_while_deferring(served, lost=4)
        began = time.monotonic()
        served.get("afterwards")
        assert time.monotonic() - began < 10
        served.stop()
    found = here.effects()
    assert found["afterwards"] == 1
    assert [text for text in answered if found[text] != 1] == []
    assert [text for text in asked if found[text] > 1] == []


def killed_while_deferring(served: Serving, lost: int) -> tuple[list[str], list[str]]:
    """A crowd, and workers that are killed before its eyes until it misses `lost` answers. What it asked for, and what
    it was answered."""
    asked: list[str] = []
    answered: list[str] = []
    missed: list[str] = []
    last: list[int] = []
    over = threading.Event()

    def visit(visitor: int) -> None:
        while not over.is_set():
            asked.append(text := f"call-{visitor}-{len(asked)}")
            if answer := served.tolerant(text):
                last.append(answer["pid"])
                answered.append(text)
            else:
                missed.append(text)

    with ThreadPoolExecutor(VISITORS) as visitors:
        visits = [visitors.submit(visit, number) for number in range(VISITORS)]
        try:
            for _ in range(60):
                if len(missed) >= lost:
                    break
                seen = len(answered)
                until(lambda seen=seen: len(answered) > seen + 5, lambda: served.server.output[-3000:])
                served.remember()
                with contextlib.suppress(KeyError, psutil.NoSuchProcess):  # its answer came late
                    served.family[last[-1]].kill()
        finally:
            over.set()
        for each in visits:
            each.result()
    assert len(missed) >= lost, "hardly one was killed at work, so nothing was tried"
    return asked, answered
