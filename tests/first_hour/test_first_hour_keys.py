"""Keys that are missing, damaged, or open to others."""

from __future__ import annotations

import pytest

from fnqueue import FnQueue
from tests.first_hour.conftest import Says

SQS = {"url": "sqs://us-east-1/?endpoint=http://127.0.0.1:1", "default_policy": "public"}


def started(says: Says, code: str) -> None:
    def start(**settings: str) -> None:
        fn = FnQueue(**{**SQS, **settings})
        try:
            fn.runtime().check()
        finally:
            fn.close()

    says.python(f"start({code})", start=start, key=says_key())


def says_key() -> str:
    from fnqueue.security.keystrings import write_part

    return write_part("root", bytes((n * 37 + n * n * 11) % 251 for n in range(32)))


def test_no_keys_on_sqs(says: Says) -> None:
    started(says, "")


def test_a_text_that_is_no_key(says: Says) -> None:
    started(says, "keys='secret'")
    started(says, "keys='-----BEGIN PRIVATE KEY-----'")
    started(says, "keys=''")


def test_a_key_that_was_cut_or_mistyped(says: Says) -> None:
    started(says, "keys=key[:-3]")
    started(says, "keys=key[:20] + key[21] + key[20] + key[22:]")
    started(says, "keys=key.upper()")


def test_a_key_of_another_role(says: Says) -> None:
    started(says, "keys=key.replace('root', 'verify')")
    started(says, "keys='main:' + key")


def test_no_primary_key(says: Says) -> None:
    started(says, "keys='accept:' + key")
    started(says, "keys=key + ',' + key")


def test_both_a_text_and_a_file(says: Says) -> None:
    started(says, "keys=key, keys_file='fnqueue.keys'")


def test_a_key_file_that_is_missing(says: Says) -> None:
    started(says, "keys_file='fnqueue.keys'")


def test_a_key_file_that_others_can_read(says: Says) -> None:
    path = says.folder / "fnqueue.keys"
    path.write_text(f"primary:{says_key()}\n")
    path.chmod(0o644)
    started(says, "keys_file='fnqueue.keys'")


def test_a_key_file_that_is_empty_or_none(says: Says) -> None:
    path = says.folder / "fnqueue.keys"
    path.write_text("")
    path.chmod(0o600)
    started(says, "keys_file='fnqueue.keys'")
    started(says, "keys_file='.'")


@pytest.mark.system
def test_commands_on_keys(says: Says) -> None:
    says.command("fnqueue", "keys", "list")
    says.command("fnqueue", "keys", "check", "--file", "nothing.keys")
    says.command("fnqueue", "keys", "new", "--file", "nowhere/fnqueue.keys")
