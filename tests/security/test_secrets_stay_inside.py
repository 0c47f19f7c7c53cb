"""Keys, arguments and what a cause knew are searched for in every text that could leave the process."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fnqueue.app import FnQueue
from fnqueue.backends import url_faults
from fnqueue.clock import ManualClock
from fnqueue.errors import FnQueueError, SettingsInvalid
from fnqueue.security import keyfile, tokens
from fnqueue.security.envelope import verify
from fnqueue.security.keyring import KeyRing, entries, make_record, new_key, parse_key
from fnqueue.security.keys import FileKeys, FixedKeys
from fnqueue.security.primitives import to_base32, to_base64
from fnqueue.security.records import seal_record, unseal_record
from fnqueue.settings import Settings


def material(key: str) -> list[str]:
    """A key, and what is derived from it, in every spelling a text could have it in."""
    root = parse_key(key)
    record = make_record(root)
    raw = [root, *record.purposes.values()]
    spelled = [key.removeprefix("fnqk1-root-")]
    for secret in raw:
        spelled += [secret.hex(), to_base32(secret)[:50], to_base64(secret).decode(), repr(secret)[2:-1]]
    # A part is a leak as well: any 12 characters in a row.
    return [part[at : at + 12] for part in spelled for at in range(0, len(part) - 12, 4)]


def assert_clean(text: str, secrets: list[str]) -> None:
    assert [secret for secret in secrets if secret in text] == []


def test_no_repr_shows_a_key(tmp_path: Path) -> None:
    key = new_key()
    ring = KeyRing.from_text(f"{key};queues=billing")
    context = ring.primary.context("production", "billing")
    path = tmp_path / "fnqueue.keys"
    path.write_text(key)
    path.chmod(0o600)
    follower = FileKeys(path, ManualClock())
    follower.ring()
    shown = [ring, ring.primary, ring.records, context, ring.primary.sealing, entries(key), follower, FixedKeys(key)]
    for thing in shown:
        for text in (repr(thing), str(thing), f"{thing}"):
            assert_clean(text, material(key))
    assert ring.primary.key_id in repr(ring)


def test_no_fault_of_a_ring_quotes_what_was_given() -> None:
    key = new_key()
    data = key.removeprefix("fnqk1-root-")
    at = next(at for at in range(20, 40) if data[at] != data[at + 1])
    swapped = data[:at] + data[at + 1] + data[at] + data[at + 2 :]
    wrong = [
        f"fnqk1-root-{swapped}",
        f"fnqk1-root-{data[:-1]}",
        f"fnqk1-sign-{data}",
        f"fnqk2-root-{data}",
        f"{data}:{key}",
        f"{key};{data}={data}",
        f"{key};kinds={data}",
        f"fnqk1-{data}",
        data,
        f"{key} {key}",
        f"primary:{key} primary:{new_key()}",
    ]
    for text in wrong:
        with pytest.raises(FnQueueError) as refused:
            KeyRing.from_text(text)
        everything = "".join(traceback.format_exception(refused.value)) + repr(refused.value) + repr(refused.value.args)
        # The traceback quotes source lines and no values, so it must be clean as well.
        assert_clean(everything, material(key))
        assert_clean(everything, [swapped[at : at + 12] for at in range(0, 44, 4)])


def refusals(calls: Any, ring: KeyRing, other: KeyRing) -> Iterator[Callable[[], Any]]:
    body, secret = calls.seal(), calls.secret
    opened = {"keyring": ring, "environment": "production", "queue": "billing", "now": calls.now}
    yield lambda: calls.open(body[:-1] + ("A" if body[-1] != "A" else "E"))
    yield lambda: calls.open(body, keyring=other)
    yield lambda: calls.open(body, queue="mail")
    yield lambda: calls.open(body, now=calls.now + 10**6)
    yield lambda: calls.open(body, serves=lambda task: False)
    yield lambda: verify(secret, **opened)
    yield lambda: calls.seal(sealed={"p": {"i": secret, "k": "u"}, "args": [secret, float("nan"), None]})
    yield lambda: calls.seal(sealed={"p": {"i": secret, "k": "u"}, "args": [secret, object()]})
    yield lambda: calls.seal(sealed={"p": {"i": secret, "k": "u"}, "args": secret})
    yield lambda: calls.seal(sealed={"p": {"i": secret, "k": secret}, "args": []})
    yield lambda: calls.seal(sealed={"p": {"i": "7", "k": "u"}, secret: secret})
    yield lambda: unseal_record(ring, "result", "other", seal_record(ring, "result", "id", secret.encode()))
    yield lambda: tokens.read(ring, secret, subject=secret, now=0)


def test_no_error_shows_an_argument_or_a_key(calls: Any) -> None:
    key = new_key()
    ring, other = KeyRing.from_text(key), KeyRing.from_text(new_key())
    calls = type(calls)(ring)
    count = 0
    for refuse in refusals(calls, ring, other):
        with pytest.raises(FnQueueError) as refused:
            refuse()
        error = refused.value
        everything = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert_clean(everything, [calls.secret, *material(key)])
        assert error.__cause__ is None
        count += 1
    assert count == 13


def test_what_was_opened_is_not_shown_by_the_verified(calls: Any, ring: KeyRing) -> None:
    verified = verify(calls.seal(), keyring=ring, environment="production", queue="billing", now=calls.now)
    verified.unseal()
    assert calls.secret not in repr(verified)
    assert "staff" not in repr(verified)


def test_the_log_of_a_rotation_shows_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, clock, new = tmp_path / "fnqueue.keys", ManualClock(), new_key()
    with caplog.at_level(logging.DEBUG):
        source = FileKeys(path, clock, create=True)
        source.ring()
        old = path.read_text().split(":")[1].strip()
        keyfile.update(path, lambda text: keyfile.add(text, new, "primary"))
        clock.advance(seconds=1)
        source.ring()
        path.write_text(new + "x")
        clock.advance(seconds=1)
        source.ring()
    assert len(caplog.records) == 3
    assert_clean(caplog.text, material(old) + material(new))


def test_keys_do_not_travel_to_other_processes_by_accident(ring: KeyRing) -> None:
    for thing in (ring.primary, ring, ring.primary.sealing):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


# ---------------------------------------------------------------- what stands in the wrong setting


def test_a_key_that_is_given_as_the_path_of_the_key_file_is_not_quoted(tmp_path: Path) -> None:
    key = new_key()
    for path in (key, f"primary:{key}", str(tmp_path / key)):
        fn = FnQueue(url=f"sqlite:///{tmp_path}/fnqueue.db", keys_file=path)
        with pytest.raises(SettingsInvalid, match="FNQUEUE_KEYS") as refused:
            fn.runtime().check()
        assert_clean("".join(traceback.format_exception(refused.value)), material(key))
        with pytest.raises(FnQueueError) as refused_file:
            keyfile.read(path)
        assert_clean(str(refused_file.value), material(key))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@localhost/0",
        "redis://:what?hunter2@localhost/0",
        "redis://localhost/0?password=hunter2",
        "redis://localhost/0?password=is@hunter2",
        "redis://localhost/0#hunter2",
        "redis:hunter2@localhost",
        "postgresql://localhost/shop?user=joe&password=hunter2",
        "sqlite:joe:hunter2@localhost/shop.db",
        "sqlite://joe:hunter2@localhost/shop.db",
        "sqlite:///shop.db?password=hunter2",
        "sqs://eu-west-1/shop-?endpoint=http://127.0.0.1:9324/?token=hunter2",
        "sqs://eu-west-1/shop-?endpoint=http://127.0.0.1:9324/%23hunter2",
        "fnqk1-root-hunter2",
    ],
)
def test_no_fault_of_a_url_quotes_its_secrets(url: str) -> None:
    for setting in ("url", "store_url"):
        faults = url_faults(Settings.build({setting: url}))
        assert faults
        assert [fault for fault in faults if "hunter2" in fault] == []
