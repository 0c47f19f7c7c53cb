"""The texts belong to situations that are there."""

from __future__ import annotations

from pathlib import Path

from tests.first_hour.conftest import TEXTS, sections, titles


def test_every_text_has_its_situation() -> None:
    for path in TEXTS.glob("*.txt"):
        module = Path(__file__).with_name(f"test_first_hour_{path.stem}.py")
        assert list(sections(path)) == titles(module), path.name
