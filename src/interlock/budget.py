"""Keeping account of an evaluation: what its rows have left, and what it takes.

The ledger is looked at before anything is predicted. A use that is there already costs
nothing and has to come to the verdict that it came to; a new one needs budget. What is
to be entered is left beside the report: whoever has the key signs it, here and now or
when the evidence is attached.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from securesystemslib.signer import Signer

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import Manifest
from interlock.attest.statement import timestamp
from interlock.canonical import canonical, in_decimals
from interlock.config import Evaluation, Watch
from interlock.errors import BadConfiguration, CheckBroken
from interlock.evaluation import data, files, fingerprints, watch
from interlock.registry import ledger, rows
from interlock.registry.access import signer
from interlock.registry.ledger import LEFT, Budget, Entry, Use
from interlock.registry.records import Registry

# What a verdict does not rest on: changing it makes no other use.
APART = {"data", "identity", "watch"} | {
    *("batch_rows", "patience", "workers", "engine", "scheduler")
}


@dataclass(frozen=True)
class Known:
    """What the ledger says of a set of rows."""

    rows: str  # the set
    data: str  # as in ledger.Use
    entries: Mapping[str, Entry]  # every set of the model, and this one
    uses: Sequence[Use]  # of every set, in their order

    @property
    def related(self) -> set[str]:
        """The set and those that it shares rows with."""
        return ledger.related(self.entries, self.rows)

    @property
    def used(self) -> set[str]:
        """Those of them that somebody has used."""
        return {each for each in self.related if self.entries[each].uses}

    def budget(self, settings: Evaluation) -> Budget:
        """What is left of the rows."""
        return ledger.budget(self._own, settings.uses, repr(settings.false_alarm))

    def budget_before(self, use: Use) -> Budget:
        """What was left of the rows when a use came; now, if it is new or came late."""
        earlier = ledger.before(self._own, use)
        return ledger.budget(earlier, use.uses, use.false_alarm)

    @property
    def _own(self) -> list[Use]:
        return [use for use in self.uses if use.rows in self.related]

    def earlier(self, use: Use) -> Use | None:
        """This very use, where the ledger has it."""
        return next((each for each in self.uses if each.key == use.key), None)


@dataclass(frozen=True)
class Judged:
    """Who is judged, beside whom, and by what."""

    candidate: Manifest
    production: Manifest | None
    settings: Evaluation
    exploring: bool = False  # on other data than the project's

    @property
    def by(self) -> str:
        """The SHA-256 of the settings that verdicts rest on."""
        told = {k: v for k, v in asdict(self.settings).items() if k not in APART}
        return digest(canonical(in_decimals(told)))

    def use(self, known: Known) -> Use:
        """The use of a set of rows, before there is a verdict."""
        return Use(
            name=self.candidate.name,
            rows=known.rows,
            data=known.data,
            candidate=self.candidate.model,
            production=self.production.model if self.production else "",
            judged_by=self.by,
            version="",
            state="",
            judged="",
            uses=self.settings.uses,
            false_alarm=repr(self.settings.false_alarm),
        )


class Keeper:
    """Keeps account of one evaluation; `scratch` and `out` are folders."""

    def __init__(
        self, judged: Judged, registry: Registry | None, scratch: Path, out: Path
    ) -> None:
        self.sentences: tuple[str, ...] = ()
        self._judged, self._registry, self._out = judged, registry, out
        self._parts = scratch / "parts"
        self._order = scratch / "order"  # the rows' digests in the order of the data
        self._sorted = scratch / "sorted"
        self._known = Known("", "", {}, ())

    def look(self, source: Path) -> None:
        """Know the rows again. Raises Unknown where their budget is spent."""
        settings = self._judged.settings
        watch.check(settings)
        told = {"data": files.digest(source), "identity": [*settings.identity]}
        self._known = self._looked_up(source, digest(canonical(told)))
        if self._counts:
            use = self._judged.use(self._known)
            ledger.demand_left(self._known.budget_before(use))

    def _looked_up(self, source: Path, data_: str) -> Known:
        """The rows in the ledger; the same bytes need not be read row by row again."""
        entries, uses, name = {}, list[Use](), self._judged.candidate.name
        if self._registry:
            entries = ledger.index(self._registry, name)
            uses = ledger.read_uses(self._registry, entries.values())
        same = next((use.rows for use in uses if use.data == data_), "")
        set_ = same or self._hashed(source)
        if set_ not in entries:
            found = set[str]()
            if self._registry:
                path = self._sorted
                found = ledger.overlapping(self._registry, name, path, entries)
            entries[set_] = Entry(shares=found)
        return Known(set_, data_, entries, uses)

    def _hashed(self, source: Path) -> str:
        """The name of the set, from the digest of each row."""
        settings = self._judged.settings
        self._parts.mkdir()
        found = fingerprints.of(source, settings.identity, settings.batch_rows)
        rows.write(self._kept(found), self._parts, self._sorted)
        return files.digest(self._sorted)

    def _kept(self, batches: Iterable[rows.Digests]) -> Iterator[rows.Digests]:
        with self._order.open("wb") as file:
            for batch in batches:
                file.write(batch.astype(rows.LITTLE).tobytes())
                yield batch

    @property
    def _earlier(self) -> Use | None:
        return self._known.earlier(self._judged.use(self._known))

    @property
    def _counts(self) -> bool:
        """Whether this is a use: exploring is one on rows that somebody has used."""
        return bool(self._known.used) or not self._judged.exploring

    def entry(self, metrics: Mapping[str, Any], predictions: Path) -> dict[str, Any]:
        """The `budget` and `watch` of metrics.json; the use is entered, or left.

        Raises CheckBroken where this very use had another verdict, and Unknown where
        others have spent the budget meanwhile.
        """
        earlier, known = self._earlier, self._known
        if earlier and earlier.state != metrics["state"]:
            raise _differs(earlier, metrics["state"])
        use = earlier or self._new(metrics, predictions)
        if not earlier and self._counts:
            self._known = replace(known, uses=[*known.uses, use])
        entered = self._enter(use) if self._counts else "not counted: other data"
        told = _told(self._known, self._judged.settings, entered, earlier)
        watched = watch_record(self._known, self._judged.settings.watch)
        self.sentences = tuple(each["sentence"] for each in (told, watched) if each)
        return {"budget": told, "watch": watched}

    def _new(self, metrics: Mapping[str, Any], predictions: Path) -> Use:
        return replace(
            self._judged.use(self._known),
            version=metrics["candidate"],
            state=str(metrics["state"]),
            judged=timestamp(datetime.now(UTC), "microseconds"),
            night=self._night(predictions),
        )

    def _enter(self, use: Use) -> str:
        """Leave the use beside the report, and enter it where there is a key."""
        leave, digests = (self._out / name for name in LEFT)
        leave.write_bytes(canonical(asdict(use)))
        if self._sorted.exists():
            copyfile(self._sorted, digests)
        if self._registry is None:
            return "counted when the evidence is attached: there is no registry yet"
        if (key := _key(self._registry)) is None:
            return "counted when the evidence is attached: there is no key here"
        there = ledger.enter(self._registry, self._out, key)
        if there and there.late:
            ledger.demand_in_time(self._registry, there)
        return ""

    def _night(self, predictions: Path) -> dict[str, Any] | None:
        """What production did on the rows that nobody has used before."""
        settings, used = self._judged.settings, self._known.used
        old = self._judged.exploring or self._known.rows in used
        if not (settings.watch and self._judged.production and self._registry) or old:
            return None
        name = self._judged.candidate.name
        with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
            sets = ledger.fetch_rows(self._registry, name, used, Path(scratch))
            fresh = _fresh(predictions, self._order, [*sets.values()], settings)
            count, value = watch.observed(fresh, settings, settings.watch.metric)
        found = {"rows": count, "value": value, "without": sorted(used)}
        return in_decimals(asdict(settings.watch) | found) if count else None


def _fresh(
    predictions: Path, order: Path, used: Sequence[Path], settings: Evaluation
) -> Iterator[pa.RecordBatch]:
    """The kept rows that are in none of the sets `used`."""
    digests, first = rows.view(order), 0
    names = dict.fromkeys(pq.read_schema(predictions).names)
    for batch in data.batches(predictions, names, settings.batch_rows):
        own = digests[first : first + batch.num_rows]
        yield batch.filter(pa.array(~rows.known(own, used)))
        first += batch.num_rows


def _key(registry: Registry) -> Signer | None:
    """The key that signs here, if there is one that the registry knows."""
    try:
        return signer(registry)
    except BadConfiguration:
        if os.environ.get("INTERLOCK_KEY"):
            raise
        return None


def _told(
    known: Known, settings: Evaluation, entered: str, earlier: Use | None
) -> dict[str, Any]:
    """What metrics.json says of the budget."""
    budget = known.budget(settings)
    said = f"BUDGET: these rows were used {budget.used} of {budget.uses} times"
    if earlier:
        said += f"; this is the use of {earlier.judged[:10]} again and costs nothing"
    return {
        "rows": known.rows,
        "shares": sorted(known.related - {known.rows}),
        "used": budget.used,
        "uses": budget.uses,
        "left": budget.left,
        "again": bool(earlier),
        "entered": not entered,
        "sentence": f"{said} ({entered})" if entered else said,
    }


def watch_record(known: Known, settings: Watch | None) -> dict[str, Any] | None:
    """What metrics.json says of the watch over production; None without one."""
    if settings is None:
        return None
    observed = watch.nights(known.uses, known.entries, settings.metric)
    return watch.to_record(watch.trend(observed, settings), settings)


def watched(registry: Registry, name: str, night: Path | None) -> dict[str, Any] | None:
    """The watch over a model's production, from the ledger; None without one.

    `night` is the folder of an evaluation that may not be entered yet.
    """
    entries = ledger.index(registry, name)
    uses = ledger.read_uses(registry, entries.values())
    last = ledger.left(night) if night else None
    if last and last.key not in {use.key for use in uses}:
        uses.append(last)
    return watch_record(Known("", "", entries, uses), watch.settings_of(uses))


def _differs(earlier: Use, state: str) -> CheckBroken:
    return CheckBroken(
        f"{earlier.state}, as {earlier.version} came to on {earlier.judged[:10]} on "
        "the same rows, beside the same production and by the same gates",
        state,
        "let predict answer the same each time; the first verdict stands",
    )
