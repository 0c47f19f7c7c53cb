"""Suite kms against moto's KMS, over HTTP: what is asked, how often, and what refusals mean.

`kms` stands between and counts. A web node and a worker each have a ring of their own, as in two processes.
"""

from __future__ import annotations

import gc
import logging
import pickle
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from fnqueue.aws import hide_answers
from fnqueue.clock import ManualClock
from fnqueue.errors import EnvelopeError, KeyInvalid, KmsUnavailable, SettingsInvalid
from fnqueue.security.envelope import peek, verify
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keystrings import new_key
from fnqueue.security.kms import client, datakeys
from fnqueue.security.kms.arn import parse_kms_key
from fnqueue.security.kms.client import KmsClient
from fnqueue.security.kms.datakeys import DataKey, Kms
from fnqueue.security.primitives import from_base64, to_base64
from fnqueue.security.suites import Unsealable
from tests.broker.sqs_proxy import Proxy, answer_html, fail, lose_request
from tests.security.conftest import Calls
from tests.security.rings import given, kms_key
from tests.servers import moto_server

ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = {"fnqueue:environment": "production", "fnqueue:queue": "billing"}


@pytest.fixture
def kms() -> Iterator[Proxy]:
    proxy = Proxy(moto_server())
    yield proxy
    proxy.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Site:
    """`web` seals, `worker` opens; both under one clock."""

    def __init__(self, kms: Proxy, clock: ManualClock) -> None:
        self.arn = kms_key(kms.endpoint)
        self.key = new_key("5", kms=self.arn)
        self.web, self.worker = (self.ring(role, clock) for role in ("web", "worker"))
        self.calls = Calls(self.web)

    def ring(self, role: str, clock: ManualClock) -> KeyRing:
        record = KeyRing.from_text(given(self.key, role)).primary
        key = parse_kms_key(self.arn)
        return KeyRing([replace(record, sealing=Kms(key.key_id, KmsClient(key), clock))])

    def seal(self, **changes: Any) -> str:
        return self.calls.seal(**changes)

    def open(self, body: str, **changes: Any) -> dict[str, Any]:
        return self.calls.open(body, **({"keyring": self.worker} | changes))

    def code(self, body: str, **changes: Any) -> str:
        return self.calls.code(body, **({"keyring": self.worker} | changes))

    def with_dk(self, body: str, dk: str) -> str:
        """The message with another `dk`, signed again: what a holder of the signing key can make."""
        text = body.rpartition(".")[0].replace(peek(body).data_key or "", dk)
        return f"{text}.{self.web.primary.context('production', 'billing').tag.make(text.encode()).decode()}"


@pytest.fixture
def site(kms: Proxy, clock: ManualClock) -> Site:
    return Site(kms, clock)


# ------------------------------------------------------------------ who asks what


def test_a_web_node_only_makes_data_keys_and_a_worker_only_opens_them(site: Site, kms: Proxy) -> None:
    body = site.seal()
    assert kms.operations() == ["GenerateDataKey"]
    assert site.open(body)["args"] == [7, site.calls.secret]
    assert kms.operations() == ["GenerateDataKey", "Decrypt"]


def test_kms_is_told_the_key_the_environment_and_the_queue(site: Site, kms: Proxy) -> None:
    site.open(site.seal())
    asked = {"KeyId": site.arn.partition("?")[0], "EncryptionContext": CONTEXT}
    assert kms.requests("GenerateDataKey") == [asked | {"KeySpec": "AES_256"}]
    assert {name: value for name, value in kms.requests("Decrypt")[0].items() if name != "CiphertextBlob"} == asked


def test_a_dashboard_verifies_and_is_not_told_which_kms_key_it_is(site: Site, kms: Proxy) -> None:
    text = given(site.key, "dashboard")
    assert "kms=" not in text
    body = site.seal()
    verified = verify(body, keyring=KeyRing.from_text(text), environment="production", queue="billing", now=1e9)
    with pytest.raises(EnvelopeError) as refused:
        verified.unseal()
    assert refused.value.code == "UNKNOWN_KEY"
    assert kms.operations() == ["GenerateDataKey"]


# ------------------------------------------------------------------ kept for a while


def test_a_data_key_seals_many_messages_for_five_minutes(site: Site, kms: Proxy, clock: ManualClock) -> None:
    bodies = [site.seal() for _ in range(50)]
    assert len({peek(body).data_key for body in bodies}) == 1
    assert len({body.rsplit(".", 2)[1][:32] for body in bodies}) == 50, "each has its own nonce, and so its own key"
    clock.advance(seconds=299)
    site.seal()
    assert len(kms.asked) == 1
    clock.advance(seconds=2)
    assert peek(site.seal()).data_key != peek(bodies[0]).data_key
    assert kms.operations() == ["GenerateDataKey"] * 2


def test_a_data_key_seals_ten_thousand_messages_at_most(site: Site, kms: Proxy) -> None:
    sealing = site.web.primary.sealing
    assert sealing is not None
    found = [sealing.to_seal("production", "billing").dk for _ in range(10_000)]
    assert len(set(found)) == 1
    assert sealing.to_seal("production", "billing").dk != found[0]
    assert len(kms.asked) == 2


def test_each_queue_and_environment_has_its_own_data_key(site: Site, kms: Proxy) -> None:
    places = [{}, {"queue": "mail"}, {"environment": "staging"}]
    bodies = [site.seal(**place) for place in places for _ in range(3)]
    assert len({peek(body).data_key for body in bodies}) == len(kms.asked) == 3


def test_a_worker_opens_a_data_key_once_in_five_minutes(site: Site, kms: Proxy, clock: ManualClock) -> None:
    bodies = [site.seal() for _ in range(20)]
    for body in bodies:
        site.open(body)
    assert len(kms.requests("Decrypt")) == 1
    clock.advance(seconds=301)
    for body in bodies:
        site.open(body)
    assert len(kms.requests("Decrypt")) == 2


def test_a_worker_keeps_so_many_data_keys_and_no_more(
    site: Site, kms: Proxy, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datakeys, "OPENED_MAX", 3)
    worker, bodies = site.ring("worker", clock), []
    for _ in range(4):
        bodies.append(site.seal())
        clock.advance(seconds=1)
        site.web = site.ring("web", clock)
        site.calls.ring = site.web
    for body in [*bodies, *bodies[1:], bodies[0]]:
        site.open(body, keyring=worker)
    assert len(kms.requests("Decrypt")) == 5


def test_what_is_too_old_is_let_go(site: Site, clock: ManualClock) -> None:
    before = _data_keys()
    site.seal()
    assert len(_data_keys()) == len(before) + 1
    clock.advance(seconds=301)
    with pytest.raises(Unsealable):
        site.web.primary.sealing.to_open("production", "mail", None)  # type: ignore[union-attr]
    site.web.primary.sealing._here().made.get("another")  # type: ignore[union-attr]
    assert len(_data_keys()) == len(before), "whoever asks for something else"


def _data_keys() -> list[DataKey]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is DataKey]  # of others it may be a property, and raise


def test_of_many_threads_that_need_a_data_key_one_asks(site: Site, kms: Proxy) -> None:
    started = threading.Barrier(16)

    def slow(members: Any, forward: Any) -> Any:
        time.sleep(0.2)  # so that the others come to their turn
        return forward()

    def at_once(work: Any) -> list[Any]:
        found: list[Any] = []

        def run() -> None:
            started.wait(10)
            found.append(work())

        threads = [threading.Thread(target=run) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return found

    kms.then("GenerateDataKey", slow)
    bodies = at_once(site.seal)
    assert len(bodies) == 16
    assert len(kms.requests("GenerateDataKey")) == 1
    kms.then("Decrypt", slow)
    assert len(at_once(lambda: site.open(bodies[0]))) == 16
    assert len(kms.requests("Decrypt")) == 1


# ------------------------------------------------------------------ rubbish


def test_a_signers_rubbish_is_asked_about_once_and_then_refused_without_asking(
    site: Site, kms: Proxy, clock: ManualClock
) -> None:
    wrapped = bytearray(from_base64((peek(site.seal()).data_key or "").encode()))
    wrapped[-1] ^= 1
    rubbish = [site.with_dk(site.seal(), to_base64(bytes(wrapped)).decode()) for _ in range(100)]
    assert {site.code(body) for body in rubbish} == {"UNSEAL"}
    assert len(kms.requests("Decrypt")) == 1
    clock.advance(seconds=301)
    assert site.code(rubbish[0]) == "UNSEAL"
    assert len(kms.requests("Decrypt")) == 2


def test_a_stranger_makes_a_worker_ask_nothing(site: Site, kms: Proxy) -> None:
    """The tag is looked at first."""
    body = site.seal()
    dk = peek(body).data_key or ""
    for other in (to_base64(bytes(184)).decode(), dk[:-4] + "AAAA", ""):
        assert site.code(body.replace(dk, other, 1)) == "BAD_TAG"
    assert kms.requests("Decrypt") == []


@pytest.mark.parametrize("dk", ["", "=", "AAA=", "A", "A" * 1028, "AB", "prüf"])
def test_what_is_no_wrapped_key_at_all_is_not_asked_about(site: Site, kms: Proxy, dk: str) -> None:
    with pytest.raises(Unsealable):
        site.worker.primary.sealing.to_open("production", "billing", dk)  # type: ignore[union-attr]
    assert site.code(site.with_dk(site.seal(), "A")) == "UNSEAL"
    assert kms.requests("Decrypt") == []


def test_a_message_of_suite_kms_without_a_data_key_does_not_open(site: Site, kms: Proxy) -> None:
    body = site.seal()
    text = body.rpartition(".")[0].replace(f',"dk":"{peek(body).data_key}"', "")
    assert peek(f"{text}.{body.rpartition('.')[2]}").data_key is None
    tag = site.web.primary.context("production", "billing").tag.make(text.encode()).decode()
    assert site.code(f"{text}.{tag}") == "UNSEAL"


@pytest.mark.parametrize("place", [{"queue": "mail"}, {"environment": "staging"}])
def test_a_data_key_that_is_moved_to_another_queue_is_refused_by_kms_itself(
    site: Site, kms: Proxy, clock: ManualClock, place: dict[str, str]
) -> None:
    """By a signer who has the data key of one queue, and no right for the other: he seals for it all the same."""
    stolen = site.web.primary.sealing.to_seal("production", "billing")  # type: ignore[union-attr]

    class Thief:
        key_id, opens = site.web.primary.sealing.key_id, True  # type: ignore[union-attr]

        def to_seal(self, environment: str, queue: str) -> DataKey:
            return stolen  # type: ignore[return-value]

    ring = KeyRing([replace(site.web.primary, sealing=Thief())])  # type: ignore[arg-type]
    forged = site.seal(keyring=ring, **place)
    assert site.code(forged, **place) == "UNSEAL"
    assert kms.requests("Decrypt")[0]["EncryptionContext"] != CONTEXT
    assert site.open(site.seal(keyring=ring)), "in its own queue the same data key is good"


def test_a_data_key_of_another_length_does_not_open(site: Site, kms: Proxy) -> None:
    """Whoever may call kms:Encrypt can wrap what he likes."""
    from tests.security.rings import kms_client

    arn = site.arn.partition("?")[0]
    wrapped = kms_client().encrypt(KeyId=arn, Plaintext=b"short", EncryptionContext=CONTEXT)["CiphertextBlob"]
    assert site.code(site.with_dk(site.seal(), to_base64(wrapped).decode())) == "UNSEAL"


@pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
def test_what_kms_says_was_not_made_for_this_is_hostile(site: Site, kms: Proxy, code: str) -> None:
    body = site.seal()
    kms.then("Decrypt", fail(400, code))
    assert site.code(body) == "UNSEAL"


# ------------------------------------------------------------------ trouble

REFUSALS = {
    "AccessDeniedException": "allow kms:",
    "DisabledException": "enable it",
    "KMSInvalidStateException": "keep it until nothing waits",
    "NotFoundException": "no such key in this account and region",
    "SomethingNewException": "KMS says SomethingNewException",
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_of_kms_is_said_with_its_cure_and_not_asked_for_again_at_once(
    site: Site, kms: Proxy, clock: ManualClock, code: str
) -> None:
    secret = "User: arn:aws:iam::1:user/x is not authorized, signed AKIA"
    kms.then("GenerateDataKey", fail(400, code, secret))
    for _ in range(10):
        with pytest.raises(KmsUnavailable, match=REFUSALS[code]) as refused:
            site.seal()
        assert refused.value.retryable
        assert site.arn.partition("?")[0] in str(refused.value)
        assert "AKIA" not in str(refused.value)
    assert len(kms.asked) == 1
    clock.advance(seconds=5.1)
    body = site.seal()
    kms.then("Decrypt", fail(400, code, secret))
    for _ in range(10):
        with pytest.raises(KmsUnavailable, match=REFUSALS[code]):
            site.open(body)
    assert len(kms.requests("Decrypt")) == 1
    clock.advance(seconds=5.1)
    assert site.open(body)


@pytest.mark.parametrize(
    "trouble",
    [lose_request, fail(500), fail(503, "ServiceUnavailable"), fail(400, "ThrottlingException"), answer_html],
    ids=["no answer", "500", "503", "throttled", "html"],
)
def test_a_kms_that_does_not_answer_is_asked_again_after_a_second(
    site: Site, kms: Proxy, clock: ManualClock, trouble: Any
) -> None:
    body = site.seal()
    kms.then("Decrypt", *[trouble] * 2)
    for _ in range(10):
        with pytest.raises(KmsUnavailable, match="cannot open a data key"):
            site.open(body)
    assert len(kms.requests("Decrypt")) <= 2, "botocore tries twice"
    clock.advance(seconds=1.1)
    kms._spoils.clear()
    assert site.open(body)


def test_a_kms_that_is_not_there_is_an_error_that_says_where(clock: ManualClock) -> None:
    ring = KeyRing.from_text(new_key("5", kms=f"{ARN}?endpoint=http://127.0.0.1:9"))
    with pytest.raises(KmsUnavailable, match=r"make a data key with arn:.* at http://127.0.0.1:9"):
        Calls(ring).seal()


def test_trouble_with_one_queue_is_none_with_another(site: Site, kms: Proxy) -> None:
    """A policy may allow the one and not the other, by the encryption context."""
    kms.then("GenerateDataKey", fail(400, "AccessDeniedException"))
    with pytest.raises(KmsUnavailable):
        site.seal()
    assert site.seal(queue="mail")


# ------------------------------------------------------------------ secrets


def test_no_data_key_is_logged_shown_or_pickled(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain: list[bytes] = []
    prk_of = datakeys.prk_of
    monkeypatch.setattr(datakeys, "prk_of", lambda kind, raw: (plain.append(raw), prk_of(kind, raw))[1])
    with caplog.at_level(logging.DEBUG):
        site.open(site.seal())
    assert "TrentService.Decrypt" in caplog.text, "so that it can fail: botocore says all else"
    assert len(set(plain)) == 1
    sealing = site.web.primary.sealing
    assert sealing is not None
    data_key = sealing.to_seal("production", "billing")
    shown = caplog.text + repr([sealing, data_key, site.web, site.web.primary, vars(sealing)])
    for form in (b64encode(plain[0]).decode(), plain[0].hex(), repr(plain[0])[2:-1]):
        assert form not in shown
    for thing in (sealing, data_key, site.worker.primary.sealing):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_other_answers_of_aws_are_logged_as_before(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("botocore.parsers")
    with caplog.at_level(logging.DEBUG):
        hide_answers(client.HOLDS_DATA_KEY)
        logger.debug("Response body:\n%r", b'{"KeyId":"x"}')
        logger.debug("Response headers: %r", {"Plaintext": "x"})
        logger.debug("Response body:\n%r", b'{"Plaintext":"secret"}')
    assert [record.getMessage() for record in caplog.records] == [
        """Response body:\nb'{"KeyId":"x"}'""",
        "Response headers: {'Plaintext': 'x'}",
    ]


# ------------------------------------------------------------------ forks

SCENE = """
import ctypes, os, sys
from fnqueue.security.envelope import seal
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing
ring = KeyRing.from_text(sys.argv[1])
def sealed():
    return seal(keyring=ring, environment="e", queue="q", id=new_id(1e9), task="t", created_at=1e9, expires_at=2e9,
                principal_kind="anonymous", sealed={"p": {"i": "x", "k": "a"}})
sealing = ring.primary.sealing
dk = sealing.to_seal("e", "q").dk
before = sealing._wrapping._client()
for lock in sealing._memory._turns:
    lock.acquire()  # as a thread may have that the child has not
for fork in (os.fork, ctypes.PyDLL(None).fork):
    pid = fork()
    if pid == 0:
        try:
            theirs = sealing.to_seal("e", "q").dk
            os._exit(0 if theirs != dk and sealing._wrapping._client() is not before and sealed() else 3)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert sealing.to_seal("e", "q").dk == dk and sealing._wrapping._client() is before
"""


def test_a_forked_process_makes_its_own_clients_and_its_own_data_keys(kms: Proxy) -> None:
    key = new_key("5", kms=kms_key(kms.endpoint))
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCENE, key], capture_output=True, text=True, timeout=60, cwd=root
    )
    assert done.returncode == 0, done.stderr
    assert kms.operations() == ["GenerateDataKey"] * 3


# ------------------------------------------------------------------ the text


@pytest.mark.parametrize(
    ("kms_text", "why"),
    [
        ("arn:aws:kms:eu-west-1:123456789012:alias/shop", "names an alias; name the key"),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "is no ARN of a KMS key; write it as kms=arn:aws:kms"),
        ("arn:aws:sqs:eu-west-1:123456789012:shop", "is no ARN of a KMS key"),
        (ARN.replace("123456789012", "12345"), "is no ARN"),
        (f"{ARN}?region=us-east-1", "takes endpoint and profile"),
        (f"{ARN}?endpoint=", "takes endpoint and profile"),
        (f"{ARN}?endpoint", "takes endpoint and profile"),
        (f"{ARN}?endpoint=ftp://x", "endpoint in kms= must be like"),
        (f"{ARN}?endpoint=http://user:hunter2@127.0.0.1", "endpoint in kms= must be like"),
        (f"{ARN}?profile=a&profile=b", "once each"),
    ],
)
def test_a_faulty_kms_key_is_refused_with_the_reason(kms_text: str, why: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        KeyRing.from_text(new_key("5", kms=kms_text))
    (fault,) = refused.value.faults
    assert why in fault
    assert "hunter2" not in fault


@examples(
    st.text() | st.builds("{}{}{}".format, st.sampled_from([ARN, ARN[:40], ""]), st.sampled_from("?:/&"), st.text())
)
def test_any_text_names_a_kms_key_or_is_refused_and_never_another_error(text: str) -> None:
    try:
        key = parse_kms_key(text)
    except KeyInvalid:
        return
    assert key.arn in text
    assert key.region


def test_the_kms_key_stands_beside_the_signing_key_with_limits_and_states_as_in_every_ring() -> None:
    one = new_key("5", kms=f"{ARN}?endpoint=http://127.0.0.1:4566&profile=shop")
    other = new_key("5", kms=ARN.replace("key/1", "key/mrk-2"))
    ring = KeyRing.from_text(f"{one};queues=mail|billing # until May\naccept:{other},revoked:{new_key()}")
    first, second, _ = ring
    assert first.parts == ("sign", "state", "kms")
    assert (first.state, second.state) == ("primary", "accept")
    assert first.limits.queues == ("mail", "billing")
    assert first.sealing is not None
    assert second.sealing is not None
    assert first.sealing.key_id != second.sealing.key_id
    assert parse_kms_key(f"{ARN}?endpoint=http://127.0.0.1:4566").key_id == first.sealing.key_id, "whoever asks where"


def test_a_ring_is_read_without_asking_kms(kms: Proxy) -> None:
    KeyRing.from_text(new_key("5", kms=kms_key(kms.endpoint)))
    assert kms.asked == []


def test_a_data_key_that_kms_denies_keeps_no_other_message_waiting(site: Site, kms: Proxy, clock: ManualClock) -> None:
    """A signer names one that KMS says no to, as AWS does of keys that are not there: only his own message waits."""
    bodies = [site.seal()]
    clock.advance(seconds=301)
    bodies.append(site.seal())
    denied = site.with_dk(bodies[0], to_base64(bytes(184)).decode())
    kms.then("Decrypt", fail(400, "AccessDeniedException"))
    with pytest.raises(KmsUnavailable, match="AccessDenied"):
        site.open(denied)
    assert all(site.open(body) for body in bodies)
    with pytest.raises(KmsUnavailable, match="AccessDenied"):
        site.open(denied)
    assert len(kms.requests("Decrypt")) == 3, "nor is KMS asked about it again at once"
