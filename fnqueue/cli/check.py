"""`fnqueue check`: whether web and worker could start, said line by line, with nothing started, made or sent.

The rules are the worker's own (`start_faults`) and the engine's (`look`); here is only what they say and in which
order. A finding is ok, a warning (it works, and somebody should know) or an error (web or worker would refuse).
Exit codes: 0 without errors, 1 with, 3 when `--online` and the queue does not answer or KMS lends nothing, 4 when the
import fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click

from fnqueue.backends import url_faults
from fnqueue.broker.names import binding
from fnqueue.cli import screen
from fnqueue.cli.banner import WITHOUT_STORE, absent, no_dead_letters, not_there, some
from fnqueue.cli.context import find_application
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import ERROR, UNREACHABLE, reported
from fnqueue.cli.loading import is_there
from fnqueue.cli.queues import physical_queues
from fnqueue.cli.worker import no_tasks
from fnqueue.clock import to_datetime
from fnqueue.database import shared_filesystem, too_old_sqlite
from fnqueue.errors import BrokerUnreachable, ExtraMissing, FnQueueError, KmsUnavailable, SettingsInvalid
from fnqueue.runtime import Runtime
from fnqueue.worker.worker import start_faults

Mark = Literal["ok", "warning", "error"]
COLOURS: dict[str, str] = {"ok": "green", "warning": "yellow", "error": "red"}
TOPIC_WIDTH = 13
NOT_YET = "not there yet: first use makes it"
#: The name of a blob of 1970, which is nowhere.
NO_BLOB = "00000-" + "a" * 32


@dataclass(frozen=True)
class Finding:
    """`code`: the exit code that an error asks for."""

    mark: Mark
    topic: str
    text: str
    code: int = ERROR

    def line(self) -> str:
        # Two lines of a text stand below each other.
        text = self.text.replace("\n", "\n" + " " * (9 + TOPIC_WIDTH))
        return f"{screen.paint(self.mark.ljust(8), COLOURS[self.mark])} {self.topic.ljust(TOPIC_WIDTH)}{text}"


Findings = Iterator[Finding]


@click.command()
@click.option("--online", is_flag=True, help="Ask SQS for queues, KMS for data keys, and S3. Makes none.")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@click.pass_context
@reported
def check(ctx: click.Context, online: bool, json_: bool) -> None:
    """Say whether web and worker could start, and start nothing.

    Imports the application and its tasks; looks at settings, keys, files, policies and queues. Makes no file and sends
    nothing. Without --online nobody is asked over the network. Exit 0: no errors (there may be warnings).
    """
    found = list(_findings(ctx, online))
    if json_:
        rows = [{key: value for key, value in asdict(each).items() if key != "code"} for each in found]
        screen.as_json({"ok": not _errors(found), "findings": rows})
    else:
        for each in found:
            click.echo(each.line())
        click.echo(_summary(found))
    ctx.exit(exit_code(found))


def exit_code(found: list[Finding]) -> int:
    """What is wrong here comes before whom nobody reached."""
    return min((each.code for each in _errors(found)), default=0)


def _errors(found: list[Finding]) -> list[Finding]:
    return [each for each in found if each.mark == "error"]


def _summary(found: list[Finding]) -> str:
    errors, warnings = len(_errors(found)), sum(each.mark == "warning" for each in found)
    counted = [screen.count(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n]
    return f"{', '.join(counted) or 'all well'}; nothing was started"


# ---------------------------------------------------------------- what is looked at


def _findings(ctx: click.Context, online: bool) -> Findings:
    try:
        app: Application = find_application(ctx)
        looked_for = app.import_tasks()
    except SettingsInvalid as error:
        yield from (Finding("error", "settings", fault) for fault in error.faults)
        return
    runtime = app.runtime.to_look_at()
    yield _tasks(app, looked_for)
    yield from _refusals(runtime)
    if url_faults(runtime.settings):
        return
    for each in (_framework, _files, _keys, _audit, _environment, _open_tasks, _annotations, _store, _extras):
        yield from each(runtime)
    yield from _kms(runtime, online)
    yield from _blobs(runtime, online)
    yield from _queues(runtime, online)


def _tasks(app: Application, looked_for: list[str]) -> Finding:
    number = len(app.runtime.registry)
    if number == 0:
        return Finding("error", "app", no_tasks(app.name, looked_for))
    return Finding("ok", "app", f"{app.name}, {screen.count(number, 'task')}")


def _refusals(runtime: Runtime) -> Findings:
    for topic, faults in start_faults(runtime).items():
        yield from (Finding("error", topic, fault) for fault in faults)


def _framework(runtime: Runtime) -> Findings:
    yield from (Finding("error", "app", fault) for fault in runtime.hooks.faults())
    yield from (Finding("warning", "app", doubt) for doubt in runtime.hooks.doubts())


def _files(runtime: Runtime) -> Findings:
    """The absolute paths: web and worker agree if both say the same."""
    if runtime.engine.path is None:
        yield Finding("ok", "queue", runtime.engine.queue_shown)
    for database in runtime.engine.databases:
        topic = "queue" if database.path == runtime.engine.path else "store"
        if database.path is None:
            continue
        if not os.path.isdir(os.path.dirname(database.path)) and _is_own_folder(runtime, database.path):
            yield Finding("ok", topic, f"{database.path}, {NOT_YET}, and its folder")
            continue
        try:
            text = database.path if database.look() else f"{database.path}, {NOT_YET}"
        except FnQueueError as error:
            yield Finding("error", topic, str(error))
        else:
            yield Finding("ok", topic, text)
            yield from _doubts(topic, database.path)


def _is_own_folder(runtime: Runtime, path: str) -> bool:
    own = runtime.hooks.own_folder
    return own is not None and os.path.dirname(path) == os.path.normpath(own)


def _doubts(topic: str, path: str) -> Findings:
    old, shared = too_old_sqlite(), shared_filesystem(path)
    if old:
        yield Finding("error", topic, f"Python's SQLite is {old}, and 3.35 is needed: use a newer Python")
    if shared:
        yield Finding(
            "warning", topic, f"{path} is on {shared}, where SQLite's locks fail: use a local disk, or sqs://"
        )


def _keys(runtime: Runtime) -> Findings:
    own = runtime.own_key_file()
    if own is not None and not os.path.exists(own):
        yield Finding("ok", "keys", f"{own}, {NOT_YET}")
        return
    if not runtime.engine.embedded and own is None and not (runtime.settings.keys or runtime.settings.keys_file):
        return  # said among the refusals
    try:
        ring = runtime.ring()
    except FnQueueError:
        return  # this too
    others = [f"{record.key_id} {record.state}" for record in ring if record is not ring.primary]
    file = own or runtime.settings.keys_file
    where = file or ("FNQUEUE_KEYS" if runtime.settings.keys else "memory, for this process only")
    changed = [f"changed {to_datetime(os.stat(file).st_mtime):%Y-%m-%d}"] if file else []
    yield Finding("ok", "keys", ", ".join([f"{where}: primary {ring.primary.key_id}", *others, *changed]))


def _kms(runtime: Runtime, online: bool) -> Findings:
    """Whether KMS lends this process data keys to seal with. Who only opens has none to ask about."""
    try:
        ring = runtime.ring() if runtime.settings.keys or runtime.settings.keys_file else None
    except FnQueueError:
        return  # said among the refusals
    if ring is None or not any(record.suite_name == "kms" for record in ring):
        return
    if not is_there("botocore"):
        yield Finding("error", "extras", str(ExtraMissing("a key with kms=", "aws")))
        return
    signs = ring.primary.suite_name == "kms" and ring.primary.lacks("sign", "seal") is None
    if not online or not signs:
        asked = "whether it lends data keys is asked with --online" if signs else "only opens here"
        yield Finding("ok", "kms", f"primary {ring.primary.key_id}; {asked}")
        return
    queues = sorted({binding(queue) for queue in runtime.registry.queues()})
    assert ring.sealer.sealing is not None
    for queue in queues:
        try:
            ring.sealer.sealing.to_seal(runtime.settings.environment, queue)
        except KmsUnavailable as error:
            yield Finding("error", "kms", f"queue {queue}: {error}", UNREACHABLE)
            return
    yield Finding("ok", "kms", f"lends data keys for {some(queues)}")


def _audit(runtime: Runtime) -> Findings:
    folder = runtime.settings.audit_dir
    if folder is None:
        return
    there = folder if os.path.exists(folder) else os.path.dirname(os.path.abspath(folder))
    if os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK):
        yield Finding("ok", "audit", folder if there == folder else f"{folder}, {NOT_YET}")
    else:
        yield Finding("error", "audit", f"FNQUEUE_AUDIT_DIR={folder!r}: this user cannot write there")


def _blobs(runtime: Runtime, online: bool) -> Findings:
    """Where it was said: what no setting names is made beside the queue's file, or is nowhere."""
    if runtime.settings.blobs_url is None:
        return
    if runtime.blobs is None:
        yield Finding("ok", "blobs", "none: large calls are refused")
        return
    place = runtime.blobs.place
    if not online:
        yield Finding("ok", "blobs", f"{place.shown}; whether it may be read is asked with --online")
        return
    try:
        place.get(NO_BLOB, 0)
    except FnQueueError as error:
        yield Finding("error", "blobs", f"FNQUEUE_BLOBS_URL: {error}")
    else:
        yield Finding("ok", "blobs", f"{place.shown}: may be read")


def _environment(runtime: Runtime) -> Findings:
    if runtime.engine.local or runtime.settings.environment != "default":
        yield Finding("ok", "environment", runtime.settings.environment)


def _open_tasks(runtime: Runtime) -> Findings:
    """On SQS they are among the refusals."""
    tasks = runtime.open_tasks()
    if not tasks:
        default = runtime.settings.default_policy
        rest = f"; FNQUEUE_DEFAULT_POLICY={default} for those without" if default else ""
        yield Finding("ok", "policy", f"every task has one{rest}")
    elif runtime.engine.embedded:
        shown = some([f"{task.name} ({task.where})" for task in tasks])
        yield Finding("warning", "policy", f"none, so anybody may defer them: {shown}; SQS will not start with these")


def _annotations(runtime: Runtime) -> Findings:
    for task in runtime.registry:
        yield from (Finding("error", "arguments", f"{fault} ({task.where})") for fault in task.binder.faults())


def _store(runtime: Runtime) -> Findings:
    if runtime.engine.store is None:
        yield Finding("ok", "store", f"none; off: {WITHOUT_STORE}")


def _extras(runtime: Runtime) -> Findings:
    if not runtime.engine.embedded and not is_there("botocore"):
        yield Finding("error", "extras", str(ExtraMissing("an sqs:// url", "aws")))


# ---------------------------------------------------------------- queues


def _queues(runtime: Runtime, online: bool) -> Findings:
    queues = runtime.registry.queues()
    if runtime.engine.embedded or not queues:
        yield Finding("ok", "queues", some(queues) or "none")
        return
    if not online:
        yield Finding("ok", "queues", f"{some(queues)}; whether they exist is asked with --online")
        return
    try:
        wanted = [name for queue in queues for name in physical_queues(runtime, queue)]
        missing, without = absent(runtime.engine.broker, wanted)
    except BrokerUnreachable as error:
        yield Finding("error", "queues", str(error), UNREACHABLE)
    except FnQueueError as error:
        yield Finding("error", "queues", str(error))
    else:
        yield from _of_queues(runtime, missing, without, queues)


def _of_queues(runtime: Runtime, missing: list[str], without: list[str], queues: list[str]) -> Findings:
    made_at_first_use = runtime.engine.broker.creates_queues
    if missing:
        yield Finding("ok" if made_at_first_use else "error", "queues", not_there(missing))
    if without:
        yield Finding("warning", "queues", no_dead_letters(without))
    if not missing and not without:
        yield Finding("ok", "queues", f"{some(queues)}: there, with dead-letter queues")
