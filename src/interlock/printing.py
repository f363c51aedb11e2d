"""How the command line says things: for people, in 80 columns, and for machines."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import Refusal

if TYPE_CHECKING:
    from interlock.diff import Changed, ChangedFile, Difference, Evaluations
    from interlock.doctor.checks import Report
    from interlock.doctor.facts import Facts
    from interlock.fsck import Finding
    from interlock.registry.channels import Release
    from interlock.registry.resolve import Version
    from interlock.trust import Trust


def print_refusal(refusal: Refusal, as_json: bool) -> None:
    """The refusal on standard error, to be read; as JSON on standard output too."""
    if as_json:
        lines = {k: getattr(refusal, k) for k in ("expected", "found", "todo")}
        values = {"refused": lines, "exit_code": refusal.exit_code, **refusal.details}
        print(json.dumps(values, indent=2))
    width = min(80, max(40, shutil.get_terminal_size().columns))
    wrapper = textwrap.TextWrapper(width, break_on_hyphens=False)
    wrapper.break_long_words = False  # a path or a command is there to be copied
    wrapper.subsequent_indent = " " * 10
    for line in str(refusal).splitlines():
        caret = line.strip() == "^"  # it stands below the place that it points at
        wrapper.initial_indent = line[:10]  # the word that the line starts with
        print(line if caret else wrapper.fill(line[10:]) or line, file=sys.stderr)


def moved_line(release: Release, new: bool) -> str:
    """What a channel serves now."""
    state = f"release {release.sequence} of {release.channel}"
    again = "" if new else ", as before"
    return f"{state}: {release.name}@{release.commit[:12]}{again}"


def this_command() -> str:
    """How to call this very program from here, to be typed as it is."""
    program = Path(sys.argv[0])
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        return str(program.relative_to(Path.cwd()))
    return "interlock"


def place(version: Version) -> str:
    """The release that a version was resolved by."""
    release = version.release
    return f"{release.channel} {release.sequence}" if release else "in no channel"


def log_entry(release: Release) -> str:
    """A release, for people."""
    when = f"{release.released:%Y-%m-%d %H:%M} UTC"
    sessions = [key.rpartition("/")[2].rpartition("-")[0] for key in release.evidence]
    return (
        f"{release.channel} {release.sequence}  {release.name}@{release.commit[:12]}\n"
        f"  when      {when}\n"
        f"  who       {shown(release.actor)}\n"
        f"  why       {shown(release.reason)}\n"
        f"  evidence  {', '.join(sessions)}"
    )


def night(record: dict[str, Any]) -> str:
    """A night of the watch over production, for people."""
    below = record["alarm_below"]
    band = "none" if below is None else f"{100 * below:.1f} %"
    mark = "  ALARM" if record["alarm"] else ""
    return (
        f"{record['judged'][:10]}  {record['production']}  {record['rows']:>9,} rows"
        f"  {100 * record['value']:>5.1f} %  alarm below {band}{mark}"
    )


def finding_line(finding: Finding) -> str:
    """What fsck found, for people; the key can be copied."""
    return f"{finding.code:<13}{shown(finding.key)}: {shown(finding.found)}"


def shown(text: str) -> str:
    """Text that somebody else wrote, unable to forge lines or to colour them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def difference(found: Difference) -> str:
    """What differs between two versions, for people."""
    lines = [f"from {found.was}", f"to   {found.now}"]
    files = found.files
    lines.append(
        f"files: {len(files)} differ, {found.same} are the same; "
        f"{found.fetch:,} bytes of chunks are new"
    )
    lines += map(_file_line, files)
    lines.append(_requirements_line(found))
    lines += map(_change_line, found.requirements or ())
    lines.append(f"schema: {_number(found.schema)}")
    lines += map(_change_line, found.schema)
    if found.broken:
        why = shown("; ".join(found.broken))
        lines.append(f"  callers of the first could not call the second: {why}")
    commits = found.commits
    what = "not all in the Git repository here" if commits is None else len(commits)
    lines.append(f"commits: {what}")
    lines += (f"  {'+' if c[0] == '>' else '-'}{shown(c[1:])}" for c in commits or ())
    return "\n".join([*lines, *_evaluation_lines(found.evaluations)])


def _number(changed: Sequence[object]) -> str:
    return f"{len(changed)} changed" if changed else "the same"


def _mark(was: object, now: object) -> str:
    return "+" if was is None else "-" if now is None else "~"


def _file_line(file: ChangedFile) -> str:
    sizes = " -> ".join(
        f"{size:,}" for size in (file.was, file.now) if size is not None
    )
    chunks = f", {file.new} of {file.chunks} chunks new" if file.now else ""
    return f"  {_mark(file.was, file.now)} {file.path}  {sizes} bytes{chunks}"


def _change_line(each: Changed) -> str:
    values = " -> ".join(shown(v) for v in (each.was, each.now) if v is not None)
    return f"  {_mark(each.was, each.now)} {shown(each.name)} {values}"


def _requirements_line(found: Difference) -> str:
    if found.requirements is None:
        return "requirements: another lock, that is not in the Git repository here"
    by = f", as {', '.join(found.sessions)} ran with" if found.sessions else ""
    return f"requirements: {_number(found.requirements)}{by}"


def _evaluation_lines(found: Evaluations | None) -> Iterator[str]:
    if found is None:
        yield "evaluations: not of both"
        return
    rows = " and ".join(f"{each:,}" for each in dict.fromkeys(found.rows))
    data = "the same data" if found.same_data else "other data: they do not compare"
    yield f"evaluations: {rows} rows, {data}"
    for each in found.metrics:
        was, now = _measured(each.was), _measured(each.now)
        yield f"  {shown(each.name):<17} {was}"
        if now != was:
            yield f"  {'->':>17} {now}"


def _measured(value: tuple[float | None, ...]) -> str:
    number, low, high = ("none" if v is None else f"{v:.4f}" for v in value)
    return number if low == "none" else f"{number} ({low} to {high})"


def trust(found: Trust) -> str:
    """The trust root of a registry, for people; ids and digests can be copied."""
    lines = [f"trust root {found.root} of {found.registry}", "first root"]
    lines += [f"  {found.first}", "keys"]
    for keyid, roles in found.keys.items():
        here = " (the key here)" if keyid == found.here else ""
        lines.append(f"  {keyid[:12]}  {', '.join(roles)}{here}")
    several = [f"{n} of {role}" for role, n in found.thresholds.items() if n > 1]
    if several:
        lines.append(f"  must sign together: {', '.join(several)}")
    if found.vouched:
        lines.append(f"  {found.vouched:,} records of removed keys stay believed")
    for channel, demands in found.channels.items():
        lines.append(f"{shown(channel)} demands")
        lines += (
            f"  {shown(s):<13} {age:>5} hours old at most" for s, age in demands.items()
        )
    return "\n".join(lines)


def release_json(release: Release) -> dict[str, Any]:
    """A release, for machines."""
    values = asdict(release) | {"evidence": dict(release.evidence)}
    return values | {"released": release.released.isoformat()}


def version_json(version: Version) -> dict[str, Any]:
    """A version with its release and evidence, for machines."""
    manifest, release = version.manifest, version.release
    return {
        "version": manifest.version,
        "address": manifest.address,
        "manifest": manifest.to_json(),
        "release": release_json(release) if release else None,
        "evidence": [
            {
                "session": e.session,
                "result": e.result,
                "finished": e.finished.isoformat(),
            }
            for e in version.evidence
        ],
    }


def report_text(facts: Facts, report: Report) -> str:
    """What doctor found, for people; commands stand on one line, to be copied."""
    lines = []
    for each in report.findings:
        lines += [
            f"{each.code}: falls short",
            f"  expected: {each.expected}",
            f"  found:    {shown(each.found)}",
            f"  to do:    {each.todo}",
        ]
    for code, why in report.unseen.items():
        lines.append(f"{code}: could not look ({shown(why)})")
    lines.append(f"as promised: {', '.join(report.kept) or 'nothing'}")
    who = "".join(f", as {each}" for each in _identities(facts))
    lines.append(
        f"{len(report.findings)} fall short, {len(report.unseen)} could not be looked"
        f" at, {len(report.kept)} as promised{who}"
    )
    return "\n".join(lines)


def report_json(facts: Facts, report: Report) -> dict[str, Any]:
    """What doctor found, for machines."""
    return {
        "identity": next(iter(_identities(facts)), None),
        "findings": [asdict(each) for each in report.findings],
        "unseen": dict(report.unseen),
        "kept": [*report.kept],
        "exit_code": report.exit_code,
    }


def _identities(facts: Facts) -> list[str]:
    """Who the registry's server says we are, where it says so."""
    return [who for each in facts if (who := getattr(each, "identity", ""))]
