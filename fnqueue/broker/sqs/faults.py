"""botocore's exceptions become fnqueue's, each in one line that says what happened, and where.

Three kinds matter to who calls: nobody answered or the server is busy (`BrokerUnreachable`: trying again
helps), the queue is not there (`QueueMissing`), and it answered no (`BrokerRefused`, with SQS's own code).
botocore has tried again already when an error comes here. Knows nothing of batches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fnqueue.errors import BrokerError, BrokerRefused, BrokerUnreachable, QueueMissing

#: Refusals of a whole batch that are one entry's fault: sent one by one, the others get through.
OF_AN_ENTRY = frozenset(
    {
        "InvalidParameterValue",
        "MissingParameter",
        "InvalidMessageContents",
        "InvalidAttributeValue",
        "ReceiptHandleIsInvalid",
        "BatchRequestTooLong",
        "AWS.SimpleQueueService.BatchRequestTooLong",
    }
)
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_BUSY = frozenset(
    {
        "RequestThrottled",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "SlowDown",
        "OverLimit",
        "RequestTimeout",
        "ServiceUnavailable",
        "InternalError",
        "InternalFailure",
        "KMS.ThrottlingException",
    }
)
_BAD_CREDENTIALS = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "MissingAuthenticationToken",
        "IncompleteSignature",
        "InvalidSecurity",
        "AuthFailure",
    }
)
NOT_SQS = "{} answered with something that is not SQS's JSON: look at the endpoint in FNQUEUE_URL"
_LONGEST = 300  # characters of SQS's own text: some of it quotes what was sent


def translate(error: Exception, *, where: str, queue: str) -> BrokerError:
    """`where`: the endpoint or Amazon's region. `queue`: as the caller named it, or empty.

    Raises the error itself when it is not botocore's: that is a defect of ours and no fate of a call.
    """
    from botocore import exceptions as aws
    from botocore.parsers import ResponseParserError

    if isinstance(error, ResponseParserError):
        return BrokerUnreachable(NOT_SQS.format(where))
    if isinstance(error, aws.ClientError):
        return _answered(error.response, where, queue)
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError):
        return BrokerUnreachable(
            f"no AWS credentials for {where}: set AWS_PROFILE, give the machine a role, "
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, aws.ProfileNotFound):
        # Waiting does not make a profile: a worker ends with this.
        return BrokerRefused("ProfileNotFound", f"{_line(error)} in ~/.aws/config; the url's ?profile= names it")
    if isinstance(error, aws.ReadTimeoutError):
        return BrokerUnreachable(f"{where} took the request and did not answer in time")
    if isinstance(error, aws.ConnectTimeoutError):
        return BrokerUnreachable(f"{where} cannot be reached: connecting timed out")
    if isinstance(error, aws.HTTPClientError | aws.ConnectionError):
        return BrokerUnreachable(f"{where} cannot be reached: {_cause(error)}")
    if isinstance(error, aws.BotoCoreError):
        return BrokerUnreachable(f"{where} cannot be asked: {_line(error)}")
    raise error


def _answered(response: Mapping[str, Any], where: str, queue: str) -> BrokerError:
    code = str(response.get("Error", {}).get("Code", ""))
    text = _line(response.get("Error", {}).get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MISSING:
        return QueueMissing(queue)
    if code in _BUSY or status >= 500 or status == 429:
        return BrokerUnreachable(f"{where} is busy or failing ({code or status}): {text}")
    if code in _BAD_CREDENTIALS:
        # The text of these quotes the request that was signed.
        return BrokerRefused(code, f"{where} does not accept the credentials")
    return BrokerRefused(code.removeprefix("AWS.SimpleQueueService."), f"{text} (queue {queue!r}, {where})")


def _cause(error: Exception) -> str:
    """The system's own words, as "Connection refused", out of the layers around them."""
    inner = getattr(error, "kwargs", {}).get("error") or error
    found = re.search(r"\[Errno (-?\d+)\] ([^\[\]()'\"]+)", str(inner))
    if found is None:
        return _line(inner)
    number, words = found.groups()
    # What looking up a name reports, negative on Linux: no network, no DNS, or no such region.
    unknown = number.startswith("-") or words.startswith("nodename")
    hint = "; look at the network, and at the region and endpoint in the url" if unknown else ""
    return words.strip() + ("; is the server started there?" if "refused" in words else hint)


def _line(text: object) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= _LONGEST else words[:_LONGEST] + " ..."
