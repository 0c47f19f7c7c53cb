"""Development servers start anew when a file is saved: calls deferred before, meanwhile and afterwards are kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.system.web_servers import serving
from tests.system.web_servers.serving import Kind, Polled, Site

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("served")]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        pytest.param(kind, file, marks=pytest.mark.row(kind.framework, kind.name, "saved, reloaded"), id=kind.name)
        for kind, file in [(serving.FLASK_RUN, "shop.py"), (serving.RUNSERVER, "desk/urls.py")]
    ],
)
def test_a_saved_file_reloads_the_server_and_no_call_is_lost(
    kind: Kind, file: str, site: Callable[[str], Site]
) -> None:
    here = site(kind.framework)
    with here.served_by(kind) as served:
        served.remember()
        (before,) = {answer["pid"] for answer in served.crowd(f"before-{n}" for n in range(8))}
        here.change(file)
        meanwhile = Polled(served, lambda answer: answer["version"] == "second")
        assert meanwhile.until_it_is_so()["pid"] != before
        after = served.crowd(f"after-{n}" for n in range(8))
        assert not [name for answer in after for name in answer["threads"] if "fnqueue" in name.lower()]
        served.stop()
    found = here.effects()
    wanted = [f"{when}-{n}" for when in ("before", "after") for n in range(8)] + meanwhile.answered
    assert [text for text in wanted if found[text] != 1] == []
    assert [text for text in meanwhile.asked if found[text] > 1] == []
