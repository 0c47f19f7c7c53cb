"""What somebody does with a message on its way, or with a key that is not meant for it: in every suite.

Web nodes seal with what a web node has of a key, workers open with what a worker has; attackers have what the test
says. Rows of the table in SECURITY.md carry the names of these tests.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from fnqueue.errors import EnvelopeError, KeyInvalid, KeysMissing, KmsUnavailable
from fnqueue.security.envelope import peek, verify
from fnqueue.security.keyfile import promote, revoke
from fnqueue.security.keyring import KeyRing
from fnqueue.security.primitives import from_base64, to_base64
from fnqueue.security.suites import DIGITS
from tests.security.conftest import Calls
from tests.security.rings import NEEDED_TO_SEAL, SIGNED, SUITES, given, signing_part, whole, with_sealing_part_of


class Site:
    """A web node, a worker and a dashboard, each with its own part of one key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.web = KeyRing.from_text(given(key, "web"))
        self.worker = KeyRing.from_text(given(key, "worker"))
        self.dashboard = KeyRing.from_text(given(key, "dashboard"))
        self.calls = Calls(self.web)

    @property
    def key_id(self) -> str:
        return self.web.primary.key_id

    def seal(self, **changes: Any) -> str:
        return self.calls.seal(**changes)

    def open(self, body: str, **changes: Any) -> dict[str, Any]:
        return self.calls.open(body, **({"keyring": self.worker} | changes))

    def code(self, body: str, **changes: Any) -> str:
        return self.calls.code(body, **({"keyring": self.worker} | changes))


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=SIGNED)
def signed_suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def site(suite: str) -> Site:
    return Site(whole(suite))


@pytest.fixture(scope="module")
def body(site: Site) -> str:
    return site.seal()


def parts(body: str) -> tuple[str, str, str]:
    """(all before the ciphertext, ciphertext, tag)"""
    prefix, ciphertext, tag = body.rsplit(".", 2)
    return prefix, ciphertext, tag


def retagged(ring: KeyRing, text: str, *, environment: str = "production", queue: str = "billing") -> str:
    """`text` with the tag that a holder of the signing key could give it."""
    return f"{text}.{ring.sealer.context(environment, queue).tag.make(text.encode()).decode()}"


def key_parts(entry: str) -> list[str]:
    return entry.partition(":")[2].partition(";")[0].split("+")


# ------------------------------------------------------------------ so that the others can fail


def test_what_a_web_node_seals_a_worker_opens(site: Site, body: str) -> None:
    assert site.open(body)["args"] == [7, site.calls.secret]
    assert site.calls.secret not in body


# ------------------------------------------------------------------ edited on its way


def test_a_header_relabelled_as_another_task_is_refused(site: Site, body: str) -> None:
    assert site.code(body.replace("send_invoice", "delete_account", 1)) == "BAD_TAG"


OTHERS: dict[str, Any] = {
    "ex": 2_000_000_000, "ct": 1, "nb": 1, "pk": "s", "id": "0" * 26, "rt": "0" * 26, "ek": "a" * 8, "dk": "QUJD",
    "tp": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
}  # fmt: skip


@pytest.mark.parametrize("change", OTHERS)
def test_a_header_whose_other_fields_are_edited_is_refused(site: Site, suite: str, change: str) -> None:
    body = site.seal(not_before=1_767_225_601, root="1" * 26, traceparent=OTHERS["tp"][:-1] + "1")
    fields = json.loads(body[body.index("{") : body.index("}") + 1])
    assert set(fields) - {"t", "q", "e"} == set(OTHERS) - ({"local": {"ek", "dk"}, "kms": set()}.get(suite, {"dk"}))
    if change in fields:
        edited = body.replace(f'"{change}":{json.dumps(fields[change])}', f'"{change}":{json.dumps(OTHERS[change])}', 1)
    else:  # put in
        edited = body.replace("}", f',"{change}":{json.dumps(OTHERS[change])}}}', 1)
    assert edited != body
    assert site.code(edited) == "BAD_TAG"


def test_a_message_moved_to_another_queue_is_refused(site: Site, body: str) -> None:
    assert site.code(body, queue="mail") == "CONTEXT"
    assert site.code(body.replace('"q":"billing"', '"q":"mail"', 1), queue="mail") == "BAD_TAG"


def test_a_message_moved_to_another_environment_is_refused(site: Site, body: str) -> None:
    assert site.code(body, environment="staging") == "CONTEXT"
    assert site.code(body.replace('"e":"production"', '"e":"staging"', 1), environment="staging") == "BAD_TAG"


def test_the_boundary_between_environment_and_queue_cannot_be_shifted(site: Site) -> None:
    body = site.seal(environment="prod", queue="uctionbilling")
    assert site.open(body, environment="prod", queue="uctionbilling")
    shifted = body.replace('"q":"uctionbilling"', '"q":"billing"', 1).replace('"e":"prod"', '"e":"production"', 1)
    assert site.code(shifted, environment="production", queue="billing") == "BAD_TAG"
    assert site.code(body, environment="production", queue="billing") == "CONTEXT"


def test_the_ciphertext_of_one_message_under_the_header_of_another_is_refused(site: Site, body: str) -> None:
    (prefix, _, tag), (_, ciphertext, other_tag) = parts(body), parts(site.seal(task="shop.tasks.refund"))
    assert site.code(f"{prefix}.{ciphertext}.{tag}") == "BAD_TAG"
    assert site.code(f"{prefix}.{ciphertext}.{other_tag}") == "BAD_TAG"


def test_a_ciphertext_moved_under_another_header_by_the_signer_himself_does_not_open(site: Site, body: str) -> None:
    """The tag is not all that binds the two: who signs, and cannot open, cannot make an old call mean another."""
    (prefix, _, _), (_, ciphertext, _) = parts(body), parts(site.seal(task="shop.tasks.refund"))
    assert site.code(retagged(site.web, f"{prefix}.{ciphertext}")) == "UNSEAL"


def test_an_edited_ciphertext_that_is_signed_again_does_not_open(site: Site, body: str) -> None:
    prefix, ciphertext, _ = parts(body)
    raw = bytearray(from_base64(ciphertext.encode()))
    for at in (0, 23, 24, 31, 32, len(raw) // 2, len(raw) - 1):
        raw[at] ^= 1
        assert site.code(retagged(site.web, f"{prefix}.{to_base64(bytes(raw)).decode()}")) == "UNSEAL"
        raw[at] ^= 1
    for length in (1, 16, 31, 32, 33, 48):
        assert site.code(retagged(site.web, f"{prefix}.{to_base64(bytes(raw[:length])).decode()}")) == "UNSEAL"


def test_a_second_spelling_of_the_same_tag_is_malformed(site: Site, body: str) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(body[-1])
    assert {site.code(body[:-1] + alphabet[last ^ bits]) for bits in (1, 2, 3)} == {"MALFORMED"}


def test_a_tag_of_another_length_is_refused(site: Site, body: str) -> None:
    text, _, tag = body.rpartition(".")
    other = "A" * (86 if len(tag) == 43 else 43)
    assert site.code(f"{text}.{other}") == "BAD_TAG"
    assert site.code(text) == "MALFORMED"


# ------------------------------------------------------------------ another suite


@pytest.mark.parametrize("digit", "0123456789")
def test_a_changed_suite_digit_is_refused(site: Site, body: str, digit: str) -> None:
    if digit != body[4]:
        assert site.code(f"fq1.{digit}{body[5:]}") == "SUITE"


def test_the_same_parts_as_a_key_of_another_suite_open_nothing(signed_suite: str) -> None:
    """A key's record says its suite; a ring that says another refuses every message, whoever signed it."""
    key = whole(signed_suite)
    other = "split" if signed_suite == "signed" else "signed"
    signer = given(key, "dashboard").replace(f"suite={signed_suite}", f"suite={other}")
    assert Site(key).code(Site(key).seal(), keyring=KeyRing.from_text(signer)) == "SUITE"


def test_a_queue_takes_only_the_suites_that_its_setting_names(site: Site, body: str, suite: str) -> None:
    assert site.open(body, suites=frozenset(DIGITS[suite]))
    others = frozenset(DIGITS.values()) - {DIGITS[suite]}
    assert site.code(body, suites=others) == "SUITE"


# ------------------------------------------------------------------ another key


def test_a_tag_stripped_and_another_producers_put_on_is_refused(suite: str, site: Site, body: str) -> None:
    """The other producer is trusted: both keys are in the worker's ring. He signs for himself what he cannot read."""
    other = Site(whole(suite))
    worker = KeyRing.from_text(given(site.key, "worker"), given(f"accept:{other.key}", "worker"))
    text = body.rpartition(".")[0]
    assert site.code(retagged(other.web, text), keyring=worker) == "BAD_TAG"  # signed by one, said to be by the other
    renamed = text.replace(site.key_id, other.key_id, 1)
    assert site.code(retagged(other.web, renamed), keyring=worker) in ("UNSEAL", "UNKNOWN_KEY")
    ek = site.web.primary.sealing.key_id  # type: ignore[union-attr]
    if ek is not None:
        renamed = renamed.replace(ek, other.web.primary.sealing.key_id, 1)  # type: ignore[union-attr, arg-type]
        if suite == "kms":  # KMS says IncorrectKeyException, which is UNSEAL too; moto says AccessDenied
            with pytest.raises(KmsUnavailable, match="AccessDenied"):
                site.open(retagged(other.web, renamed), keyring=worker)
        else:
            assert site.code(retagged(other.web, renamed), keyring=worker) == "UNSEAL"


def test_another_producer_with_the_same_sealing_key_cannot_take_over_a_message(signed_suite: str) -> None:
    """Both seal for the same workers, so only the signer's id in what is sealed keeps the two apart."""
    site = Site(whole(signed_suite))
    shared = with_sealing_part_of(whole(signed_suite), site.key)
    other = Site(shared)
    worker = KeyRing.from_text(given(site.key, "worker"), given(f"accept:{shared}", "worker"))
    body = site.seal()
    assert site.open(body, keyring=worker)
    assert site.open(other.seal(), keyring=worker)
    taken = body.rpartition(".")[0].replace(site.key_id, other.key_id, 1)
    assert site.code(retagged(other.web, taken), keyring=worker) == "UNSEAL"


def test_a_key_that_nobody_gave_the_worker_is_unknown(suite: str, site: Site) -> None:
    assert site.code(Site(whole(suite)).seal()) == "UNKNOWN_KEY"


def test_a_revoked_key_opens_nothing(suite: str) -> None:
    old, new = whole(suite), whole(suite)
    site = Site(old)
    text = promote(f"{old} {new}", KeyRing.from_text(new).primary.key_id)
    assert site.open(site.seal(), keyring=KeyRing.from_text(given(text, "worker")))
    text = revoke(text, site.key_id)
    assert site.code(site.seal(), keyring=KeyRing.from_text(given(text, "worker"))) == "REVOKED_KEY"


@pytest.mark.parametrize(
    "limit", ["tasks=shop.tasks.refund", "tasks=mail.*", "queues=mail", "kinds=service|schedule", "mint=no"]
)
def test_a_stolen_key_is_worth_no_more_than_its_limits_at_the_worker(suite: str, limit: str) -> None:
    key = whole(suite)
    thief = Site(key)
    worker = KeyRing.from_text(f"{given(key, 'worker')};{limit}")
    assert thief.open(thief.seal())
    assert thief.code(thief.seal(), keyring=worker) == "KEY_NOT_FOR_TASK"
    with pytest.raises(KeyInvalid, match="outside its limits"):
        thief.seal(keyring=KeyRing.from_text(f"{given(key, 'web')};{limit}"))


def test_a_key_that_may_not_mint_still_speaks_for_services_and_nobody(suite: str) -> None:
    key = f"{whole(suite)};mint=no"
    site = Site(key)
    for kind, letter in (("service", "s"), ("anonymous", "a")):
        sealed = {"p": {"i": "import", "k": letter}}
        assert site.open(site.seal(principal_kind=kind, sealed=sealed))["p"]["k"] == letter


@pytest.mark.parametrize(
    "rights", [{"r": ["admin"]}, {"s": ["invoices:write"]}, {"a": 1_767_225_600.0}, {"r": [], "s": ["a"]}], ids=str
)
@pytest.mark.parametrize(("kind", "letter"), [("anonymous", "a"), ("service", "s"), ("schedule", "c")])
def test_a_key_that_may_not_mint_gives_nobody_and_no_service_a_right(
    suite: str, rights: dict[str, Any], kind: str, letter: str
) -> None:
    """Policies ask for roles and scopes, and not whose they are: an invented service would be as good as a user."""
    key = whole(suite)
    thief, call = Site(key), {"principal_kind": kind, "sealed": {"p": {"i": "ada", "k": letter, **rights}}}
    worker = KeyRing.from_text(f"{given(key, 'worker')};mint=no")
    assert thief.open(thief.seal(**call))
    assert thief.code(thief.seal(**call), keyring=worker) == "KEY_NOT_FOR_TASK"
    with pytest.raises(KeyInvalid, match="gives no roles, scopes or login"):
        thief.seal(keyring=KeyRing.from_text(f"{given(key, 'web')};mint=no"), **call)


# ------------------------------------------------------------------ the wrong role


def test_a_signing_only_key_cannot_make_a_task_run(signed_suite: str) -> None:
    """Whoever stole only the signing part cannot seal, and what he signs over sealed rubbish does not open."""
    site = Site(whole(signed_suite))
    thief = KeyRing.from_text(f"{site.key.split('+')[0]};suite={signed_suite}")
    with pytest.raises(KeysMissing, match=f"needs {NEEDED_TO_SEAL[signed_suite]}"):
        site.seal(keyring=thief)
    prefix, _, _ = parts(site.seal())
    text = f"{prefix}.{to_base64(bytes(200)).decode()}"
    tag = thief.primary.context("production", "billing").tag.make(text.encode()).decode()
    assert site.code(f"{text}.{tag}") == "UNSEAL"


def test_a_worker_cannot_seal_a_message(signed_suite: str) -> None:
    site = Site(whole(signed_suite))
    with pytest.raises(KeysMissing, match="needs fnqk1-sign-.* split-public"):
        site.seal(keyring=site.worker)


def test_a_stolen_worker_forges_no_message(signed_suite: str) -> None:
    """It has everything but the signing part, and a key of its own to sign with: nobody knows that one."""
    site = Site(whole(signed_suite))
    held = given(site.key, "worker").partition(":")[2]
    thief = KeyRing.from_text(held.replace(signing_part(held), signing_part(whole(signed_suite))))
    forged = site.seal(keyring=thief)
    assert site.code(forged) == "UNKNOWN_KEY"
    assert site.code(forged.replace(thief.primary.key_id, site.key_id, 1)) == "BAD_TAG"


def test_a_web_node_cannot_read_what_web_nodes_seal_in_suite_split() -> None:
    site = Site(whole("split"))
    with pytest.raises(EnvelopeError) as refused:
        site.open(site.seal(), keyring=site.web)
    assert refused.value.code == "UNKNOWN_KEY"
    assert "needs fnqk1-open-" in refused.value.detail


def test_a_dashboard_verifies_and_cannot_read(signed_suite: str) -> None:
    site = Site(whole(signed_suite))
    body = site.seal()
    verified = verify(body, keyring=site.dashboard, environment="production", queue="billing", now=site.calls.now)
    assert (verified.id, verified.task) == (peek(body).id, "shop.tasks.send_invoice")
    with pytest.raises(EnvelopeError) as refused:
        verified.unseal()
    assert refused.value.code == "UNKNOWN_KEY"
    assert site.code(body.replace("send_invoice", "delete_account", 1), keyring=site.dashboard) == "BAD_TAG"
    for powerless in (lambda: site.seal(keyring=site.dashboard), lambda: site.dashboard.primary.purpose("result")):
        with pytest.raises(KeysMissing):
            powerless()


def test_a_message_for_a_sealing_key_that_is_not_here_yet_waits(signed_suite: str) -> None:
    """The sealing part of a key was exchanged, at the web node first: no attack, so it must not be dead-lettered."""
    old, new = whole(signed_suite), whole(signed_suite)
    exchanged = with_sealing_part_of(old, new)
    assert Site(old).code(Site(exchanged).seal()) == "UNKNOWN_KEY"


def test_the_public_halves_tell_nothing_private(signed_suite: str) -> None:
    key = whole(signed_suite)
    private = [part.split("-")[2] for part in key.split(";")[0].split("+")]
    assert not any(secret in given(key, "dashboard") for secret in private)
    assert private[0] not in given(key, "worker")
    assert signed_suite != "split" or private[1] not in given(key, "web")


def test_anybody_may_seal_for_the_workers_and_nobody_may_be_believed_without_a_signature() -> None:
    """In suite split the sealing half is public: that a message opens proves nothing of who sent it."""
    site, stranger = Site(whole("split")), whole("split")
    _, seal_part, _ = key_parts(given(site.key, "web"))
    thief = KeyRing.from_text(f"{stranger.split('+')[0]}+{seal_part};suite=split")
    forged = site.seal(keyring=thief)
    assert site.code(forged) == "UNKNOWN_KEY"
