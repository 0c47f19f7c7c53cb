"""The way to SQS: what is missing, and who does not answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from fnqueue.security.keyring import new_key
from tests.first_hour.conftest import Says

SHOP = """
from fnqueue import FnQueue
from fnqueue.policies import public
fn = FnQueue()

@fn.task(policy=public)
def resize(photo_id: int): ...

if __name__ == "__main__":
    try:
        resize.defer(7)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""
KEYS = new_key()
QUICK = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/none"}
pytestmark = [pytest.mark.system, pytest.mark.aws]


@pytest.fixture
def both(says: Says) -> Callable[..., None]:
    """The web process and the worker, with settings that are right but for those given."""

    def run(url: str, *, file: str = SHOP, worker: bool = True, keys: bool = True, **given: str) -> None:
        says.write(shop=file)
        settings = {"FNQUEUE_URL": url, **given}
        right = {"FNQUEUE_KEYS": KEYS} if keys else {}
        env = {**QUICK, "AWS_SHARED_CREDENTIALS_FILE": "/none", **right, **settings}
        says.command("shop", env=env, shown=settings, as_="python shop.py")
        if worker:
            says.worker(env=env, shown=settings)
        says.check("--online", env=env, shown=settings)

    return run


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_nothing_is_prepared(both: Callable[..., None]) -> None:
    both("sqs://eu-west-1/shop-", keys=False, file=SHOP.replace("(policy=public)", "(once=True)"))


def test_no_credentials(both: Callable[..., None]) -> None:
    both("sqs://eu-west-1/shop-", FNQUEUE_ENVIRONMENT="production", worker=False)


def test_a_profile_that_is_none(both: Callable[..., None]) -> None:
    both("sqs://eu-west-1/shop-?profile=shop", FNQUEUE_ENVIRONMENT="production")


def test_the_server_is_down(both: Callable[..., None]) -> None:
    both(f"sqs://us-east-1/?endpoint=http://127.0.0.1:{free_port()}", worker=False)


def test_the_endpoint_is_no_sqs(both: Callable[..., None], says: Says) -> None:
    import http.server
    import threading

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the method's name is http.server's
            body = b"<html>It works!</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            both(f"sqs://us-east-1/?endpoint=http://127.0.0.1:{server.server_port}", worker=False)
        finally:
            server.shutdown()
            thread.join()


def test_the_queue_is_missing(both: Callable[..., None], moto_endpoint: str, says: Says) -> None:
    """By this address the server is nobody's loopback, so taken for Amazon's, where nothing makes a queue by itself."""
    endpoint = moto_endpoint.replace("127.0.0.1", "0.0.0.0")
    says.replaced = [(endpoint, "http://sqs.example"), (f"shop{os.getpid()}-", "shop-")]
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    url = f"sqs://us-east-1/shop{os.getpid()}-?endpoint={endpoint}"
    both(url, FNQUEUE_ENVIRONMENT="production", **credentials, worker=False)


def test_boto3_is_missing(says: Says) -> None:
    """As on a machine where the extra is not installed."""
    url = "sqs://us-east-1/?endpoint=http://127.0.0.1:1"
    says.write(shop="import sys\nsys.modules['botocore'] = sys.modules['botocore.exceptions'] = None\n" + SHOP)
    says.command("shop", env={"FNQUEUE_URL": url, "FNQUEUE_KEYS": KEYS}, shown={"FNQUEUE_URL": "sqs://..."})
    says.worker(env={"FNQUEUE_URL": url, "FNQUEUE_KEYS": KEYS}, shown={"FNQUEUE_URL": "sqs://..."})
