"""The report shows the record's numbers, to everyone, and lets nothing in."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from interlock.config import Evaluation, Gate
from interlock.evaluation import gates, record, report
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


def judged(production: bool = True, column: str = "group") -> tuple[Any, Counts]:
    """A record and its counts, on rows whose slices have hostile names."""
    chance = np.random.default_rng(2)
    labels = chance.random(3000) < 0.3
    scores = np.clip(0.5 * labels + 0.6 * chance.random(3000), 0, 1)
    other = np.clip(scores + chance.normal(0, 0.05, 3000), 0, 1)
    slices = {column: pa.array(chance.choice(EVIL, 3000))}
    given: dict[Any, Any] = {"candidate": scores}
    given |= {"production": other} if production else {}
    expects = "accuracy >= 0.8", f"accuracy >= 0.5 per {column}"
    gate = tuple(map(Gate, (*expects, "accuracy >= production.accuracy - 0.05")))
    settings = Evaluation("<b>data</b>", "label", gate, slices=(column,))
    counts = fold(Batch(labels, given, slices), plan(settings))
    conditions = [gates.parse(each, settings) for each in gate]
    verdicts = gates.judge(conditions, counts, settings)
    facts = record.Facts("<i>@1", "<u>@0" if production else None, "d" * 64)
    return record.metrics(facts, counts, verdicts, settings, "p" * 64, 1.0), counts


class Page(HTMLParser):
    """The elements and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module", params=[True, False], ids=["paired", "first"])
def page(request: pytest.FixtureRequest) -> Page:
    """A report with production and one without."""
    return Page(report.html(*judged(request.param)))


def test_names_and_values_cannot_enter_as_html(page: Page) -> None:
    """Not in the text, not in the plots, not in an attribute."""
    tags = {name for name, _ in page.found}
    assert not tags & {"script", "img", "i", "u", "iframe", "object", "link"}
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on")]
    words = "".join(page.words)
    for value in EVIL[:3]:
        assert words.count(value) >= 2  # in a table and in a plot


def test_a_column_with_a_hostile_name_is_harmless() -> None:
    """As a heading, a title and a label."""
    found = Page(report.html(*judged(column='"><script>x</script>')))
    assert not found.all("script")


def test_nothing_is_fetched(page: Page) -> None:
    """Neither an address nor an import, but places within the page."""
    for _, attributes in page.found:
        for name, value in attributes.items():
            if name in ("href", "xlink:href", "src"):
                assert value and value.startswith("#")
    style = "".join(page.words)
    assert "@import" not in style and "url(http" not in style


def test_every_plot_has_a_text_alternative(page: Page) -> None:
    """With numbers in it; and no id is used twice in the page."""
    plots = [each for each in page.all("svg")]
    assert len(plots) == 4
    for plot in plots:
        assert plot["role"] == "img"
        assert re.search(r"\d", plot["aria-label"] or "")
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_place_that_a_plot_refers_to_exists(page: Page) -> None:
    """Markers and clips keep working under their new ids."""
    ids = {attributes.get("id") for _, attributes in page.found}
    used = {
        place
        for _, attributes in page.found
        for value in attributes.values()
        for place in re.findall(r"(?:^|url\()#([\w-]+)", value or "")
    }
    assert used and used <= ids


def test_plots_take_the_pages_colours(page: Page) -> None:
    """Text and axes follow dark and light."""
    styles = [attributes.get("style") or "" for _, attributes in page.found]
    assert any("currentColor" in style for style in styles)
    assert any("var(--candidate)" in style for style in styles)
    assert not [style for style in styles if re.search("#00000[0-9]", style)]


def test_tables_can_be_read_aloud(page: Page) -> None:
    """Each has a caption, and every heading cell says what it heads."""
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


@pytest.mark.parametrize("paired", [True, False])
def test_the_numbers_are_the_records(paired: bool) -> None:
    """Every gate, metric and slice, as the record has them."""
    metrics, counts = judged(paired)
    words = re.sub(r"\s+", " ", " ".join(Page(report.html(metrics, counts)).words))
    for gate in metrics["gates"]:
        assert re.sub(r"\s+", " ", gate["sentence"]) in words
    roles = ("candidate", "production") if paired else ("candidate",)
    for role in roles:
        for each in metrics["metrics"]:
            number = metrics["whole"][role][each["name"]]
            assert report.score(number, each["share"]) in words
    for each in metrics["slices"]:
        if paired:
            assert report.span(each["pair"], "+") in words
        assert report.span(each["candidate"]) in words
    assert metrics["data"]["sha256"] in words


def test_slices_are_sorted_from_the_worst(page: Page) -> None:
    """By the difference from production, or by accuracy where there is none."""
    for paired, key in ((True, "pair"), (False, "candidate")):
        values = [each[key]["value"] for each in judged(paired)[0]["slices"]]
        assert values == sorted(values)


def test_the_summary_is_inert_markdown() -> None:
    """A cell is a cell, whatever is in it."""
    text = report.markdown(judged()[0])
    assert "<" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3, 4}
    assert "[d](" not in text


def test_the_same_record_is_the_same_report() -> None:
    """Byte for byte: no date, no random id."""
    assert report.html(*judged()) == report.html(*judged())
