"""What all that asks AWS has in common: where, with whose credentials, one client a process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from fnqueue.aws import ProcessClient, is_endpoint, is_loopback, make_client
from fnqueue.clock import ManualClock
from fnqueue.errors import KeyInvalid
from fnqueue.security.secrets_manager import SecretKeys

SERVICES = ["sqs", "s3", "kms", "secretsmanager", "scheduler"]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's, in a file, as `aws configure` writes it."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIAREAL\naws_secret_access_key = real\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))


def signer_of(client: Any) -> str:
    return str(client._request_signer._credentials.access_key)


def client_of(service: str, endpoint: str | None) -> Any:
    waits = {"connect_seconds": 1, "read_seconds": 1, "attempts": 1}
    return make_client(service, region="eu-west-1", endpoint=endpoint, **waits)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("service", SERVICES)
def test_a_real_accounts_credentials_are_shown_to_no_server_on_this_machine(service: str) -> None:
    assert signer_of(client_of(service, "http://127.0.0.1:9")) == "x"
    assert signer_of(client_of(service, None)) == "AKIAREAL"


@pytest.mark.usefixtures("account")
def test_a_secret_on_this_machine_is_asked_for_without_a_real_accounts_credentials() -> None:
    from fnqueue.security import secrets_manager

    assert signer_of(secrets_manager._client("eu-west-1", "http://127.0.0.1:9")) == "x"


@pytest.mark.parametrize(
    "endpoint", ["http://joe:secret@127.0.0.1:9", "nowhere", "ftp://a", "http://a:0", "http://a?x=1"]
)
def test_the_endpoint_of_a_secret_is_a_server_and_holds_no_credentials(endpoint: str) -> None:
    with pytest.raises(KeyInvalid) as refused:
        SecretKeys(f"secretsmanager://eu-west-1/shop?endpoint={endpoint}", ManualClock())
    assert "secret@" not in str(refused.value)


def test_this_machine_has_many_names() -> None:
    ours = ["http://127.0.0.1:9324", "http://localhost", "http://s3.localhost:9", "http://[::1]:9", "http://127.9.9.9"]
    assert [is_endpoint(url) and is_loopback(url) for url in ours] == [True] * len(ours)
    others = [None, "http://10.0.0.1", "https://localhost.example.com", "http://127.0.0.1.example.com"]
    assert [is_loopback(url) for url in others] == [False] * len(others)


def test_threads_that_are_first_at_once_have_one_client_and_a_child_its_own() -> None:
    made: list[int] = []
    client = ProcessClient(lambda: made.append(os.getpid()) or object())
    start, found = threading.Barrier(8), list[Any]()
    threads = [threading.Thread(target=lambda: (start.wait(), found.append(client()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(set(map(id, found))), made) == (1, [os.getpid()])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"own" if client() is not found[0] and made[-1] == os.getpid() else b"not")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 3) == b"own"
    os.close(read)
    os.close(write)
    assert client() is found[0]
