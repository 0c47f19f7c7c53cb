"""The harness sees what is wrong: each fault is planted in a page and found, so that green pages mean something."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.docs.pages import Page, commands
from tests.docs.project import Project, Trouble, matches, merged
from tests.docs.test_pages import broken_links


def run(text: str, folder: Path) -> Project:
    with Project(folder) as project:
        for block in Page("planted.md", text).blocks():
            project.do(block)
    return project


FAULTS = {
    "a snippet that raises": "```python\n1 / 0\n```\n",
    "a raise that does not raise what it says": "```python\nraise nothing_of_this_name\n```\n",
    "an answer that is another": "```pycon\n>>> 1 + 1\n3\n```\n",
    "a file that is no Python": "```python\n# shop.py\ndef :\n```\n",
    "a change of a file that is not there": "```python\n# in shop.py\nx = 1\n```\n",
    "a command that fails": "```console\n$ false\n```\n",
    "a command that prints something else": "```console\n$ echo one\ntwo\n```\n",
    "a command that prints more": "```console\n$ printf 'one\\ntwo\\n'\none\n```\n",
    "a command that is not there": "```bash\nno-such-command\n```\n",
    "a package that is not installed": "```bash\npip install no-such-package\n```\n",
    "a language that nobody knows": "```cobol\nSTOP RUN.\n```\n",
    "output of what was never started": "<!-- output of: flask run -->\n```text\nready\n```\n",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_page_is_found(fault, tmp_path):
    with pytest.raises(Trouble, match=r"^planted.md:\d"):
        run(FAULTS[fault], tmp_path)


def test_what_is_right_passes(tmp_path):
    text = """
<!-- setup
import math
-->
```python
# shop.py
PRICE = 3
def price(): return PRICE
```
```python
# in shop.py: it became dearer
from math import floor
PRICE = 4
```
```console
$ mkdir here && cd here && export WHO=ada
$ echo "$WHO in $(basename "$PWD")"
ada ... here
$ cd ..
```
```python
import shop
assert shop.price() == 4 and shop.floor(math.pi) == 3
raise ValueError("pages may show what is raised")
assert await shop_later() if False else True
```
```pycon
>>> shop.price()
4
```
<!-- not run: it would never end -->
```bash
sleep infinity
```
"""
    assert len(run(text, tmp_path).did) == 6  # the setup among them, what is not run left out


def test_a_server_gets_a_free_port_its_output_is_waited_for_and_it_is_gone_at_the_end(tmp_path):
    text = """
```python
# app.py
from flask import Flask
app = Flask(__name__)
app.get("/")(lambda: {"hello": "reader"})
```
```console
$ flask --app app run
 * Running on http://127.0.0.1:5000
$ curl -s http://localhost:5000/
{"hello":"reader"}
```
<!-- output of: flask --app app run -->
```text
127.0.0.1 - - ... "GET / HTTP/1.1" 200 -
```
"""
    project = run(text, tmp_path)
    assert not psutil.pid_exists(project.running[0].process.pid)


def test_a_server_of_which_something_else_is_expected_fails_when_it_ends(tmp_path):
    with pytest.raises(Trouble, match="did not come to that"):
        run("```console\n$ flask --app nowhere run\nready\n```\n", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "said", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a  b", "a b", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a...", "abc", True),
        ("a", "a\nb", False),
        ("b\na", "a\nb", False),
        ("...\nz", "a\nb", False),
    ],
)
def test_output_is_compared_line_by_line(wanted, said, same):
    assert matches(wanted, said) is same


def test_lines_of_a_running_command_may_have_others_between_but_come_in_order():
    assert matches("a\nc", "a\nb\nc\nd", all_of_it=False)
    assert not matches("c\na", "a\nb\nc", all_of_it=False)


def test_a_change_replaces_what_has_its_name_and_adds_the_rest():
    old = "import os\n\n@deco\ndef f():\n    return 1\n\nx = 1\n"
    new = merged(old, "import sys\n\n@other\ndef f():\n    return 2\n\ndef g(): ...\n")
    assert new == "import os\nimport sys\n\n@other\ndef f():\n    return 2\n\nx = 1\n\n\ndef g(): ...\n"


def test_commands_are_told_from_their_output_and_from_remarks():
    (block,) = Page("p.md", "```console\n$ one \\\n  two   # a remark\nout\n$ three '#4'\n```\n").blocks()
    assert [(" ".join(c.split()), out) for c, out in commands(block)] == [("one two", ["out"]), ("three '#4'", [])]


def test_a_link_to_nowhere_is_found():
    here = Page(
        "docs/here.md", "# A heading, here\n[a](here.md#a-heading-here) [b](no.md) [c](#no) [d](http://x.org)\n"
    )
    assert broken_links([here]) == [
        "docs/here.md: no.md is not there",
        "docs/here.md: #no is no heading",
        "docs/here.md: http://x.org is not https",
    ]
