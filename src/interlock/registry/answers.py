"""What S3 says when it says no, in words that help.

An answer is told by its code: S3 says it in XML, and obstore hands that on as text.
"""

from __future__ import annotations

import re
from html import unescape

from interlock.errors import BadConfiguration, Refusal

_LOGIN = "log in again: `aws sso login`, or new session credentials"
_CREDENTIALS = "correct the credentials; `aws sts get-caller-identity` tries them out"
_REGION = "set AWS_DEFAULT_REGION to the bucket's own, and look at AWS_ENDPOINT_URL"
# What will not change by itself: codes, what was expected, and what to do.
_KNOWN = (
    (
        {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403"},
        "permission {permission}",
        "ask the owner of the bucket for {permission}; docs/s3.md has all of them",
    ),
    (
        {"ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"},
        "credentials that have not expired",
        _LOGIN,
    ),
    (
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "401"},
        "credentials that S3 knows",
        _CREDENTIALS,
    ),
    (
        {"RequestTimeTooSkewed", "RequestExpired"},
        "this machine's clock to be right",
        "set the clock: S3 allows 15 minutes",
    ),
    (
        {"NoSuchBucket", "InvalidBucketName"},
        "a bucket of that name",
        "correct the URL, or make the bucket first",
    ),
    (
        {"PermanentRedirect", "AuthorizationHeaderMalformed", "redirect"},
        "the region and endpoint of the bucket",
        _REGION,
    ),
    (
        {"NotImplemented", "501"},
        "an S3 that creates only what is absent (If-None-Match)",
        "use one that does; docs/s3.md says what the promises need",
    ),
)
# Said of a request that was damaged, cut or held up on its way, or came too early.
_PASSING = {
    *("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout"),
    *("ConditionalRequestConflict", "OperationAborted", "SlowDown", "InternalError"),
}


class NoCredentials(BadConfiguration):
    """Nobody says who asks: a job that may not read the registry."""


class Unreachable(Refusal):
    """S3 does not answer, or only with failures that ought to pass."""


def code(error: Exception) -> str:
    """S3's own code, such as AccessDenied; else the status, such as 403; else ""."""
    text = str(error)
    if match := re.search(r"<Code>(\w+)</Code>", text):
        return match[1]
    if match := re.search(r"status code: (\d{3})", text):
        return match[1]
    if match := re.search(r"error occurred \((\w+)\)", text):  # boto3's way
        return match[1]
    if "credential provider" in text:
        return "ExpiredToken"
    return "redirect" if "Received redirect" in text else ""


def is_there(error: Exception) -> bool:
    """Whether an "already exists" says so; 409 says that somebody is writing it."""
    return "status code: 412" in str(error)


def may_pass(error: Exception) -> bool:
    """Whether the same request may be answered otherwise a little later."""
    said = code(error)
    known = any(said in codes for codes, _, _ in _KNOWN)
    return said in _PASSING or not (known or re.fullmatch(r"4\d\d", said))


def refusal(error: Exception, what: str, permission: str) -> Refusal:
    """The refusal that a failure of S3 at `what` comes to."""
    for codes, expected, todo in _KNOWN:
        if code(error) in codes:
            asked = f"{expected} for {what}".format(permission=permission)
            return BadConfiguration(
                asked, _said(error), todo.format(permission=permission)
            )
    return Unreachable(
        f"S3 to answer for {what}",
        _said(error),
        "run the command again, it goes on where it stopped; if that does not help, "
        "look at AWS_ENDPOINT_URL and the network",
    )


def _said(error: Exception) -> str:
    """The shortest that tells it: S3's own words, or the system's."""
    text, _, debug = str(error).partition("\n\nDebug source")
    if match := re.search(r"<Code>(\w+)</Code>", text):
        message = re.search(r"<Message>([^<]*)</Message>", text)
        return f"{match[1]}: {unescape(message[1])}" if message else match[1]
    for pattern in (r'(?:message|error): "([^"]+)"', r"kind: (Timeout|Connect)\b"):
        if match := re.search(pattern, debug):
            return match[1]
    return text.rpartition(" - ")[2].strip()
