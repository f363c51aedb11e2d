"""A registry on real S3 servers: its refusals, its requests, and what a line does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.errors import BadConfiguration, Refusal
from interlock.registry import s3
from interlock.registry.answers import Unreachable
from interlock.registry.store import Store, open_store
from tests.conftest import Project, use
from tests.proxy import Line, bad_line
from tests.servers import SERVERS, Endpoint, _free_ports

VERBS: dict[str, Callable[[Store], object]] = {
    "create": lambda store: store.create("a/b", b"x"),
    "read": lambda store: store.read("a/b"),
    "keys": lambda store: [*store.keys("a/")],
}
Where = tuple[str, str]  # URL of the registry, and of the server


@pytest.fixture(params=sorted(SERVERS))
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Where:
    """A new registry on each server in turn."""
    url = use(request, monkeypatch, request.param)
    return url, os.environ["AWS_ENDPOINT_URL_S3"]


def _refused(verb: str, url: str) -> Refusal:
    with pytest.raises(Refusal) as refused:
        VERBS[verb](open_store(url))
    return refused.value


@pytest.mark.parametrize("verb", VERBS)
def test_a_bucket_that_is_not_there_is_a_refusal(where: Where, verb: str) -> None:
    """Not an absent key, and not an empty registry."""
    refusal = _refused(verb, "s3://nobody-made-this")
    assert isinstance(refusal, BadConfiguration)
    assert "bucket" in refusal.expected and "NoSuchBucket" in refusal.found


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("seaweedfs", "AWS_ACCESS_KEY_ID"),
        ("seaweedfs", "AWS_SECRET_ACCESS_KEY"),
        ("ministack", "AWS_ACCESS_KEY_ID"),  # whose root may have any secret
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_wrong_credentials_are_a_refusal(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    server: str,
    name: str,
) -> None:
    """Whichever half is wrong."""
    url = use(request, monkeypatch, server)
    monkeypatch.setenv(name, "another")
    refusal = _refused(verb, url)
    assert isinstance(refusal, BadConfiguration)
    assert "credentials" in refusal.expected


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_there_is_a_refusal(
    where: Where, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """After as many attempts as AWS_MAX_ATTEMPTS says."""
    (port,) = _free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    refusal = _refused(verb, where[0])
    assert isinstance(refusal, Unreachable)
    assert "refused" in refusal.found.lower()


PERMISSIONS = {
    "create": "s3:PutObject",
    "read": "s3:GetObject",
    "keys": "s3:ListBucket",
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_permission_is_named(
    ministack: Endpoint, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """A user who may do all but this one thing is told which."""
    for name, value in ministack.environment.items():
        monkeypatch.setenv(name, value)
    url = ministack.make_bucket()
    allowed = [each for each in PERMISSIONS.values() if each != PERMISSIONS[verb]]
    policy = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    iam, user = ministack.client("iam"), f"without-{verb}"
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    for other, call in VERBS.items():
        if other != verb:
            try:
                call(open_store(url))
            except KeyError:
                pass  # allowed, but absent
    assert PERMISSIONS[verb] in _refused(verb, url).expected


def _over(line: Line, url: str, patch: pytest.MonkeyPatch) -> Store:
    patch.setenv("AWS_ENDPOINT_URL_S3", line.url)
    return open_store(url)


def test_publish_and_pull_ask_once(
    where: Where, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the heads of channels, which are looked at again before they move."""
    url, server = where
    monkeypatch.setenv("INTERLOCK_REGISTRY", url)
    for number in range(3):  # the log gets longer
        project.write("lib/toy/__init__.py", f'"""Toy {number}."""')
        assert project.publish().code == 0
    project.write("lib/toy/__init__.py", '"""Told anew."""')
    project.commit()
    project.check()
    with bad_line(Line(server, "none")) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", line.url)
        assert project.run("publish").code == 0
        sent = Counter(line.seen)
        line.seen.clear()
        assert project.run("pull", "toy@staging", "model").code == 0
        pulled = Counter(line.seen)
    assert {each for each in sent if sent[each] > 1 and "channels" not in each} == set()
    assert max(sent.values()) == 2 and sum("/channels/" in each for each in sent) <= 2
    assert max(pulled.values()) == 1


def test_the_first_key_costs_one_request(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are."""
    url, server = where
    store = open_store(url)
    for number in range(3):
        store.create(f"k/{number}", b"")
    with bad_line(Line(server, "none")) as line:
        assert next(_over(line, url, monkeypatch).keys("k/")) == "k/0"
    assert len(line.seen) == 1


@pytest.mark.parametrize("size", [5, 3 * 2**20])
def test_what_was_damaged_on_its_way_is_not_stored(
    where: Where, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The server checks the SHA-256; every attempt is refused, and so are we."""
    url, server = where
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    with bad_line(Line(server, "request damaged", first=99)) as line:
        store = _over(line, url, monkeypatch)
        with pytest.raises(Unreachable):
            store.create("k/a", b"x" * size)
    assert len(line.seen) == 3
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    assert [*open_store(url).keys("")] == []


@pytest.mark.parametrize("fault", ["answer lost", "done, but 500"])
def test_what_was_stored_unknown_to_us_is_ours(
    where: Where, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """But not what another has stored meanwhile."""
    url, server = where
    with bad_line(Line(server, fault, first=2)) as line:
        store = _over(line, url, monkeypatch)
        assert store.create("k/a", b"mine")
        line.struck = 0
        assert not store.create("k/a", b"another's")
        assert store.read("k/a") == b"mine"


def test_a_conflict_is_tried_again(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 does not say that the key is there."""
    url, server = where
    fault = "409 ConditionalRequestConflict"
    with bad_line(Line(server, fault, first=3)) as line:
        store = _over(line, url, monkeypatch)
        assert store.create("k/a", b"mine")
        assert not store.create("k/a", b"mine")


@pytest.mark.parametrize("size", [5, 2 * 2**20])
def test_a_stalled_line_does_not_hold_us_for_ever(
    where: Where, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A little is given up soon, much after a while, and then tried again."""
    monkeypatch.setattr(s3, "SILENT", 0.5)
    monkeypatch.setattr(s3, "SENDING", 2.0)
    url, server = where
    with bad_line(Line(server, "stalled", first=1)) as line:
        store = _over(line, url, monkeypatch)
        assert store.create("k/a", b"x" * size)
        assert store.read("k/a") == b"x" * size
    assert [each.partition(" ")[0] for each in line.seen] == ["PUT", "PUT", "GET"]


_ASK = """
import sys
from interlock.errors import Refusal
from interlock.registry.store import open_store
try:
    open_store(sys.argv[1]).create("a", b"x")
except Refusal as refusal:
    print(refusal)
"""
_FAKETIME = [*Path(sysconfig.get_path("purelib")).glob("libfaketime/**/*.so.1")]


@pytest.mark.skipif(not _FAKETIME, reason="libfaketime is for Linux")
@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_wrong_clock_is_a_refusal(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, offset: str
) -> None:
    """SeaweedFS allows 15 minutes, as AWS does; ministack lets its root off."""
    url = use(request, monkeypatch, "seaweedfs")
    clock = {"FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}
    surroundings = os.environ | clock | {"LD_PRELOAD": str(_FAKETIME[0])}
    command = (sys.executable, "-c", _ASK, url)
    asked = subprocess.run(command, env=surroundings, capture_output=True, text=True)
    assert "clock to be right" in asked.stdout, asked.stderr
    assert "RequestTimeTooSkewed" in asked.stdout


def test_expired_credentials_are_a_refusal(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 says so itself: here the line does, for they last 15 minutes at least."""
    url, server = where
    with bad_line(Line(server, "400 ExpiredToken", first=99)) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", line.url)
        for verb in VERBS:
            refusal = _refused(verb, url)
            assert isinstance(refusal, BadConfiguration)
            assert "expired" in refusal.expected and "aws sso login" in refusal.todo
    assert len(line.seen) == len(VERBS)
