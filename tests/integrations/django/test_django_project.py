"""What a project is called in the banner: after the package that its settings lie in."""

from __future__ import annotations

import pytest

from django_fnqueue.project import name_of


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mysite.settings", "mysite"),
        ("mysite.settings.production", "mysite"),
        ("apps.newsroom.settings", "apps.newsroom"),
        ("config.settings_local", "config"),
        ("mysite.conf", "mysite"),
        ("settings", "settings"),
        ("", ""),
    ],
)
def test_a_project_is_called_after_the_package_of_its_settings(module, name):
    assert name_of(module) == name
