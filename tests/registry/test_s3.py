"""A registry on S3, as far as it goes without a server: its URL, settings, refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interlock.errors import BadConfiguration
from interlock.registry import answers
from interlock.registry.aws import Access, access
from interlock.registry.s3 import PAUSES, S3, _pauses
from interlock.registry.store import open_store


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://my-models", "my-models", ""),
        ("s3://my-models/", "my-models", ""),
        ("s3://my.models/team", "my.models", "team"),
        ("s3://my_models/team/a=1/.b-/", "", ""),
        ("s3://my_models/team/a=1/b.c/", "my_models", "team/a=1/b.c"),
    ],
)
def test_a_url_is_a_bucket_and_a_prefix(url: str, bucket: str, prefix: str) -> None:
    """And a slash at its end makes no other registry."""
    if not bucket:
        pytest.raises(BadConfiguration, open_store, url)
        return
    store = open_store(url)
    assert isinstance(store, S3)
    assert (store.bucket, store.prefix, store.url) == (bucket, prefix, url.rstrip("/"))


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3://a", "s3:///team", "s3://models//team", "s3://models/../x"]
    + [
        "s3://models/a b",
        "s3://models/ä",
        "s3://models/a%20b",
        "s3://models?x",
        "gs://m",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    """Before anything is asked of anybody."""
    with pytest.raises(BadConfiguration):
        open_store(url)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def _where(found: Access) -> tuple[str, bool, str]:
    return found.endpoint, found.virtual, found.region


@pytest.mark.usefixtures("keys")
def test_boto3_says_where_a_bucket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By region, by endpoint, and by the name of the bucket."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    aws = "s3.eu-west-1.amazonaws.com"
    assert _where(access("models")) == (f"https://models.{aws}", True, "eu-west-1")
    assert _where(access("my.models")) == (f"https://{aws}", False, "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9/")
    assert _where(access("models")) == ("http://127.0.0.1:9", False, "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8/s3")
    assert _where(access("models")) == ("http://127.0.0.1:8/s3", False, "eu-west-1")


PROFILE = """
[profile team]
region = us-west-2
max_attempts = 4
ca_bundle = {folder}/ca.pem
aws_access_key_id = AKIA
aws_secret_access_key = secret
aws_session_token = token
s3 =
    addressing_style = path
"""


def test_a_profile_says_it_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Region, style, attempts, certificates and credentials."""
    (tmp_path / "ca.pem").write_bytes(b"certificates")
    (tmp_path / "config").write_text(PROFILE.format(folder=tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    found = access("models")
    place = ("https://s3.us-west-2.amazonaws.com", False, "us-west-2")
    assert _where(found) == place
    assert (found.attempts, found.certificates) == (4, b"certificates")
    credentials = found.credentials()
    assert credentials["access_key_id"] == "AKIA"
    assert credentials["token"] == "token"


def test_no_credentials_are_a_refusal() -> None:
    """Without a connection."""
    with pytest.raises(BadConfiguration, match="credentials"):
        open_store("s3://models").read("a")


def test_a_profile_that_is_not_there_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is named."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(BadConfiguration, match="nobody"):
        next(open_store("s3://models").keys(""))


@pytest.mark.parametrize("package", ["boto3", "obstore"])
@pytest.mark.usefixtures("keys")
def test_a_client_that_is_not_installed_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """With the command that installs it."""
    for module in (package, f"{package}.store", f"{package}.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadConfiguration) as refused:
        open_store("s3://models").create("a", b"")
    assert refused.value.todo == "pip install interlock[s3]"


def test_a_folder_needs_no_client() -> None:
    """Nor does naming a bucket: both are imported when something is asked."""
    code = (
        "import sys, interlock, interlock.cli\n"
        "from interlock.registry.store import open_store\n"
        "open_store('there'); open_store('s3://models').url\n"
        "print({'boto3', 'botocore', 'obstore'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_pauses_grow_to_a_limit_and_differ() -> None:
    """None before the first attempt, and as many attempts as are wanted."""
    first, longest = PAUSES
    for attempts in (1, 2, 8, 20):
        pauses = [*_pauses(attempts)]
        assert len(pauses) == attempts and pauses[0] == 0
        for again, pause in enumerate(pauses[1:]):
            assert 0 <= pause <= min(longest, first * 2**again)
    assert [*_pauses(8)] != [*_pauses(8)]


def _error(status: int, code: str) -> Exception:
    body = f"<Error><Code>{code}</Code><Message>so it is</Message></Error>"
    return OSError(f"Error performing PUT - status code: {status} Said: {body}")


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (403, "AccessDenied", "s3:PutObject"),
        (400, "ExpiredToken", "expired"),
        (403, "InvalidAccessKeyId", "credentials"),
        (403, "SignatureDoesNotMatch", "credentials"),
        (403, "RequestTimeTooSkewed", "clock"),
        (404, "NoSuchBucket", "bucket"),
        (400, "AuthorizationHeaderMalformed", "region"),
        (501, "NotImplemented", "If-None-Match"),
    ],
)
def test_what_will_not_change_is_refused_at_once(
    status: int, code: str, word: str
) -> None:
    """In words that say what to do."""
    error = _error(status, code)
    said = answers.refusal(error, "s3://models/a", "s3:PutObject")
    assert not answers.may_pass(error)
    assert said.exit_code == 2 and word in said.expected
    assert said.found == f"{code}: so it is"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (409, "ConditionalRequestConflict"),
        (400, "BadDigest"),
        (400, "RequestTimeout"),
        (502, ""),
    ],
)
def test_what_may_pass_is_tried_again(status: int, code: str) -> None:
    """And at last refused as a failure of the check, not of its configuration."""
    error = _error(status, code)
    assert answers.may_pass(error)
    assert answers.refusal(error, "s3://models/a", "s3:PutObject").exit_code == 5


def test_an_unknown_no_is_not_repeated() -> None:
    """Another 4xx stays what it is."""
    assert not answers.may_pass(OSError("status code: 418 Teapot: "))
    assert not answers.may_pass(OSError("status code: 403 Forbidden: "))
