"""verify --recompute: the verdict follows from the predictions, or is refused."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from nox.command import CommandFailed

from interlock.artifact.chunks import CHUNK
from interlock.registry import results
from interlock.registry.access import open_registry, signer
from interlock.registry.resolve import resolve
from tasks import evidence
from tests.conftest import NIGHTLY, Project, _session

REFERENCE = "toy@production"
pytestmark = pytest.mark.usefixtures("undrawn")


def _leave(project: Project, changes: dict[str, bytes], result: str = "PASSED") -> None:
    """Evidence of an evaluation whose results somebody rewrote before it was signed."""
    left = {p.name: p.read_bytes() for p in Path("evidence/nightly-eval").iterdir()}
    try:
        with evidence.recorded(_session(NIGHTLY)) as record:
            record.notes["urn:interlock:production"] = project.production()
            for name, data in {**left, **changes}.items():
                (record.folder / name).write_bytes(data)
            if result == "FAILED":
                raise CommandFailed("it says so")
    except CommandFailed:
        pass
    assert project.run("promote", "--attach-only").code == 0


def _turned(path: Path) -> bytes:
    """Predictions, each of which says the contrary."""
    table = pq.read_table(path)
    at = table.schema.get_field_index("candidate")
    turned = table.set_column(at, "candidate", pc.subtract(1.0, table["candidate"]))
    out = BytesIO()
    pq.write_table(turned, out)
    return out.getvalue()


def _commit(project: Project) -> str:
    return f"toy@{project.git('rev-parse', 'HEAD')}"


def test_the_verdict_is_derived_again_from_what_was_kept(judged: Project) -> None:
    """Without the data, the model and what the session left here."""
    for name in ("evidence", "lib"):
        (judged.root / name).rename(judged.root.parent / name)
    answer = judged.run("verify", REFERENCE, "--recompute")
    assert answer.code == 0, answer.err
    assert "PASS again, from 4,000 stored predictions" in answer.out
    assert "PASS: accuracy is 100.00 %" in answer.out
    said = judged.run("verify", REFERENCE, "--recompute", "--json").json
    assert (said["recomputed"]["state"], said["recomputed"]["rows"]) == ("PASS", 4000)


def test_it_was_judged_by_the_settings_of_its_commit(judged: Project) -> None:
    """What pyproject.toml says today does not count."""
    settings = (judged.root / "pyproject.toml").read_text()
    judged.write("pyproject.toml", settings.replace(">= 0.8", ">= 1.0"))
    assert judged.run("verify", REFERENCE, "--recompute").code == 0


def test_predictions_that_give_another_verdict_are_refused(judged: Project) -> None:
    """Signed as they are, and still the gates do not come to what it says."""
    path = Path("evidence/nightly-eval/predictions.parquet")
    _leave(judged, {path.name: _turned(path)})
    answer = judged.run("verify", _commit(judged), "--recompute")
    assert answer.code == 7
    assert "verdict PASS; 'accuracy >= 0.8' to come to PASS" in " ".join(
        answer.err.split()
    )
    assert judged.run("verify", _commit(judged)).code == 0


def test_evidence_that_says_another_result_is_refused(judged: Project) -> None:
    """It failed where its predictions pass."""
    _leave(judged, {}, "FAILED")
    answer = judged.run("verify", _commit(judged), "--recompute")
    assert (answer.code, "expected: evidence FAILED" in answer.err) == (7, True)


def test_a_rejected_version_is_rejected_again(judged: Project) -> None:
    """That it FAILed can be derived as well: its results were attached."""
    code = judged.root / "lib/toy/model.py"
    code.write_text(code.read_text().replace('batch["x"])', '(batch["x"] * 0 - 1))'))
    judged.publish()
    assert judged.night().code == 3
    answer = judged.run("verify", _commit(judged), "--recompute")
    assert (answer.code, "FAIL again" in answer.out) == (0, True)


def test_what_cannot_be_derived_again_is_a_refusal(judged: Project) -> None:
    """No evaluation; one that broke; results that were not kept, or are no longer."""
    answer = judged.run("verify", "toy@staging", "--recompute")
    assert (answer.code, "toy@production or toy@COMMIT" in answer.err) == (6, True)
    for kept in judged.registry.glob("results/toy/*/*.json"):
        kept.rename(kept.with_suffix(".gone"))
    answer = judged.run("verify", REFERENCE, "--recompute")
    assert (answer.code, "it was not kept" in answer.err) == (6, True)
    judged.fail(NIGHTLY)
    judged.run("promote", "--attach-only")
    answer = judged.run("verify", _commit(judged), "--recompute")
    assert (answer.code, "the check broke" in answer.err) == (6, True)


def test_a_pulled_folder_has_no_predictions(judged: Project) -> None:
    """They are in the registry: name the version there."""
    judged.run("pull", REFERENCE, "model")
    assert judged.run("verify", "model", "--recompute").code == 2


def test_results_that_are_none_are_a_refusal(judged: Project) -> None:
    """Whatever was signed under their names."""
    for name, text in (
        ("metrics.json", "{"),
        ("metrics.json", json.dumps({"settings": 1})),
        ("predictions.parquet", "PAR1"),
    ):
        _leave(judged, {name: text.encode()})
        answer = judged.run("verify", _commit(judged), "--recompute")
        assert answer.code in (2, 5, 7), answer.err


def test_a_kept_file_under_another_name_is_refused(judged: Project) -> None:
    """Each record is of the very file that its key names."""
    kept = sorted(judged.registry.glob("results/toy/*/*.json"))
    records = [path.read_bytes() for path in kept]
    for path, record in zip(kept, [*records[1:], records[0]], strict=True):
        path.write_bytes(record)
    assert judged.run("verify", REFERENCE, "--recompute").code == 7


def test_a_large_file_is_kept_in_chunks(published: Project, tmp_path: Path) -> None:
    """And keeping it again sends nothing."""
    path = tmp_path / "large"
    path.write_bytes(b"1234567" * (CHUNK // 6))
    registry = open_registry(str(published.registry))
    manifest = resolve(registry, "toy@staging").manifest
    results.keep(registry, manifest, [path], signer(registry))
    (key,) = registry.store.keys("results/")
    sha256 = key.rpartition("/")[2].removesuffix(".json")
    file = results.find(registry, manifest, sha256, "again")
    assert (file.size, len(file.chunks)) == (path.stat().st_size, 2)
    there = [*registry.store.keys("")]
    results.keep(registry, manifest, [path], signer(registry))
    assert [*registry.store.keys("")] == there
