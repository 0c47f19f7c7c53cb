"""`fnqueue policy`: what is open, and why a call would be allowed or denied."""

from __future__ import annotations

import json
import re

import pytest

SHOP = """
from datetime import date
from fnqueue import FnQueue, Principal
from fnqueue.policies import authenticated, custom, forbid, fresh, owns, public, role, service

fn = FnQueue(url="sqlite:///q.db")
USERS = {"7": Principal(id="7", roles={"staff"}), "8": Principal(id="8", roles={"staff", "banned"})}
fn.load_principal(USERS.get)
ORDERS = {"1": {"owner_id": 7}, "2": {"owner_id": 8}}

@custom
def is_small(ctx): return ctx.args["amount"] < 100

@fn.task(policy=(role("staff") | service("import")) & owns("order", load=ORDERS.get) & forbid(role("banned")))
def ship(order: str, token: str = "") -> None: ...

@fn.task(policy=is_small & fresh(minutes=15), runs_as="billing")
def refund(amount: int, when: date = date(2026, 1, 1)) -> None: ...

@fn.task(policy=public)
def hello() -> None: ...

@fn.task
def ping() -> None: ...
"""


@pytest.fixture
def explain(fnqueue, project):
    project(shop=SHOP)
    return lambda *words: fnqueue("policy", "explain", "--app", "shop", *words)


def test_the_policies_are_listed_and_those_that_are_open_say_why(fnqueue, project):
    project(shop=SHOP)
    done = fnqueue("policy", "list", "--app", "shop")
    assert done.exit_code == 0, done.output
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    assert lines[0] == ["TASK", "POLICY", "OPEN", "READ", "OPERATE", "RUNS AS", "WHERE"]
    assert ["shop.hello", "public", "public", "-", "-", "-", "shop.py:20"] in lines
    assert ["shop.ping", "none", "unset", "-", "-", "-", "shop.py:23"] in lines
    assert [line[5] for line in lines if line[0] == "shop.refund"] == ["billing"]
    rows = json.loads(fnqueue("policy", "list", "--open", "--json", "--app", "shop").stdout)
    assert [(row["task"], row["open"]) for row in rows] == [("shop.hello", "public"), ("shop.ping", "unset")]


def test_a_call_that_would_run_is_explained_in_both_phases(explain):
    done = explain("shop.ship", "1", "--as", "7")
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        "shop.ship (shop.py:14) for user '7', roles staff\n"
        "\n"
        "at defer: passes\n"
        "  allow  (role('staff') | service('import')) & owns('order') & forbid(role('banned'))\n"
        "  allow  ├ role('staff') | service('import')\n"
        "  allow  │ ├ role('staff')   <- decides\n"
        "  deny   │ └ service('import')   needs service 'import'; user '7' is not that\n"
        "  allow  ├ owns('order')   <- decides\n"
        "  -      └ forbid(role('banned'))\n"
        "\n"
        "before the run: passes\n"
        "  allow  (role('staff') | service('import')) & owns('order') & forbid(role('banned'))\n"
        "  allow  ├ role('staff') | service('import')\n"
        "  allow  │ ├ role('staff')   <- decides\n"
        "  deny   │ └ service('import')   needs service 'import'; user '7' is not that\n"
        "  allow  ├ owns('order')   <- decides\n"
        "  -      └ forbid(role('banned'))\n"
    )


def test_a_denial_names_the_part_and_its_reason(explain):
    done = explain("shop.ship", "2", "--as", "7")
    assert done.exit_code == 1
    assert "at defer: does not pass\n" in done.stdout
    assert "deny   ├ owns('order')   needs the owner of order; user '7' is not   <- decides\n" in done.stdout


def test_a_veto_is_what_decides(explain):
    done = explain("shop.ship", "2", "--as", "8")
    assert done.exit_code == 1
    assert re.search(r"deny   └ forbid\(role\('banned'\)\)   is forbidden .*<- decides", done.stdout)
    assert done.stdout.count("<- decides") == 2


def test_a_role_that_is_only_said_counts_at_defer_and_not_before_the_run(explain):
    done = explain("shop.ship", "1", "--as", "7", "--role", "chief")
    assert "at defer: does not pass" in done.stdout
    done = explain("shop.ship", "2", "--as", "8", "--role", "staff")  # not banned then, but now
    assert "at defer: passes" in done.stdout
    assert "before the run: passes" in done.stdout  # a role that came later does not count


def test_a_user_who_is_gone_is_denied_before_the_run(explain):
    done = explain("shop.hello", "--as", "nobody-knows")
    assert done.exit_code == 1
    assert "before the run: does not pass\n  deny   user 'nobody-knows' is gone or inactive\n" in done.stdout


def test_how_long_ago_they_logged_in_can_be_said(explain):
    assert explain("shop.refund", "50", "--as", "7", "--login-minutes", "10").exit_code == 0
    late = explain("shop.refund", "50", "--as", "7", "--login-minutes", "20")
    assert (late.exit_code, "logged in 20 minutes before it" in late.stdout) == (1, True)
    assert "has no auth_time" in explain("shop.refund", "50", "--as", "7").stdout
    assert "it runs as service 'billing'" in explain("shop.refund", "50", "--as", "7", "--login-minutes", "1").stdout


def test_arguments_are_converted_as_a_worker_does_and_text_stays_text(explain):
    """`order` is text, though 1 looks like a number."""
    assert explain("shop.ship", "order=1", "--as", "7").exit_code == 0
    assert explain("shop.refund", "99", "when=2026-11-26", "--as", "7", "--login-minutes", "1").exit_code == 0


def test_no_argument_is_printed(explain):
    for words in (["shop.ship", "1", "hunter2", "--as", "7"], ["shop.ship", "hunter2", "token=hunter2", "--as", "8"]):
        for more in ([], ["--json"]):
            assert "hunter2" not in explain(*words, *more).output
    wrong = explain("shop.refund", "hunter2")
    assert (wrong.exit_code, "hunter2" in wrong.output) == (1, False)


def test_arguments_that_a_policy_looks_at_must_be_given(explain):
    done = explain("shop.ship", "--as", "7")
    assert (done.exit_code, done.stderr) == (
        1,
        "fnqueue: shop.ship: its policy looks at order: give the call's arguments\n",
    )


def test_services_and_nobody_are_explained_too(explain):
    assert explain("shop.ship", "1", "--as", "service:import").exit_code == 1  # it owns nothing
    assert "for nobody\n" in explain("shop.ship", "1").stdout
    assert explain("shop.hello").exit_code == 0
    assert "no policy of its own: FNQUEUE_DEFAULT_POLICY=(not set)" in explain("shop.ping").stdout


def test_an_unknown_task_names_the_nearest(explain):
    done = explain("shop.shipp", "--as", "7")
    assert (done.exit_code, "shop.ship" in done.stderr) == (1, True)


def test_as_json(explain):
    found = json.loads(explain("shop.ship", "2", "--as", "7", "--json").stdout)
    assert (found["task"], found["principal"], found["runs"]) == ("shop.ship", "user:7", False)
    defer = found["phases"]["defer"]
    assert [part["verdict"] for part in defer["policy"]["parts"]] == ["allow", "deny", None]
    assert [part["decides"] for part in defer["policy"]["parts"]] == [False, True, False]


def test_a_flask_application_is_asked_in_its_context(fnqueue, project):
    project(
        shop="""
from flask import Flask, current_app
from flask_fnqueue import FnQueue
from fnqueue.policies import custom

fn = FnQueue()

@custom
def in_the_shop(ctx): return current_app.config["OPEN"]

@fn.task(policy=in_the_shop)
def hello() -> None: ...

app = Flask(__name__)
app.config.update(OPEN=True, SECRET_KEY="of a test", FNQUEUE_URL="sqlite://")
fn.init_app(app)
"""
    )
    done = fnqueue("policy", "explain", "--app", "shop:app", "shop.hello")
    assert done.exit_code == 0, done.output
