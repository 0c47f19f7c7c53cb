"""sqs:// urls: what they say, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from fnqueue.broker.sqs import SqsBroker, SqsUrl, parse_sqs_url
from fnqueue.clock import ManualClock
from fnqueue.errors import OptionInvalid


def test_a_url_names_region_prefix_endpoint_account_and_profile() -> None:
    url = parse_sqs_url(
        "sqs://eu-west-1/shop-?endpoint=https://sqs.example:8443/&account=123456789012&profile=ops&max_body_bytes=262144"
    )
    assert url == SqsUrl(
        region="eu-west-1",
        prefix="shop-",
        endpoint="https://sqs.example:8443",
        account="123456789012",
        profile="ops",
        max_body_bytes=262_144,
    )
    assert not url.loopback


@pytest.mark.parametrize("url", ["sqs://eu-west-1", "sqs://eu-west-1/"])
def test_region_alone_is_amazon_without_a_prefix(url: str) -> None:
    parsed = parse_sqs_url(url)
    assert parsed == SqsUrl(region="eu-west-1")
    assert (parsed.max_body_bytes, parsed.loopback) == (1_048_576, False)
    assert parsed.where == "Amazon SQS in eu-west-1"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("sqs.localhost", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback_is_decided_by_the_endpoints_host(host: str, loopback: bool) -> None:
    broker = SqsBroker(f"sqs://us-east-1/?endpoint=http://{host}:9324", clock=ManualClock())
    assert broker.url.loopback == loopback
    assert broker.creates_queues == loopback


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "sqs://eu-west-1/?endpiont=http://127.0.0.1:1",
            "'endpiont' is no option of an sqs url; did you mean 'endpoint'?",
        ),
        (
            "sqs://eu-west-1/?zzz=1",
            "'zzz' is no option of an sqs url (there are endpoint, account, profile, max_body_bytes)",
        ),
        ("sqs:///shop-", "region '' must be one of AWS's, as in sqs://eu-west-1/shop-"),
        ("sqs://localhost:9324/", "region 'localhost:9324' must be one of AWS's"),
        ("sqs://eu-west-1/shop/eu", "prefix 'shop/eu' takes letters, digits, hyphens and underscores only"),
        ("sqs://eu-west-1/" + "x" * 80, "leaves no room"),
        ("sqs://eu-west-1/?endpoint=127.0.0.1:9324", "endpoint='127.0.0.1:9324' must be like http://127.0.0.1:9324"),
        ("sqs://eu-west-1/?endpoint=http://127.0.0.1:port", "must be like"),
        ("sqs://eu-west-1/?endpoint=", "endpoint= is empty"),
        ("sqs://eu-west-1/?account=123", "account='123' must be twelve digits"),
        ("sqs://eu-west-1/?max_body_bytes=2MB", "max_body_bytes='2MB' must be 1024 to 1048576"),
        ("sqs://eu-west-1/?profile=a&profile=b", "'profile' stands twice"),
        ("redis://eu-west-1/", "begins with sqs://, not redis://"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, text: str) -> None:
    with pytest.raises(OptionInvalid) as caught:
        parse_sqs_url(url)
    assert text in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(OptionInvalid) as caught:
        parse_sqs_url("sqs://nowhere/a.b?account=1&endpont=x")
    assert str(caught.value).count(";") == 4  # four faults, one of them with a hint


@pytest.mark.parametrize(
    "url", ["sqs://AKIAKEY:topsecret@eu-west-1/", "sqs://eu-west-1/?endpoint=http://AKIAKEY:topsecret@127.0.0.1:9324"]
)
def test_credentials_in_a_url_are_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(OptionInvalid, match="credentials") as caught:
        parse_sqs_url(url)
    assert "topsecret" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)


def test_a_brokers_repr_says_where_it_points() -> None:
    broker = SqsBroker("sqs://eu-west-1/shop-?endpoint=http://127.0.0.1:9324", clock=ManualClock())
    assert repr(broker) == "<SqsBroker sqs://eu-west-1/shop- at http://127.0.0.1:9324>"
