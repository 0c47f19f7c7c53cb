"""The door to KMS: GenerateDataKey for who seals, Decrypt for who opens, and what their refusals mean.

Two kinds matter. Either what was to be unwrapped is no data key of this KMS key for this environment and queue
(`Unsealable`: somebody's rubbish), or KMS could not be asked or did not want to answer (`KmsUnavailable`: trying
again helps, once somebody mended it).
Knows no caches, and nothing of messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fnqueue import forks
from fnqueue.aws import ProcessClient, hide_answers, make_client
from fnqueue.errors import ExtraMissing, KmsUnavailable
from fnqueue.security.kms.arn import KmsKey
from fnqueue.security.suites import Unsealable

CONNECT_SECONDS = 1
READ_SECONDS = 3  # KMS answers in a few milliseconds, and a request of a web process waits for it
ATTEMPTS = 2
DATA_KEY_BYTES: Final = 32

#: Nobody answered, or too many asked: worth asking again soon.
BUSY_SECONDS: Final = 1.0
#: It said no: somebody has to change a policy or a key first.
REFUSED_SECONDS: Final = 5.0

#: The data key is not one of this KMS key, or was made for another environment or queue.
_FOREIGN: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_BUSY: Final = frozenset(
    {"ThrottlingException", "LimitExceededException", "KMSInternalException", "DependencyTimeoutException",
     "KeyUnavailableException", "RequestTimeout", "ServiceUnavailable", "InternalFailure", "TooManyRequestsException"}
)  # fmt: skip
_CURES: Final = {
    "AccessDeniedException": "allow {action} on it to this process",
    "DisabledException": "the key is disabled: enable it",
    "KMSInvalidStateException": "the key is disabled or about to be deleted: keep it until nothing waits any more",
    "NotFoundException": "there is no such key in this account and region",
}
_LONGEST: Final = 300
#: What an answer with a data key in clear has in it.
HOLDS_DATA_KEY: Final = b'"Plaintext"'


class KmsClient:
    """Safe between threads, and across a fork."""

    def __init__(self, key: KmsKey) -> None:
        self._key = key
        self._client = ProcessClient(lambda: _make(key))

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A new data key of 32 bytes, and the same wrapped. Raises KmsUnavailable, ExtraMissing."""
        said = self._ask("GenerateDataKey", KeySpec="AES_256", EncryptionContext=dict(context))
        return said["Plaintext"], said["CiphertextBlob"]

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises Unsealable, KmsUnavailable, ExtraMissing."""
        # The key is named, though KMS would find it out: whatever another key wrapped, a stranger's say, is refused.
        said = self._ask("Decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context))
        data_key: bytes = said["Plaintext"]
        if len(data_key) != DATA_KEY_BYTES:
            raise Unsealable
        return data_key

    # ---------------------------------------------------------------- helpers

    def _ask(self, operation: str, **members: Any) -> Mapping[str, Any]:
        with forks.importing():
            try:
                from botocore.exceptions import BotoCoreError, ClientError
                from botocore.parsers import ResponseParserError
            except ModuleNotFoundError:
                raise ExtraMissing("a key with kms=", "aws") from None
        try:
            call = getattr(self._client(), {"GenerateDataKey": "generate_data_key", "Decrypt": "decrypt"}[operation])
            said: Mapping[str, Any] = call(KeyId=self._key.arn, **members)
        except ClientError as error:
            raise self._answered(operation, error.response) from None
        except (BotoCoreError, ResponseParserError) as error:
            line = " ".join(str(error).split())[:_LONGEST]
            raise KmsUnavailable(f"{self._what(operation)}: {line}", retry_seconds=BUSY_SECONDS) from None
        if not isinstance(said.get("Plaintext"), bytes):
            raise KmsUnavailable(
                f"{self._what(operation)}: the answer is not KMS's JSON; look at the endpoint in kms=",
                retry_seconds=BUSY_SECONDS,
            )
        return said

    def _answered(self, operation: str, response: Mapping[str, Any]) -> Exception:
        code = str(response.get("Error", {}).get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if operation == "Decrypt" and code in _FOREIGN:
            return Unsealable()
        busy = code in _BUSY or status >= 500 or status == 429
        # Its own text is left out: of some refusals it quotes the request that was signed.
        cure = _CURES.get(code, "").format(action=f"kms:{operation}")
        text = f"{self._what(operation)}: KMS says {code or status}" + (f"; {cure}" if cure else "")
        return KmsUnavailable(text, retry_seconds=BUSY_SECONDS if busy else REFUSED_SECONDS)

    def _what(self, operation: str) -> str:
        what = "make a data key with" if operation == "GenerateDataKey" else "open a data key with"
        return f"cannot {what} {self._key.shown}"


def _make(key: KmsKey) -> Any:
    hide_answers(HOLDS_DATA_KEY)
    return make_client(
        "kms",
        region=key.region,
        endpoint=key.endpoint,
        profile=key.profile,
        connect_seconds=CONNECT_SECONDS,
        read_seconds=READ_SECONDS,
        attempts=ATTEMPTS,
    )
