"""`fnqueue policy`: who may defer which task, and why one call would be allowed or denied. Nothing is deferred or run.

`explain` asks as a call is asked: at its defer, and again before its run, of the user as they are now. No argument is
printed: it may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import click

from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.clock import to_datetime
from fnqueue.errors import ArgumentsDoNotFit
from fnqueue.runtime import Runtime
from fnqueue.security.explain import Explained, explain, lets_anybody
from fnqueue.security.policy import Decision, Phase, PolicyContext
from fnqueue.security.principal import ANONYMOUS, Principal
from fnqueue.task.task import Task

AnyTask = Task[Any, Any, Any]
COLOURS: dict[str | None, str] = {"allow": "green", "deny": "red", "skip": "yellow", "error": "magenta"}
SAID: dict[Phase, str] = {"defer": "at defer", "execute": "before the run"}

_COLUMNS = ("task", "policy", "open", "read", "operate", "runs_as", "where")

_json = click.option("--json", "json_", is_flag=True, help="As JSON.")


@click.group()
def policy() -> None:
    """List the policies of tasks; explain a decision."""


# ---------------------------------------------------------------- list


@policy.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those that anybody may defer, logged in or not.")
@_json
@click.pass_context
@reported
def list_(ctx: click.Context, only_open: bool, json_: bool) -> None:
    """The policy of each task, and which anybody may defer."""
    runtime = _application(ctx)
    rows = [_row(runtime, task) for task in runtime.registry]
    shown = [row for row in rows if row["open"] or not only_open]
    if json_:
        screen.as_json(shown)
        return
    screen.table(
        [name.replace("_", " ").upper() for name in _COLUMNS],
        [[row[name] or "-" for name in _COLUMNS] for row in shown],
        empty="no task is open to anybody" if only_open else "no task is registered",
        colour=lambda row: None if row[2] == "-" else "yellow",
    )


def _row(runtime: Runtime, task: AnyTask) -> dict[str, Any]:
    """`open`: why anybody may defer it: "unset" where neither task nor settings name a policy, "public" where they
    say so."""
    holds, unset = runtime.policy_of(task), task.policy is None and runtime.settings.default_policy is None
    return {
        "task": task.name,
        "policy": "none" if unset else repr(holds) + ("" if task.policy is not None else " (default)"),
        "open": "unset" if unset else "public" if lets_anybody(holds) else None,
        "read": repr(task.options.read) if task.options.read is not None else "-",
        "operate": repr(task.options.operate) if task.options.operate is not None else "-",
        "runs_as": task.options.runs_as or "-",
        "where": task.where,
    }


# ---------------------------------------------------------------- explain


@dataclass(frozen=True, slots=True)
class Asked:
    """What one phase says. `tree` None: it was not come to."""

    phase: Phase
    passes: bool
    reason: str
    tree: Explained | None = None


@policy.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("task_name", metavar="TASK")
@click.argument("arguments", metavar="[ARGUMENT | NAME=ARGUMENT]...", nargs=-1)
@click.option("--as", "who", metavar="WHO", default="anonymous", help="A user's id; or service:NAME, schedule:NAME.")
@click.option("--role", "roles", metavar="NAME", multiple=True, help="A role of theirs at defer; of all, if any.")
@click.option("--scope", "scopes", metavar="NAME", multiple=True, help="A scope, in the same way.")
@click.option("--tenant", metavar="ID", help="Their tenant at defer.")
@click.option("--login-minutes", metavar="N", type=click.FloatRange(0), help="How long ago they logged in.")
@_json
@click.pass_context
@reported
def explain_(
    ctx: click.Context,
    task_name: str,
    arguments: tuple[str, ...],
    who: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    tenant: str | None,
    login_minutes: float | None,
    json_: bool,
) -> None:
    """Say what a task's policy decides on a call, in both phases, and which part of it decided.

    Arguments are JSON or text: 7 month=2026-11. Users are loaded as before a run; what they were at the defer, where
    that was otherwise, say with the options. Nothing is sent. Exit 0: it would run; 1: it would not.
    """
    runtime = _application(ctx)
    task = runtime.registry.get(task_name)
    bound = _bound(task, arguments)
    with runtime.hooks.scope(task):
        signed = _principal(runtime, who, roles, scopes, tenant)
        if login_minutes is not None:
            since = to_datetime(runtime.clock.now()) - timedelta(minutes=login_minutes)
            signed = replace(signed, auth_time=since)
        asked = [_at_defer(runtime, task, bound, signed), _before_run(runtime, task, bound, signed)]
    if json_:
        screen.as_json(_plain(task, signed, asked))
    else:
        for line in _lines(runtime, task, signed, asked):
            click.echo(line)
    ctx.exit(0 if all(each.passes for each in asked) else 1)


def _at_defer(runtime: Runtime, task: AnyTask, bound: dict[str, Any], who: Principal) -> Asked:
    return _asked(runtime, task, bound, who, "defer")


def _before_run(runtime: Runtime, task: AnyTask, bound: dict[str, Any], signed: Principal) -> Asked:
    now = runtime.reload(signed)
    if now is None:
        return Asked("execute", False, f"{signed} is gone or inactive")
    return _asked(runtime, task, bound, now, "execute")


def _asked(runtime: Runtime, task: AnyTask, bound: dict[str, Any], who: Principal, phase: Phase) -> Asked:
    context = PolicyContext(
        phase=phase, task=task.name, args=bound, principal=who, deferred_at=to_datetime(runtime.clock.now())
    )
    tree = explain(runtime.policy_of(task), context)
    assert tree.verdict is not None  # a policy as a whole always has one
    return Asked(phase, Decision(tree.verdict).passes(phase), tree.reason, tree)


# ---------------------------------------------------------------- what was typed


def _principal(
    runtime: Runtime, who: str, roles: Sequence[str], scopes: Sequence[str], tenant: str | None
) -> Principal:
    if who == "anonymous":
        return ANONYMOUS
    named, name = _kind_and_name(who)
    load = runtime.hooks.load_principal
    found = load(name) if load is not None and named == "user" else None
    base = found if found is not None else Principal(id=name, kind=named)
    return replace(
        base,
        roles=frozenset(roles) or base.roles,
        scopes=frozenset(scopes) or base.scopes,
        tenant=tenant or base.tenant,
    )


def _kind_and_name(who: str) -> tuple[Literal["user", "service", "schedule"], str]:
    """Whom `--as` names. A user's id may hold a colon itself."""
    kinds: tuple[Literal["user", "service", "schedule"], ...] = ("user", "service", "schedule")
    for kind in kinds:
        if who.startswith(f"{kind}:") and who != f"{kind}:":
            return kind, who[len(kind) + 1 :]
    if not who:
        raise click.UsageError("--as: whom? A user's id; or service:NAME, schedule:NAME, anonymous")
    return "user", who


def _bound(task: AnyTask, given: Sequence[str]) -> dict[str, Any]:
    """The arguments by name, converted as a worker does. Without any: those of a policy that looks at none."""
    if not given:
        return _without_arguments(task)
    names, args, kwargs = task.binder.parameters, list[Any](), dict[str, Any]()
    texts: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals and name in names:
            kwargs[name], texts[name] = _value(value), value
        else:
            texts[names[len(args)] if len(args) < len(names) else ""] = text
            args.append(_value(text))
    return _converted(task, args, kwargs, texts)


def _converted(task: AnyTask, args: list[Any], kwargs: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """What is no number for the task, though it looks like one, is text: "007", say."""
    while True:
        try:
            return task.binder.bound(*task.binder.decode(args, kwargs))
        except ArgumentsDoNotFit as error:
            name = error.parameter
            if name is None or name not in texts:
                raise
            if name in kwargs:
                kwargs[name] = texts.pop(name)
            else:
                args[task.binder.parameters.index(name)] = texts.pop(name)


def _without_arguments(task: AnyTask) -> dict[str, Any]:
    try:
        return task.binder.bound((), {})
    except ArgumentsDoNotFit:
        wanted = sorted(task.policy.arguments()) if task.policy is not None else []
        if wanted:
            raise Fault(f"{task.name}: its policy looks at {', '.join(wanted)}: give the call's arguments") from None
        return {}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# ---------------------------------------------------------------- what is said


def _lines(runtime: Runtime, task: AnyTask, who: Principal, asked: Sequence[Asked]) -> Iterator[str]:
    yield f"{task.name} ({task.where}) for {who}{_having(who)}"
    if task.policy is None:
        yield f"no policy of its own: FNQUEUE_DEFAULT_POLICY={runtime.settings.default_policy or '(not set)'}"
    for each in asked:
        yield ""
        verdict = screen.paint("passes", "green") if each.passes else screen.paint("does not pass", "red")
        yield f"{SAID[each.phase]}: {verdict}"
        if each.tree is None:
            yield f"  {screen.paint('deny', COLOURS['deny'])}   {screen.printable(each.reason)}"
        else:
            yield from _tree(each.tree, "", "")
    if task.options.runs_as is not None and all(each.passes for each in asked):
        yield f"\nit runs as service {task.options.runs_as!r}"


def _tree(node: Explained, before: str, below: str) -> Iterator[str]:
    word = node.verdict or "-"
    reason = f"   {screen.printable(node.reason)}" if node.reason and not node.parts else ""
    mark = "   <- decides" if node.decides else ""
    yield f"  {screen.paint(word.ljust(5), COLOURS.get(node.verdict))}  {before}{node.policy}{reason}{mark}"
    for index, part in enumerate(node.parts):
        last = index == len(node.parts) - 1
        yield from _tree(part, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))


def _having(who: Principal) -> str:
    has = [
        f"{word} {', '.join(sorted(names))}" for word, names in (("roles", who.roles), ("scopes", who.scopes)) if names
    ]
    has += [f"tenant {who.tenant}"] if who.tenant is not None else []
    return f", {'; '.join(map(screen.printable, has))}" if has else ""


def _plain(task: AnyTask, who: Principal, asked: Sequence[Asked]) -> dict[str, Any]:
    return {
        "task": task.name,
        "principal": who.subject,
        "runs": all(each.passes for each in asked),
        "phases": {each.phase: _phase(each) for each in asked},
    }


def _phase(asked: Asked) -> dict[str, Any]:
    tree = None if asked.tree is None else _node(asked.tree)
    return {"passes": asked.passes, "reason": asked.reason, "policy": tree}


def _node(node: Explained) -> dict[str, Any]:
    plain: dict[str, Any] = {"policy": node.policy, "verdict": node.verdict, "decides": node.decides}
    if node.parts:
        return plain | {"parts": [_node(part) for part in node.parts]}
    return plain | {"reason": node.reason}


def _application(ctx: click.Context) -> Runtime:
    app: Application = find_application(ctx)
    app.import_tasks()
    return app.runtime
