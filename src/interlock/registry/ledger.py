"""The ledger: how often the rows of a test set were used, and what came of it.

    ledger/NAME/SET/rows.json            a set of rows: how many, and their digests
    ledger/NAME/SET/shares/OTHER.json    it has rows of a set that was there before
    ledger/NAME/SET/uses/USE.json        one use: who was judged on it, and the verdict

Rules:

* SET is the SHA-256 of the rows' sorted digests, USE that of what makes a use: the
  candidate, production, the rows and what is judged by. So the same use is the same
  key, written once, and counts once;
* a set's uses are its own and those of every set that it shares a row with. Rows that
  nobody has used have none;
* a set and what it shares come before its first use, and whoever writes a set looks at
  all others after that: of two that are written at once, one at least sees the other;
* whoever enters a use looks at the others before that, and says in it whether it came
  late: when they had spent the budget. When it was judged does not count for that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import (
    NAME,
    SHA256,
    File,
    files_from_json,
    files_to_json,
    match,
)
from interlock.attest.envelope import seal
from interlock.attest.statement import ROWS, SHARES, USE, Statement, moment
from interlock.canonical import canonical, parse
from interlock.errors import CheckBroken, Unknown, expecting
from interlock.registry.records import Registry, model_name
from interlock.registry.store import read_each, read_required
from interlock.registry.transfer import Sender, fetch

LEFT = ("use.json", "rows.u64")  # what an evaluation leaves to be entered


@dataclass(frozen=True)
class Use:
    """One use of a test set."""

    name: str  # of the model
    rows: str  # the set
    candidate: str  # Manifest.model of who was judged
    production: str  # of what was beside it; "" for none
    judged_by: str  # SHA-256 of the settings that verdicts rest on
    data: str  # SHA-256 of the data's and of what its rows are known by
    version: str  # NAME@COMMIT of the candidate, for people
    state: str  # PASS, FAIL or UNKNOWN
    judged: str  # RFC 3339, UTC
    uses: int  # how many the set was meant for
    false_alarm: str  # the chance over all of them, in decimals
    night: Mapping[str, Any] | None = None  # what watching production takes from it
    late: bool = False  # whether others had spent the budget when it was entered

    @property
    def key(self) -> str:
        """USE: the SHA-256 of what makes it this use and no other."""
        return use_key(self.candidate, self.production, self.rows, self.judged_by)

    @property
    def record(self) -> str:
        """The key of its record in the registry."""
        return f"ledger/{self.name}/{self.rows}/uses/{self.key}.json"

    @property
    def cost(self) -> Fraction:
        """What it takes of the chance of a false alarm."""
        return Fraction(self.false_alarm) / self.uses

    def statement(self) -> Statement:
        """The use as it is signed."""
        return Statement(self.rows, {"sha256": self.rows}, USE, asdict(self))


def use_key(candidate: str, production: str, rows: str, judged_by: str) -> str:
    """The digest of a use, 64 hex digits, from those of what makes it."""
    parts = {"candidate": candidate, "production": production}
    return digest(canonical({**parts, "rows": rows, "judged_by": judged_by}))


def use_from_json(value: Any) -> Use:
    """The use that a JSON value describes. Raises ValueError for what is none."""
    try:
        use = Use(**value)
        match(NAME, use.name)
        if not 0 < float(use.false_alarm) < 1:  # before it is made a fraction of
            raise ValueError(f"false_alarm {use.false_alarm!r}")
        for each in (use.rows, use.candidate, use.judged_by, use.data):
            match(SHA256, each)
        match(SHA256, use.production or use.candidate)
        moment(use.judged)
        if type(use.uses) is not int or use.uses < 1 or not 0 < use.cost < 1:
            raise ValueError(f"{use.uses!r} uses at {use.false_alarm!r}")
        if not isinstance(use.night, Mapping | None):
            raise ValueError(f"night {use.night!r}")
        if type(use.late) is not bool:
            raise ValueError(f"late {use.late!r}")
        return use
    except (TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True)
class Entry:
    """What the keys say of a set."""

    uses: list[str] = field(default_factory=list)  # keys in the registry
    shares: set[str] = field(default_factory=set)  # sets that came before


@dataclass(frozen=True)
class Budget:
    """What is left of a set of rows."""

    spent: Fraction  # of the chance of a false alarm
    used: int  # how often
    uses: int  # how often it is meant to be
    false_alarm: Fraction

    @property
    def left(self) -> int:
        """How many more uses there are, as they are meant now."""
        return max(
            0, int((self.false_alarm - self.spent) * self.uses / self.false_alarm)
        )


def budget(uses: Iterable[Use], meant: int, false_alarm: str) -> Budget:
    """What these uses leave, where now `meant` uses share the chance `false_alarm`.

    Each takes what it was judged at, so that changing the settings gives nothing back.
    """
    costs = [use.cost for use in uses]
    spent = sum(costs, start=Fraction(0))
    return Budget(spent, len(costs), meant, Fraction(false_alarm))


def demand_left(found: Budget) -> None:
    """Raises Unknown where nothing is left for one more use."""
    if found.left:
        return
    said = f"the test set was used {found.used} of {found.uses} times"
    if found.used < found.uses:  # they were meant for fewer, or at another chance
        share = f"{float(found.spent / found.false_alarm):.0%}".replace("%", " %")
        said = f"its {found.used} uses have taken {share} of evaluation.false_alarm"
    raise Unknown(
        "rows with budget left for another verdict",
        said,
        "label fresh rows; more uses of these would make false alarms likelier than "
        "evaluation.false_alarm says",
    )


def before(uses: Sequence[Use], use: Use) -> list[Use]:
    """Those of `uses`, in the order of `read_uses`, that came before `use`.

    For one that is new, or that came late, these are all others. For one that had room
    they are those that had room as well and were judged before it.
    """
    there = next((each for each in uses if each.key == use.key), None)
    if there is None or there.late:
        return [each for each in uses if each.key != use.key]
    earlier = takewhile(lambda each: each.key != use.key, uses)
    return [each for each in earlier if not each.late]


def demand_in_time(registry: Registry, use: Use) -> None:
    """Raises Unknown for a use that was entered when others had spent the budget.

    Raises VerificationFailed for one that is not in the ledger.
    """
    read_required(registry.store, use.record)
    uses = beside(registry, use)
    demand_left(budget(before(uses, use), use.uses, use.false_alarm))


def beside_others(registry: Registry, use: Use) -> Budget:
    """What all others leave of its rows, as the registry has them now."""
    others = [each for each in beside(registry, use) if each.key != use.key]
    return budget(others, use.uses, use.false_alarm)


def beside(registry: Registry, use: Use) -> list[Use]:
    """The uses of its rows as the registry has them now, in their order."""
    entries = index(registry, use.name)
    sets = related(entries, use.rows)
    return read_uses(registry, (entries.get(each, Entry()) for each in sets))


def index(registry: Registry, name: str) -> dict[str, Entry]:
    """Every set of a model's ledger, from one listing."""
    found: dict[str, Entry] = {}
    for key in registry.store.keys(f"ledger/{model_name(name)}/"):
        _, _, rows, kind, *rest = key.split("/")
        entry = found.setdefault(rows, Entry())
        if kind == "uses":
            entry.uses.append(key)
        elif kind == "shares":
            entry.shares.add(rest[0].removesuffix(".json"))
    return found


def related(entries: Mapping[str, Entry], rows: str) -> set[str]:
    """A set and those that it shares rows with; the one that came later says so."""
    later = {other for other, entry in entries.items() if rows in entry.shares}
    return {rows, *later, *entries.get(rows, Entry()).shares}


def read_uses(registry: Registry, entries: Iterable[Entry]) -> list[Use]:
    """The uses of some sets, verified, in the order in which they were judged."""
    keys = [key for entry in entries for key in entry.uses]
    records = read_each(registry.store, keys)
    found = (open_use(registry, *each) for each in records.items())
    return sorted(found, key=lambda use: (moment(use.judged), use.key))


def open_use(registry: Registry, key: str, record: bytes) -> Use:
    """The use in a record, verified to be the one that its key names."""
    statement = registry.trust.open(record, "evidence", USE, key)
    with _documented(key):
        use = use_from_json(statement.predicate)
        if use.record != key or statement.digest != {"sha256": use.rows}:
            raise ValueError(f"it is {use.record}")
        return use


def _documented(what: str | Path) -> expecting:
    return expecting(
        f"{what} as docs/formats.md describes it",
        "do not believe the ledger: restore the record from a copy of the registry",
    )


def rows_key(name: str, rows: str) -> str:
    """The key of the record of a set."""
    return f"ledger/{name}/{rows}/rows.json"


def fetch_rows(
    registry: Registry, name: str, wanted: Iterable[str], folder: Path
) -> dict[str, Path]:
    """The digests of some sets as files below `folder`, verified."""
    keys = [rows_key(name, each) for each in sorted(wanted)]
    records = read_each(registry.store, keys)
    files = [open_rows(registry, *each) for each in records.items()]
    fetch(registry, files, folder)
    return {file.path: folder / file.path for file in files}


def open_rows(registry: Registry, key: str, record: bytes) -> File:
    """The digests of the set in a record, verified to be the one that its key names."""
    statement = registry.trust.open(record, "evidence", ROWS, key)
    with _documented(key):
        (file,) = files_from_json([statement.predicate["digests"]])
        if rows_key(statement.predicate["name"], file.sha256) != key:
            raise ValueError(f"it is about {file.sha256}")
        return replace(file, path=file.sha256)


def open_share(registry: Registry, key: str, record: bytes) -> str:
    """The set that another has rows of, verified to be what its key names."""
    statement = registry.trust.open(record, "evidence", SHARES, key)
    with _documented(key):
        name, other = (str(statement.predicate[each]) for each in ("name", "other"))
        if f"ledger/{name}/{statement.digest['sha256']}/shares/{other}.json" != key:
            raise ValueError(f"it is about {other}")
        return other


def overlapping(
    registry: Registry, name: str, path: Path, others: Collection[str]
) -> set[str]:
    """Those of the sets `others` that have a row of the set in the file `path`."""
    from interlock.registry import rows as sets  # numpy, which publishing does not need

    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        files = fetch_rows(registry, name, others, Path(scratch))
        return {rows for rows, file in files.items() if sets.share(path, file)}


def left(folder: Path) -> Use | None:
    """The use that an evaluation left in `folder`; None where it left none."""
    path = folder / LEFT[0]
    if not path.is_file():
        return None
    return read_use(path.read_bytes(), path)


def read_use(data: bytes, what: str | Path) -> Use:
    """The use that an evaluation left in the file `what`, from its bytes."""
    with _documented(what):
        return use_from_json(parse(data))


def enter(registry: Registry, folder: Path, key: Signer) -> Use | None:
    """Enter the use that an evaluation left in `folder`; None where it left none.

    The use is as the ledger has it then: entering it again changes nothing, what was
    entered first stays. Raises Unknown where others spend the budget at once.
    """
    use = left(folder)
    if use is None:
        return None
    uses = index(registry, use.name).get(use.rows, Entry()).uses
    if not uses:
        _add_rows(registry, use, folder / LEFT[1], key)
    if use.record not in uses:
        late = not beside_others(registry, use).left
        use = replace(use, late=late)
        if registry.store.create(use.record, seal(use.statement(), key)):
            if not late:  # whoever enters last, of several at once, sees all others
                demand_left(beside_others(registry, use))
            return use
    return _entered(registry, use)


def _entered(registry: Registry, use: Use) -> Use:
    """The use as it was entered before. Raises CheckBroken for another verdict."""
    there = open_use(registry, use.record, read_required(registry.store, use.record))
    if there.state != use.state:
        raise CheckBroken(
            f"{there.state}, as the same use was judged on {there.judged[:10]}",
            use.state,
            "the first verdict stands: find out what draws lots in the evaluation",
        )
    return there


def _add_rows(registry: Registry, use: Use, path: Path, key: Signer) -> None:
    """Write a set with what it shares. A set that has a use has all that already."""
    from interlock.registry import rows as sets

    with _documented(path):
        if not path.is_file():
            raise ValueError("the set is not in this registry, nor here")
    file = Sender(registry).send(path, use.rows)
    with _documented(path):
        if file.sha256 != use.rows:
            raise ValueError(f"it is the set {file.sha256[:12]}")
    (value,) = files_to_json([file])
    made = {"name": use.name, "rows": sets.count(path), "digests": value}
    statement = Statement(use.rows, {"sha256": use.rows}, ROWS, made)
    registry.store.create(rows_key(use.name, use.rows), seal(statement, key))
    entries = index(registry, use.name)
    others = entries.keys() - related(entries, use.rows)
    for other in overlapping(registry, use.name, path, others):
        said = {"name": use.name, "other": other}
        statement = Statement(use.rows, {"sha256": use.rows}, SHARES, said)
        where = f"ledger/{use.name}/{use.rows}/shares/{other}.json"
        registry.store.create(where, seal(statement, key))
