"""Whatever serves the pages, `defer` in a view works: nothing lost, doubled, leaked, inherited or left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.system.web_servers import serving
from tests.system.web_servers.serving import HAS_UWSGI, Kind, Serving, Site, until

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
