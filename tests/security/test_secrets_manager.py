"""Keys in AWS Secrets Manager: moto's server over HTTP, and a clock that we turn."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import Any

import pytest

from fnqueue import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.errors import KeyInvalid, KeysMissing, SettingsInvalid
from fnqueue.security import secrets_manager
from fnqueue.security.keyfile import add, promote
from fnqueue.security.keyring import new_key
from fnqueue.security.keys import key_source
from fnqueue.security.secrets_manager import SecretKeys
from tests.security.rings import given, whole
from tests.servers import moto_server

pytestmark = pytest.mark.aws


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


class Secret:
    def __init__(self, text: str) -> None:
        from botocore.session import Session

        session = Session()
        session.set_credentials("x", "x")
        self.name = f"shop/fnqueue {uuid.uuid4().hex}"
        self.client: Any = session.create_client("secretsmanager", region_name="eu-west-1", endpoint_url=moto_server())
        self.client.create_secret(Name=self.name, SecretString=text)

    @property
    def url(self) -> str:
        return f"secretsmanager://eu-west-1/{self.name.replace(' ', '%20')}?endpoint={moto_server()}"

    def put(self, text: str) -> None:
        self.client.put_secret_value(SecretId=self.name, SecretString=text)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def ids(source: Any) -> list[tuple[str, str]]:
    return [(record.key_id, record.state) for record in source.ring()]


def test_a_ring_is_read_from_a_secret_and_again_within_a_minute_of_a_change(clock: ManualClock) -> None:
    old, new = new_key(), new_key()
    secret = Secret(old)
    source = key_source(secret.url, None, clock=clock)
    first = source.ring()
    assert [state for _, state in ids(source)] == ["primary"]
    text = add(old, new)
    secret.put(promote(text, ids(key_source(new, None, clock=clock))[0][0]))
    clock.advance(seconds=59)
    assert source.ring() is first
    clock.advance(seconds=1)
    assert [state for _, state in ids(source)] == ["accept", "primary"]
    second = source.ring()
    clock.advance(seconds=300)
    assert source.ring() is second, "the same version is not read again"


def test_what_is_no_secret_is_said_and_not_asked_for_at_every_call(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Secret(new_key())
    asked = []
    really = secrets_manager._client

    def counted(region: str, endpoint: str | None) -> Any:
        asked.append(region)
        return really(region, endpoint)

    monkeypatch.setattr(secrets_manager, "_client", counted)
    source = SecretKeys(secret.url.replace("shop/", "shops/"), clock)
    for _ in range(5):
        with pytest.raises(KeysMissing, match="secretsmanager://eu-west-1/shops/.*there is no such secret"):
            source.ring()
    assert len(asked) == 1
    clock.advance(seconds=5)
    with pytest.raises(KeysMissing):
        source.ring()
    assert len(asked) == 2


def test_a_secret_that_breaks_is_told_once_and_the_ring_of_before_stays(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    secret = Secret(key := new_key())
    source = SecretKeys(secret.url, clock)
    before = source.ring()
    secret.put("hunter2-secret")
    for _ in range(3):
        clock.advance(seconds=60)
        assert source.ring() is before
    assert source.fault is not None
    assert len([record for record in caplog.records if record.name == "fnqueue.keys"]) == 1
    assert "hunter2" not in caplog.text
    secret.put(f"{key};queues=mail")
    clock.advance(seconds=5)
    assert source.ring().primary.limits.queues == ("mail",)
    assert source.fault is None


def test_a_server_that_does_not_answer_stops_nobody_who_has_a_ring(clock: ManualClock) -> None:
    source = SecretKeys(Secret(new_key()).url, clock)
    before = source.ring()
    source._endpoint = "http://127.0.0.1:1"
    clock.advance(seconds=60)
    assert source.ring() is before
    assert source.fault is not None
    with pytest.raises(KeysMissing, match="cannot read secretsmanager"):
        SecretKeys("secretsmanager://eu-west-1/a?endpoint=http://127.0.0.1:1", clock).ring()


def test_one_asks_and_the_others_go_on_with_what_they_have(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SecretKeys(Secret(new_key()).url, clock)
    before = source.ring()
    entered, go_on, really = threading.Event(), threading.Event(), secrets_manager._client

    def slow(region: str, endpoint: str | None) -> Any:
        entered.set()
        assert go_on.wait(20)
        return really(region, endpoint)

    monkeypatch.setattr(secrets_manager, "_client", slow)
    clock.advance(seconds=60)
    thread = threading.Thread(target=source.ring)
    thread.start()
    assert entered.wait(20)
    assert source.ring() is before, "it did not wait"
    go_on.set()
    thread.join(20)
    assert not thread.is_alive()


def test_no_log_of_botocore_shows_the_keys(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    key = whole("split")
    with caplog.at_level(logging.DEBUG):
        for name in ("botocore", "botocore.parsers", "botocore.endpoint", "botocore.hooks", "urllib3"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            source = SecretKeys(Secret(key).url, clock)
            caplog.clear()  # the test's own client wrote the secret
            source.ring()
        finally:
            for name in ("botocore", "botocore.parsers", "botocore.endpoint", "botocore.hooks", "urllib3"):
                logging.getLogger(name).setLevel(logging.NOTSET)
    assert len(caplog.records) > 5, "so that the test can fail"
    for part in key.partition(";")[0].split("+"):
        assert part.rpartition("-")[2][:16] not in caplog.text
        assert part.rpartition("-")[2][:16] not in repr(source)


@pytest.mark.parametrize(
    "url",
    [
        "secretsmanager://",
        "secretsmanager://eu-west-1",
        "secretsmanager://eu-west-1/",
        "secretsmanager:///name",
        "secretsmanager://key:secret@eu-west-1/name",
        "secretsmanager://eu-west-1/name?region=x",
    ],
)
def test_a_url_that_is_none_is_refused(url: str, clock: ManualClock) -> None:
    with pytest.raises(KeyInvalid, match="secretsmanager://REGION/NAME"):
        key_source(url, None, clock=clock)


def test_an_application_has_its_keys_from_a_secret(tmp_path: Any) -> None:
    key = whole("split")
    web, worker = Secret(given(key, "web")), Secret(given(key, "worker"))
    for secret, role in ((web, "web"), (worker, "worker")):
        fn = FnQueue(url=f"sqlite:///{tmp_path}/{role}.db", keys=secret.url)
        assert fn.runtime().faults() == []
        assert fn.runtime().ring().primary.can("sign") == (role == "web")
        fn.close()


def test_a_secret_that_cannot_be_read_is_a_fault_at_the_start(tmp_path: Any) -> None:
    fn = FnQueue(url=f"sqlite:///{tmp_path}/q.db", keys=f"secretsmanager://eu-west-1/none?endpoint={moto_server()}")
    (fault,) = fn.runtime().faults()
    assert "there is no such secret" in fault
    with pytest.raises(SettingsInvalid):
        fn.runtime().check()
    fn.close()
