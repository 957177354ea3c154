"""The report says what the result holds, stands alone, and lets nothing of the result act as markup."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from demo_results import sample
from edgellm.records.results import DemoResult, FormatRow, Verdict
from edgellm.records.statistics import Interval
from edgellm.report.html import render, write_report

VOID = {"meta", "wbr", "link", "br", "img", "input", "hr"}
DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


class Page(HTMLParser):
    """What a reader's browser would see: elements in order, text, and each `<data>` with its value."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[tuple[str, str]] = []  # (exact value, text)
        self.text = ""
        self.rows: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.data.append((dict(attrs)["value"] or "", ""))
        if tag == "tr":
            self.rows.append("")
        if tag in ("td", "th"):
            self.rows[-1] += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> out of place"

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] == "data":
            value, before = self.data[-1]
            self.data[-1] = (value, before + text)
        if "style" not in self.open:
            self.text += text
        if "tr" in self.open:
            self.rows[-1] += text

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


@pytest.fixture(scope="module")
def result() -> DemoResult:
    return sample()


@pytest.fixture(scope="module")
def page(result: DemoResult) -> Page:
    return Page(render(result))


def ends(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def numbers_of(row: FormatRow) -> list[float]:
    """Every number that the report promises to show of one rung."""
    found: list[float] = [
        row.size_bytes,
        row.bits_per_weight,
        row.mean_kld,
        row.same_top_percent,
        row.bits_per_byte,
    ]
    found += [row.decode_tokens_per_s, *ends(row.fidelity.mean_kld), *ends(row.fidelity.p999_kld)]
    found += [*ends(row.fidelity.same_top_percent), *ends(row.fidelity.perplexity_ratio)]
    found += ends(row.fidelity.bits_per_byte)
    for test in row.bench.results:
        found += [test.tokens_per_s.median, test.tokens_per_s.low, test.tokens_per_s.high]
        if test.test.startswith("tg"):
            assert test.characters_per_s is not None
            found.append(test.characters_per_s)
    return found


def test_every_number_of_the_ladder_is_on_the_page_exactly(result: DemoResult, page: Page) -> None:
    # Through JSON and back, since the page is to agree with the file that lies beside it.
    stored = DemoResult.model_validate_json(result.model_dump_json())
    shown = {float(value) for value, _ in page.data}
    for row in stored.formats:
        missing = [n for n in numbers_of(row) if n not in shown]
        assert missing == [], row.type


def test_the_other_numbers_of_the_result_are_on_the_page_exactly(result: DemoResult, page: Page) -> None:
    shown = {float(value) for value, _ in page.data}
    tokenization = [v for v in result.tokenization.values() if isinstance(v, int)]
    facts = [v for v in [*result.model.values(), *result.machine.values()] if isinstance(v, int)]
    limits = [v for c in result.verdict.checks for v in (c.value, c.limit) if isinstance(v, float)]
    for wanted in (tokenization, facts, limits, list(result.steps.values()), [result.elapsed_s]):
        assert len(wanted) > 0
        assert [n for n in wanted if float(n) not in shown] == []


def test_every_shown_text_is_its_exact_value_rounded(page: Page) -> None:
    assert len(page.data) > 150
    for value, text in page.data:
        plain = text.replace(",", "")
        mantissa, _, power = plain.partition("×10")
        factor = 10.0 ** int(power.translate(DIGITS) or 0)
        last_place = factor * 10.0 ** -len(mantissa.partition(".")[2])
        # Sizes are shown in MB or GiB of a value in bytes.
        candidates = [float(value) / unit for unit in (1, 1e6, 2**30)]
        assert any(abs(float(mantissa) * factor - c) <= 0.5001 * last_place for c in candidates), (
            value,
            text,
        )


def test_the_numbers_of_a_rung_stand_in_its_own_row(result: DemoResult, page: Page) -> None:
    rows = [r for r in page.rows if r.split()[0] == "Q6_K"]
    assert any("0.00215" in r and "97.1" in r and "1.0019" in r for r in rows)
    assert any("5.90" in r and "6.57" in r and "431" in r and "1,980" in r for r in rows)


def test_the_page_asks_for_nothing_from_outside(result: DemoResult) -> None:
    html = render(result)
    assert not re.search(r"https?:|//|@import|url\(|<script|<link|<iframe|<img|<object", html, re.IGNORECASE)
    page = Page(html)
    for name in ("src", "href", "srcset", "xlink:href", "action", "poster", "data"):
        assert page.attributes(name) == []


def test_markup_in_a_reply_stays_text() -> None:
    hostile = '</dd><script>alert("1")</script><img src=x onerror=alert(2)> & "quoted" {{ 7 * 7 }} &lt;b&gt;'
    page = Page(render(sample(reply=hostile, reasoning=hostile, question=hostile)))
    assert page.text.count(hostile) == 3
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert page.attributes("onerror") == []


def test_markup_anywhere_else_in_the_result_stays_text() -> None:
    hostile = '"><script>alert(1)</script>'
    clean = sample()
    row = clean.formats[0]
    bench = row.bench.model_copy(update={"valid": False, "reasons": [hostile]})
    tokenization = clean.tokenization | {
        "example": hostile,
        "example_exact": [hostile],
        "example_engine": [hostile],
    }
    check = clean.verdict.checks[0].model_copy(update={"name": hostile, "value": hostile, "detail": hostile})
    page = Page(render(sample(
        bundle=hostile, created=hostile, model={"name": hostile, hostile: hostile},
        machine={hostile: hostile}, versions={hostile: hostile}, steps={hostile: 1.0},
        tokenization=tokenization, verdict=Verdict(passed=True, checks=[check]),
        formats=[row.model_copy(update={"type": hostile, "bench": bench})],
    )))  # fmt: skip
    assert page.text.count(hostile) >= 15
    assert "script" not in {tag for tag, _ in page.tags}


def test_an_invalid_speed_is_marked_and_its_reason_shown(page: Page) -> None:
    assert "other programs kept 61% of the processor busy before the run (bound 25%)" in page.text
    assert sum("Q3_K_M※" in row for row in page.rows) == 2  # beside its speed and its conditions
    assert not any("Q4_K_M※" in row for row in page.rows)
    assert "indicative only" in page.text


def test_the_engine_build_is_named_once(page: Page) -> None:
    assert page.text.count("llama.cpp b1") == 1


def test_valid_speeds_are_said_to_be_valid() -> None:
    rows = [row for row in sample().formats if row.bench.valid]
    text = Page(render(sample(formats=rows))).text
    assert "どの型も測定条件を満たした状態で測りました" in text
    assert "※" not in text


def test_a_failed_check_is_shown_as_failed() -> None:
    clean = sample()
    failed = clean.verdict.checks[-1].model_copy(update={"passed": False})
    text = Page(render(sample(verdict=Verdict(passed=False, checks=[failed])))).text
    assert text.count("不合格") == 2  # the verdict and its one check
    assert "合格 passed" not in text


def test_a_check_or_step_without_a_japanese_name_keeps_its_own() -> None:
    check = sample().verdict.checks[0].model_copy(update={"name": "expert coverage"})
    page = Page(render(sample(verdict=Verdict(passed=True, checks=[check]), steps={"prune": 2.5})))
    assert "expert coverage" in page.text
    assert any(row.split() == ["prune", "2.50"] for row in page.rows)


def test_the_report_renders_with_every_optional_part_empty() -> None:
    empty = sample(
        formats=[], tokenization={}, model={}, machine={}, verdict=Verdict(passed=True, checks=[]), steps={},
        versions={}, reply="", reasoning="",
    )  # fmt: skip
    text = Page(render(empty)).text
    for sentence in ("測定した型はありません", "この実行では比較していません", "検証項目の記録はありません"):
        assert sentence in text


def test_a_rung_without_characters_or_prompt_speed_shows_a_dash() -> None:
    row = sample().formats[0]
    decode = row.bench.results[1].model_copy(update={"characters_per_s": None})
    bench = row.bench.model_copy(update={"results": [decode], "conditions": {}})
    page = Page(render(sample(formats=[row.model_copy(update={"bench": bench})])))
    speeds = next(r for r in page.rows if "13.87" in r)
    assert speeds.count("—") == 2


def test_a_tokenization_that_lacks_a_promised_key_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="exact_tokens"):
        render(sample(tokenization={"lines": 3, "lines_differing": 1}))


def test_both_languages_are_marked_as_such(page: Page) -> None:
    assert page.tags[0] == ("html", {"lang": "ja"})
    english = [attrs for _, attrs in page.tags if attrs.get("lang") == "en"]
    assert len(english) > 40
    headings = [tag for tag, _ in page.tags if tag == "h2"]
    assert len(headings) == 10


def test_each_figure_has_a_title_and_a_description(page: Page) -> None:
    labels = [attrs["aria-labelledby"] for tag, attrs in page.tags if tag == "svg"]
    ids = [attrs["id"] for tag, attrs in page.tags if tag in ("title", "desc") and "id" in attrs]
    assert len(labels) == 2
    assert [name for label in labels for name in (label or "").split()] == ids


def test_no_two_elements_have_the_same_id(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids)) > 4


def test_written_file_is_utf8_and_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(sample(), path)
    assert path.read_text(encoding="utf-8") == render(sample())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_result_that_cannot_be_rendered_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        write_report(sample(tokenization={"lines": 1}), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_not_finite_is_shown_as_it_is() -> None:
    row = sample().formats[0].model_copy(update={"mean_kld": math.nan})
    page = Page(render(sample(formats=[row])))
    assert ("nan", "nan") in page.data
