"""Evidence: what a session found, and the reasons not to accept it.

Each rule is a pure function from evidence to a finding or none. There is no default
that passes: what is not there, not readable or not about exactly this source refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from interlock.artifact.manifest import GIT, SHA256, Manifest, match, safe_path
from interlock.attest.statement import TEST_RESULT, Statement, moment
from interlock.errors import EvidenceRefused, expecting

SESSION = "urn:interlock:session"
FINISHED = "urn:interlock:finished"
FRESH = "urn:interlock:virtualenv:fresh"
PRODUCTION = "urn:interlock:production"
MODEL = "urn:interlock:model"  # what was judged: Git may ignore a file of it
EVALUATION = "nightly-eval"  # the session whose results are kept, to be derived again
COMPARED = {EVALUATION}  # the sessions that compare with production
_CLOCK = timedelta(minutes=5)  # how far two honest clocks may differ


@dataclass(frozen=True)
class Evidence:
    """A test-result Statement, read."""

    session: str
    result: str  # PASSED, WARNED or FAILED
    tree: str
    lock: str
    weights: str
    fresh: bool  # whether the virtualenv was made for this run
    finished: datetime
    packages: Mapping[str, str]  # installed distribution -> version
    files: Mapping[str, str]  # what the session left -> sha256
    statement: Statement
    production: str | None = None  # the address compared with; "" for none yet
    model: str | None = None  # what was judged, as Manifest.model has it


@dataclass(frozen=True)
class Finding:
    """A reason not to accept a session's evidence."""

    session: str
    code: str  # missing, failed, tree, lock, weights, model, stale, future, reused, ...
    expected: str
    found: str


def read(data: bytes) -> Evidence:
    """The evidence in a test-result Statement.

    Raises VerificationFailed when it is not one, or lacks what evidence must say.
    """
    return from_statement(Statement.from_bytes(data, TEST_RESULT))


def from_statement(statement: Statement) -> Evidence:
    """The evidence that a statement with predicate test-result holds."""
    predicate = statement.predicate
    with expecting(
        "evidence as docs/formats.md describes it",
        "run the session again: nox writes it anew",
    ):
        entries = _by_name(predicate["configuration"])
        uris = {name: str(entry.get("uri", "")) for name, entry in entries.items()}
        if predicate["result"] not in ("PASSED", "WARNED", "FAILED"):
            raise ValueError(f"result {predicate['result']!r}")
        return Evidence(
            session=safe_path(predicate[SESSION]),
            result=predicate["result"],
            tree=match(GIT, statement.digest["gitTree"]),
            lock=match(SHA256, entries["requirements.lock"]["digest"]["sha256"]),
            weights=match(SHA256, entries["weights"]["digest"]["dirHash"]),
            fresh=uris["virtualenv"] == FRESH,
            finished=moment(predicate[FINISHED]),
            packages=_packages(uris.values()),
            files=_files(entries),
            statement=statement,
            production=predicate.get(PRODUCTION),
            model=predicate.get(MODEL),
        )


def _by_name(entries: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a configuration; one name twice could hide one of the two."""
    named: dict[str, Any] = {str(entry["name"]): dict(entry) for entry in entries}
    if not isinstance(entries, list) or len(named) != len(entries):
        raise ValueError("a configuration that is no list, or names an entry twice")
    return named


def _packages(uris: Iterable[str]) -> dict[str, str]:
    prefix = "pkg:pypi/"
    found = [uri.removeprefix(prefix) for uri in uris if uri.startswith(prefix)]
    packages = {name: version for name, version in (each.split("@") for each in found)}
    if len(packages) != len(found):
        raise ValueError("a package stands twice")
    return packages


def _files(entries: Mapping[str, Any]) -> dict[str, str]:
    digests = {name: entry.get("digest", {}) for name, entry in entries.items()}
    return {n: match(SHA256, d["sha256"]) for n, d in digests.items() if "sha256" in d}


def newest(evidence: Iterable[Evidence]) -> dict[str, Evidence]:
    """The evidence of each session that counts: what was found last."""
    return {each.session: each for each in sorted(evidence, key=precedence)}


def precedence(evidence: Evidence) -> tuple[datetime, bool]:
    """What is greater counts; of two at the same time, the one that did not pass."""
    return evidence.finished, evidence.result != "PASSED"


@dataclass(frozen=True)
class Demand:
    """What evidence is held against: the sessions, the version, the time, the rival."""

    sessions: Mapping[str, timedelta]  # session -> how old its evidence may be
    manifest: Manifest
    now: datetime
    production: str = ""  # the address of the version in production; "" for none


def findings(evidence: Mapping[str, Evidence], demand: Demand) -> list[Finding]:
    """Every reason why `evidence` does not allow to release the version."""
    return [
        finding
        for session in demand.sessions
        for finding in _judge(session, evidence.get(session), demand)
    ]


def _judge(session: str, each: Evidence | None, demand: Demand) -> list[Finding]:
    if each is None:
        return [Finding(session, "missing", "evidence that it passed", "none")]
    age, oldest = demand.now - each.finished, demand.sessions[session]
    found = []
    if each.result != "PASSED":
        found.append(Finding(session, "failed", "PASSED", each.result))
    for code in ("tree", "lock", "weights"):
        want, got = getattr(demand.manifest, code), getattr(each, code)
        if want != got:
            shown = (f"of {code} {want[:12]}", f"of {code} {got[:12]}")
            found.append(Finding(session, code, *shown))
    if age > oldest:
        limit = f"at most {_hours(oldest)} old"
        found.append(Finding(session, "stale", limit, f"{_hours(age)} old"))
    if age < -_CLOCK:
        late = str(each.finished)
        found.append(Finding(session, "future", "a time that has come", late))
    if not each.fresh:
        found.append(Finding(session, "reused", "a fresh virtualenv", "a reused one"))
    if session in COMPARED and each.production != demand.production:
        rivals = (_rival(demand.production), _rival(each.production))
        found.append(Finding(session, "production", *rivals))
    if session in COMPARED and each.model != demand.manifest.model:
        got = f"judged {(each.model or 'nobody knows what')[:12]}"
        want = f"judged {demand.manifest.model[:12]}, the model that is released"
        found.append(Finding(session, "model", want, got))
    return found


def _rival(address: str | None) -> str:
    """What a version was compared with, or is to be."""
    if address is None:
        return "compared with nobody knows what"
    named = f"the version {address[:12]} in" if address else "no version in"
    return f"compared with {named} production"


def _hours(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def require(evidence: Mapping[str, Evidence], demand: Demand) -> list[Evidence]:
    """The evidence that is demanded, all of it acceptable.

    Raises EvidenceRefused, naming every reason, otherwise.
    """
    if refused := findings(evidence, demand):
        raise _refusal(refused, demand.manifest)
    return [evidence[session] for session in demand.sessions]


def _refusal(refused: Sequence[Finding], manifest: Manifest) -> EvidenceRefused:
    sessions = " ".join(dict.fromkeys(finding.session for finding in refused))
    return EvidenceRefused(
        "; ".join(f"{f.session}: {f.expected}" for f in refused),
        "; ".join(f"{f.session}: {f.found} [{f.code}]" for f in refused),
        f"{_mend(refused)}, on commit {manifest.commit[:12]}: nox -s {sessions}",
    )


def _mend(refused: Sequence[Finding]) -> str:
    failed = any(finding.code == "failed" for finding in refused)
    return "mend what failed, and run" if failed else "run"
