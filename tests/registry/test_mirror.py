"""copy, export and fsck between a folder and real S3 servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.copy import copy
from interlock.fsck import ALTERED, MISSING, UNREFERENCED, fsck
from interlock.registry.folder import Folder
from tests.conftest import Project, use
from tests.servers import SERVERS, Endpoint


@pytest.fixture(params=sorted(SERVERS))
def endpoint(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Endpoint:
    """Each real server in turn, with AWS settings that lead there."""
    use(request, monkeypatch, request.param)
    found: Endpoint = request.getfixturevalue(request.param)
    return found


def _tree(folder: Path) -> dict[str, bytes]:
    store = Folder(folder)
    return {key: store.read(key) for key in store.keys("")}


def test_a_registry_goes_to_s3_and_back(grown: Project, endpoint: Endpoint) -> None:
    """Byte for byte, and an archive of it is the same file."""
    url = f"{endpoint.make_bucket()}/team"
    assert copy(str(grown.registry), url).releases == 3
    assert not copy(str(grown.registry), url).anything
    assert fsck(url).findings == []
    copy(url, "back")
    assert _tree(Path("back")) == _tree(grown.registry)
    grown.run("export", "toy@production", "folder.tar.gz")
    grown.run("export", "toy@production", "s3.tar.gz", "--registry", url)
    assert Path("s3.tar.gz").read_bytes() == Path("folder.tar.gz").read_bytes()


def test_what_s3_has_lost_is_named_and_brought_back(
    grown: Project, endpoint: Endpoint
) -> None:
    """An object that somebody deleted, and one that somebody overwrote."""
    url = f"{endpoint.make_bucket()}/team"
    copy(str(grown.registry), url)
    bucket, client = url.split("/")[2], endpoint.client()
    keys = [key for key in _tree(grown.registry) if key.startswith(("chunks", "ver"))]
    client.delete_object(Bucket=bucket, Key=f"team/{keys[0]}")
    client.put_object(Bucket=bucket, Key=f"team/{keys[-1]}", Body=b"altered")
    found = {(each.code, each.key) for each in fsck(url).findings}
    assert {(MISSING, keys[0]), (ALTERED, keys[-1])} <= found
    assert {code for code, _ in found} == {MISSING, ALTERED, UNREFERENCED}
    client.delete_object(Bucket=bucket, Key=f"team/{keys[-1]}")
    assert len(copy(str(grown.registry), url).versions) == 1
    assert fsck(url).findings == []
