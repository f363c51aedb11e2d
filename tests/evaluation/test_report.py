"""The report shows the record's numbers, to everyone, and lets nothing in."""

import json
import re
from collections.abc import Iterator
from functools import cache, partial
from html.parser import HTMLParser
from math import isclose
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from interlock.config import Evaluation, Gate
from interlock.evaluation import gates, record, report, wording
from interlock.evaluation.batch import Batch
from interlock.evaluation.counts import Counts, fold, plan

EVIL = (
    "<script>alert(1)</script>",
    "--><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    r"$\frac{$",
    "a|b *c* [d](http://e)",
    "北京 ☃",
)
ROWS = 3000
NAMES = {"multiclass": ("cat", "d<b>g", "eel"), "many": tuple("abcdefghijklmnop")}
LATER: dict[str, Any] = {  # what others add to the record
    "latency": {"ratio": {"value": 1.02, "low": 0.97, "high": 1.08}, "pairs": 1000},
    "self_test": {
        "sentences": [
            "self-test: 5 of 5 plants refused; a model that guesses on 5% FAILs",
            "self-test: no plant made 'accuracy >= <i>' FAIL",
        ],
        "plants": [
            {"name": "shuffled labels", "outcome": "refused", "found": "FAIL"},
            {"name": "a <b>twin</b>", "outcome": "held", "found": "PASS"},
        ],
    },
    "budget": {
        "used": 12,
        "uses": 365,
        "left": 353,
        "sentence": "BUDGET: these rows were used 12 of 365 times",
    },
    "watch": {
        "metric": "accuracy",
        "floor": 0.9,
        "nights": 365,
        "false_alarm": 0.05,
        "alarm": True,
        "sentence": "ALARM: production is at 88.0 % over 3 nights",
        "trend": [
            {"judged": f"2026-10-0{n}T", "value": v, "alarm_below": b, "alarm": a}
            for n, v, b, a in (
                (1, 0.91, None, False),
                (2, 0.88, 0.5, False),
                (3, 0.85, 0.86, True),
            )
        ],
    },
}


def judged(production: bool = True, column: str = "group", task: str = "binary") -> Any:
    """A record of rows whose slices have hostile names."""
    chance = np.random.default_rng(2)
    labels, given, gate = TASKS[task](chance, column)
    if not production:
        del given["production"]
    slices = {column: pa.array(chance.choice(EVIL, ROWS))}
    settings = Evaluation(
        *("<b>data</b>", "label", tuple(map(Gate, gate))),
        slices=(column,),
        task="multiclass" if task == "many" else task,  # type: ignore[arg-type]
        classes=NAMES.get(task, ()),
        query="query" if task == "ranking" else "",
        clip={"mae": 5.0, "rmse": 5.0} if task == "regression" else {},
    )
    conditions = [gates.parse(each, settings) for each in settings.gates]
    judged = [(each.metric, each.per) for each in conditions]
    wanted = plan(settings, judged, drawn=True)
    queries = np.arange(ROWS) // 10 if task == "ranking" else None
    batch = Batch(labels, given, slices, queries=queries)
    counts: Counts = fold(batch, wanted)
    verdicts = gates.judge(conditions, counts, settings)
    facts = record.Facts("<i>@1", "<u>@0" if production else None, "d" * 64)
    return record.metrics(facts, counts, verdicts, settings, "p" * 64, 1.0)


def binary(chance: np.random.Generator, column: str) -> Any:
    """Probabilities that tell the labels apart, and somewhat other ones."""
    labels = chance.random(ROWS) < 0.3
    scores = np.clip(0.5 * labels + 0.6 * chance.random(ROWS), 0, 1)
    other = np.clip(scores + chance.normal(0, 0.05, ROWS), 0, 1)
    gate = ["accuracy >= 0.8", f"accuracy >= 0.5 per {column}"]
    gate += ["accuracy >= production.accuracy - 0.05"]
    gate += ["recall >= production.recall"]
    return labels, {"candidate": scores, "production": other}, gate


def multiclass(chance: np.random.Generator, column: str, classes: int = 3) -> Any:
    """Probabilities of some classes."""
    labels = chance.integers(0, classes, ROWS)
    raw = chance.random((2, ROWS, classes)) + 0.7 * np.eye(classes)[labels]
    mine, theirs = raw / raw.sum(axis=2, keepdims=True)
    return labels, {"candidate": mine, "production": theirs}, ("accuracy >= 0.5",)


def regression(chance: np.random.Generator, column: str) -> Any:
    """Numbers near the truth."""
    labels = chance.normal(10, 3, ROWS)
    mine, theirs = labels + chance.normal(0, 1, (2, ROWS))
    gate = ("mae <= production.mae + 0.1", f"rmse <= 2 per {column}")
    return labels, {"candidate": mine, "production": theirs}, gate


def ranking(chance: np.random.Generator, column: str) -> Any:
    """Queries of ten answers, of which some are relevant."""
    labels = (chance.random(ROWS) < 0.2) * chance.integers(1, 4, ROWS)
    mine, theirs = labels + chance.normal(0, 1.5, (2, ROWS)).round(1)
    gate = ("ndcg >= 0.3",)
    return labels, {"candidate": mine, "production": theirs}, gate


TASKS: dict[str, Any] = {
    "binary": binary,
    "multiclass": multiclass,
    "many": partial(multiclass, classes=16),
    "regression": regression,
    "ranking": ranking,
}


class Page(HTMLParser):
    """The elements, the words, the tables and the <data> of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.data: list[tuple[float, str]] = []  # the number, and how it is shown
        self.tables: list[dict[str, list[float]]] = []  # numbers by the row's name
        self._in, self._named = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.found.append((tag, attributes))
        self._in = tag
        if tag == "table":
            self.tables.append({})
        if tag == "th" and attributes.get("scope") == "row":
            self._named = True
        if tag == "data":
            value = float(attributes["value"] or "nan")
            self.data.append((value, ""))
            if self.tables and self.tables[-1] and self._table_is_open:
                [*self.tables[-1].values()][-1].append(value)

    def handle_endtag(self, tag: str) -> None:
        self._in = ""
        if tag == "table":
            self.tables[-1]["end"] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._named:
            self.tables[-1][data] = []
            self._named = False
        if self._in == "data":
            self.data[-1] = self.data[-1][0], data

    @property
    def _table_is_open(self) -> bool:
        return "end" not in self.tables[-1]

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.found if name == tag]


VARIANTS = {
    "paired": judged() | LATER,
    "first": judged(False),
    "multiclass": judged(task="multiclass"),
    "many": judged(task="many"),
    "regression": judged(task="regression"),
    "ranking": judged(task="ranking"),
}


@cache
def written(variant: str) -> str:
    """The report of a variant."""
    return report.html(VARIANTS[variant])


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """The name of each variant."""
    return str(request.param)


@pytest.fixture(scope="module")
def metrics(variant: str) -> Any:
    """A record as metrics.json holds it."""
    return json.loads(json.dumps(VARIANTS[variant]))


@pytest.fixture(scope="module")
def page(variant: str) -> Page:
    """Its report."""
    return Page(written(variant))


def test_names_and_values_cannot_enter_as_html(page: Page) -> None:
    """Not in the text, not in the plots, not in an attribute."""
    tags = {name for name, _ in page.found}
    assert not tags & {"script", "img", "i", "u", "iframe", "object", "link"}
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on")]
    words = "".join(page.words)
    assert all(words.count(value) for value in EVIL[:3])


def test_a_column_with_a_hostile_name_is_harmless() -> None:
    """As a heading, a title and a label."""
    found = Page(report.html(judged(column='"><script>x</script>')))
    assert not found.all("script")


def test_nothing_is_fetched(page: Page) -> None:
    """Neither an address nor an import, but places within the page; and it is small."""
    for _, attributes in page.found:
        for name, value in attributes.items():
            if name in ("href", "xlink:href", "src"):
                assert value and value.startswith("#")
    style = "".join(page.words)
    assert "@import" not in style and "url(http" not in style


def test_it_is_small(variant: str) -> None:
    """So that a mail or an artifact carries it."""
    assert len(written(variant).encode()) < 200_000


PLOTS = {
    "paired": 5,
    "first": 4,
    "multiclass": 2,
    "many": 3,
    "regression": 3,
    "ranking": 2,
}


def test_every_plot_has_a_text_alternative(page: Page, variant: str) -> None:
    """With numbers in it; the bars beside numbers that say the same are left out."""
    text = written(variant)
    plots = [each for each in page.all("svg") if each.get("role") == "img"]
    assert len(plots) == PLOTS[variant]
    for plot in plots:
        title, says = (plot["aria-labelledby"] or "").split()
        assert re.search(rf'id="{title}">\w', text)
        assert re.search(rf'id="{says}">[^<]*\d', text)
    others = [each for each in page.all("svg") if each.get("role") != "img"]
    assert others and all(each["aria-hidden"] == "true" for each in others)


def test_every_place_that_is_referred_to_exists_once(page: Page) -> None:
    """Markers and clips under their new ids, links, and what elements are called."""
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {
        place
        for _, attributes in page.found
        for name, value in attributes.items()
        for place in (
            (value or "").split()
            if name == "aria-labelledby"
            else re.findall(r"(?:^|url\()#([\w-]+)", value or "")
        )
    }
    assert used and used <= set(ids)


def test_plots_take_the_pages_colours() -> None:
    """Text and axes follow dark and light."""
    found = Page(written("paired")).found
    styles = [attributes.get("style") or "" for _, attributes in found]
    assert any("currentColor" in style for style in styles)
    assert any("var(--candidate)" in style for style in styles)
    assert not [style for style in styles if re.search("#00000[0-9]", style)]


def test_tables_can_be_read_aloud(page: Page) -> None:
    """Each has a caption, and every heading cell says what it heads."""
    assert len(page.all("caption")) == len(page.all("table")) >= 2
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_page_has_landmarks_and_headings_in_order(page: Page) -> None:
    """One h1, no level left out, a way past the start; what scrolls can be reached."""
    levels = [int(name[1]) for name, _ in page.found if re.fullmatch("h[1-6]", name)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert page.all("a")[0]["href"] == "#main"
    scrolled = [each for each in page.all("div") if each.get("class") == "scroll"]
    assert all(
        each["tabindex"] == "0" and each["role"] == "region" for each in scrolled
    )


def leaves(value: Any) -> Iterator[float]:
    """Every number in a record."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def test_every_number_is_one_of_the_record(page: Page, metrics: Any) -> None:
    """To the last digit; and it is shown as that number rounded."""
    known = set(leaves(metrics))
    assert len(page.data) > 50
    for value, shown in page.data:
        assert value in known
        if shown == "below 0.0001":
            assert value < 0.0001
            continue
        plain = shown.replace(",", "").replace("\N{NO-BREAK SPACE}%", "")
        digits = len(plain.partition(".")[2])
        scaled = (value, 100 * value)
        assert any(
            isclose(float(plain), each, rel_tol=0.03 * ("." not in plain), abs_tol=near)
            for each in scaled
            for near in [0.5000001 * 10.0**-digits]
        )


def ends(number: Any) -> list[float]:
    """The numbers that are shown of one: value, low and high."""
    found = [number["value"], number.get("low"), number.get("high")]
    if number["value"] is None:
        return []
    return found[: 1 if None in found else 3]


def test_each_row_of_the_metrics_has_its_numbers(page: Page, metrics: Any) -> None:
    """Candidate, production and difference, in this order, each with its interval."""
    whole, table = metrics["whole"], page.tables[0]
    for each in metrics["metrics"]:
        if each["name"].endswith("]"):
            continue
        numbers = [whole["candidate"][each["name"]]]
        if whole["production"]:
            numbers.append(whole["production"][each["name"]])
            numbers.append(whole["pair"]["metrics"][each["name"]])
        assert table[each["title"]] == [end for n in numbers for end in ends(n)]


def test_each_slice_has_its_numbers(page: Page, metrics: Any) -> None:
    """Rows, both models, the difference and the evidence of harm."""
    for each in metrics["slices"]:
        numbers = [each["candidate"], each["production"], each["pair"]]
        shown = [end for number in numbers if number for end in ends(number)]
        row = page.tables[-1][wording.name(each["value"])]
        assert row == [each["rows"], *shown, each["harm"]]


def test_gates_and_digests_are_there(page: Page, metrics: Any) -> None:
    """With their state in words and the sentence that says why."""
    words = page.text.replace("\N{NO-BREAK SPACE}", " ")
    for gate in metrics["gates"]:
        assert report.reason(gate) in words
        assert gate["gate"] in words
    assert metrics["data"]["sha256"] in words
    assert report.headline(metrics) in words
    assert " ".join(page.words).find(metrics["state"]) >= 0


def test_the_summary_has_the_same_numbers(metrics: Any) -> None:
    """Every metric as the report shows it."""
    text, whole = report.markdown(metrics), metrics["whole"]
    for each in metrics["metrics"]:
        name, share = each["name"], each["share"]
        shown = [report.told(whole["candidate"][name], share)]
        if whole["pair"]:
            shown.append(report.told(whole["production"][name], share))
            shown.append(report.told(whole["pair"]["metrics"][name], share, "+"))
        assert f"| {report.cell(each['title'])} | {' | '.join(shown)} |" in text
    assert "<" not in text
    lines = re.split(r"\n(?!\|)", text)
    for table in lines:  # as many cells in every row
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
    assert "[d](" not in text


def test_what_others_add_is_shown() -> None:
    """Latency, budget and watch, where the record has them."""
    page = Page(written("paired"))
    words = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert LATER["watch"]["sentence"] in words
    assert LATER["budget"]["sentence"] in words
    assert "5 of 5 plants refused; a model that guesses" in words
    assert "Held: a <b>twin</b>." in words
    assert "no plant made" in report.markdown(VARIANTS["paired"])
    assert "1.02 times as long as production (95 % interval 0.97 to 1.08 )" in words
    assert "3 nights from 2026-10-01 to 2026-10-03: accuracy from 85.0 %" in words
    assert "The last sounds below 86.0 %; under alarm on 1 nights" in words
    alone = Page(written("first")).text
    assert "Latency" not in alone and "Budget" not in alone


def test_the_slice_that_is_harmed_comes_first() -> None:
    """And is named before the tables; one too small is named with what it needs."""
    labels = np.random.default_rng(1).random(2000) < 0.5
    right = np.where(labels, 0.9, 0.1)
    group = np.repeat(["fine", "harmed", "tiny"], [1400, 590, 10])
    wrong = (group == "harmed") & (np.arange(2000) % 4 == 0)
    given: dict[Any, Any] = {
        "candidate": np.where(wrong, 1 - right, right),
        "production": right,
    }
    gate = Gate("accuracy >= production.accuracy - 0.05")
    settings = Evaluation("d", "label", (gate,), slices=("group",))
    counts = fold(Batch(labels, given, {"group": pa.array(group)}), plan(settings))
    verdicts = gates.judge([gates.parse(gate, settings)], counts, settings)
    facts = record.Facts("m@1", "m@0", "d" * 64)
    found = record.metrics(facts, counts, verdicts, settings, "p" * 64, 1.0)
    assert [each["value"] for each in found["slices"]] == ["harmed", "fine", "tiny"]
    assert [each["suspect"] for each in found["slices"]] == [True, False, False]
    lacking = {each["value"]: each["further_rows"] for each in found["slices"]}
    assert lacking["fine"] == lacking["harmed"] == 0 < lacking["tiny"]
    words = Page(report.html(found)).text
    assert "group harmed : Accuracy -25." in words
    assert f"tiny needs {lacking['tiny']} more" in words


@pytest.mark.parametrize(
    ("states", "first"),
    [
        (("PASS", "PASS"), 1),  # what is against production says more
        (("PASS", "FAIL"), 1),
        (("FAIL", "FAIL"), 0),
        (("UNKNOWN", "PASS"), 0),
        (("UNKNOWN", "UNKNOWN"), 0),  # no number of rows would settle it
    ],
)
def test_the_headline_is_the_gate_that_decided(
    states: tuple[str, str], first: int
) -> None:
    """With the metric's title for its name."""
    gate = [
        {
            "state": state,
            "metric": "log_loss",
            "per": None,
            "on_unknown": "block",
            "against_production": bool(place),
            "further_rows": 10 * place or None,
            "sentence": f"{state}: log_loss is number {place}",
        }
        for place, state in enumerate(states)
    ]
    overall = next(s for s in ("FAIL", "UNKNOWN", "PASS") if s in states)
    titles = [{"name": "log_loss", "title": "Log loss"}]
    said = report.headline({"state": overall, "gates": gate, "metrics": titles})
    more = "; 1 more gate failed" if states == ("FAIL", "FAIL") else ""
    assert said == f"Log loss is number {first}{more}."


def test_the_same_record_is_the_same_report() -> None:
    """Byte for byte: no date, no random id."""
    assert written("first") == report.html(judged(False))


def test_a_gate_without_a_tolerance_is_cautioned_about() -> None:
    """Its guarantee breaks where production was chosen on the same rows."""
    cautions = {each["gate"]: each["caution"] for each in VARIANTS["paired"]["gates"]}
    assert cautions["accuracy >= production.accuracy - 0.05"] is None
    said = cautions["recall >= production.recall"]
    assert "chosen on these very rows" in said
    assert said in Page(written("paired")).text
    assert said in report.markdown(VARIANTS["paired"])
