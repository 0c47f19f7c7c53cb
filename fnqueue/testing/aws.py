"""`fnqueue_aws`, `local_aws`: an SQS and an EventBridge Scheduler for tests of whatever speaks to them.

It is the emulator of `fnqueue emulator`, in memory, with a clock that tests turn. One process serves a whole run, and
between two tests it is emptied (`reset`): that costs milliseconds, a start costs hundreds. It keeps its address and its
account, so a client that somebody has cached goes on working, and ARNs are known beforehand.
Knows nothing of FnQueue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fnqueue.errors import ExtraMissing, OptionInvalid
from fnqueue.testing.aws_server import AwsServer

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
#: What the emulator serves, as boto3 calls it.
SERVICES: Final = ("sqs", "scheduler")
#: Who a shell works as: a profile, a session's token, another endpoint would win over what is set, or spoil it.
NOT_OF_THE_SHELL: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


class LocalAws:
    """`endpoint`: `http://127.0.0.1:PORT`, the same for the whole run. `account`, `region`: whose queues are asked for.

    Signatures are not checked: `access_key` is the account, and an access key of twelve other digits is another one.
    """

    account: Final = ACCOUNT
    region: Final = REGION
    access_key: Final = ACCOUNT
    secret_key: Final = "local"  # noqa: S105 - it is none

    def __init__(self) -> None:
        """Starts it. Raises FnQueueError. `end` ends it; `local_aws()` does both."""
        self._server = AwsServer()
        self._clients: list[Any] = []
        self._session: Any = None

    @property
    def endpoint(self) -> str:
        return f"http://{self._server.host}"

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def url(self) -> str:
        """For FNQUEUE_URL. Any prefix of queues' names may be put before its `?`."""
        return f"sqs://{self.region}/?endpoint={self.endpoint}"

    @property
    def client_options(self) -> dict[str, str]:
        """What `boto3.client("sqs", **options)` takes, and aiobotocore and aioboto3."""
        return {
            "endpoint_url": self.endpoint,
            "region_name": self.region,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }

    @property
    def environment(self) -> Mapping[str, str]:
        """For processes and for code that makes its own clients.

        AWS_ENDPOINT_URL is there so that no call of a test reaches AWS; without it only SQS and Scheduler are here.
        """
        own = {f"AWS_ENDPOINT_URL_{service.upper()}": self.endpoint for service in SERVICES}
        return {
            **own,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str = "sqs", /, *, account: str | None = None, **options: Any) -> Any:
        """A client of boto3: `sqs` or `scheduler`. It is closed after the test.

        `account`: twelve digits, another one's. `options`: of `boto3.client`, as `region_name` and `config`.
        Raises OptionInvalid, and ExtraMissing where boto3 is not installed.
        """
        if service not in SERVICES:
            raise OptionInvalid(f"client({service!r}): the emulator serves {' and '.join(SERVICES)}")
        if account is not None:
            if len(account) != 12 or not account.isdecimal():
                raise OptionInvalid(f"client(account={account!r}): an account is twelve digits, as '123456789012'")
            options = {"aws_access_key_id": account, **options}
        made = self._boto3().client(service, **{**self.client_options, **options})
        self._clients.append(made)
        return made

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Turn its clock forward; what is due by then is visible, long polls end, schedules fire.

        Returns its time, unix seconds. Between two turns it goes on by itself. Raises FnQueueError for a step back.
        """
        step = seconds + 60 * minutes + 3600 * hours + 86_400 * days
        return float(self._server.ask("/_clock", {"advance_seconds": step})["now"])

    def now(self) -> float:
        """Its time, unix seconds."""
        return self.advance()

    def reset(self) -> None:
        """No queue, no schedule, in no account; and the time is the machine's. Starts it again if it has died."""
        self.close_clients()
        try:
            self._server.ask("/_reset", {})
        except OSError:  # also while it is dying, when it still seems to run
            port = int(self._server.host.rpartition(":")[2])
            self._server.end()
            self._server = AwsServer(port=port)

    def log(self) -> str:
        """What it has logged since this was asked for the last time: nothing, when all is well."""
        return self._server.log()

    def close_clients(self) -> None:
        """Those that `client` has made."""
        while self._clients:
            self._clients.pop().close()

    def end(self) -> None:
        """May be called twice."""
        self.close_clients()
        self._server.end()

    def _boto3(self) -> Any:
        """One session: its models are read once for all clients."""
        if self._session is None:
            try:
                import boto3
            except ImportError as error:
                raise ExtraMissing("client()", "aws") from error
            self._session = boto3.session.Session()
        return self._session


@contextmanager
def local_aws() -> Iterator[LocalAws]:
    """For unittest and whatever else: a server of its own, until the block ends. The environment stays as it is."""
    aws = LocalAws()
    try:
        yield aws
    finally:
        aws.end()
