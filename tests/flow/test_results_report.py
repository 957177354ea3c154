"""The reports on results and on claims as a reader meets them: in a real browser, on several screens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser

from bench_results import write_all
from demo_results import sample
from edgellm.build.reporting import report_on
from edgellm.store.results import save
from eval_results import evaluation, scores_around
from opened_page import Opened, opened

OVERLAPS = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const texts = [...svg.querySelectorAll("text")].filter(t => t.checkVisibility())
    .map(t => [t.textContent, t.getBoundingClientRect()]);
  return texts.flatMap(([a, p], i) => texts.slice(i + 1)
    .filter(([b, q]) => p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 4 && q.top < p.bottom - 4)
    .map(([b]) => `${a} | ${b}`));
})"""
SCREENS = {"phone": (390, "light"), "dark desktop": (1280, "dark"), "narrow phone": (320, "light")}
PAPER = 672


@pytest.fixture(scope="module", params=["results", "claims"])
def report(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("report")
    save(sample(), write_all(folder / "results"))
    for score, file_type in ((5.0, "Q8_0"), (4.2, "Q3_K_M")):
        save(evaluation(scores_around(score), file_type=file_type), folder / "results")
    report_on([folder / "results"], folder / "report.html", for_claims=request.param == "claims")
    found = opened(browser, folder / "report.html")
    yield found
    found.page.close()


def test_nothing_but_the_file_is_asked_for_and_the_browser_has_no_complaint(report: Opened) -> None:
    report.seen()
    assert set(report.requests) == {report.url}
    assert report.complaints == []


@pytest.mark.parametrize("report", ["results"], indirect=True)
def test_every_plot_has_all_its_points(report: Opened) -> None:
    counted = report.page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('svg')].map("
        "s => [s.getAttribute('aria-labelledby').split('-title')[0], s.querySelectorAll('circle').length]))"
    )
    # Five engine results: 2 + 2 + 3 + 3 + 1 decode tests and one of prompts each; a sweep of four steps, two
    # percentiles; eight types; two evaluations.
    assert counted == {
        "throughput-tg": 11, "throughput-pp": 5, "roofline": 11, "ttft-rate-per-s": 8, "size": 8, "scores-1": 2,
    }  # fmt: skip


@pytest.mark.parametrize("report", ["results"], indirect=True)
def test_the_roofline_lies_above_every_point(report: Opened) -> None:
    bounds = report.page.locator("svg[aria-labelledby^=roofline] line.bound")
    assert bounds.count() == 2  # a processor's and a GPU's


@pytest.mark.parametrize("report", ["claims"], indirect=True)
def test_every_case_of_a_ratio_is_in_a_plot(report: Opened) -> None:
    ratios = report.page.locator("svg[aria-labelledby^=claim-llmjp4-cost] circle")
    assert ratios.count() == 5 + 2  # decode: 2 on the processor, 3 on the GPU; prefill: one on each
    assert report.page.locator("svg[aria-labelledby^=claim-llmjp4-cost] circle.missed").count() > 0


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_screen_shows_it_whole_and_legibly(report: Opened, screen: str, language: str) -> None:
    width, scheme = SCREENS[screen]
    seen = report.seen(width, scheme, language=language)
    assert seen["width"] <= width
    assert set(seen["cut"]) <= {"scroll"}
    assert seen["outside"] == []
    assert [t for t in seen["texts"] if t["pixels"] < (10 if t["svg"] else 14)] == []
    assert [t for t in seen["texts"] if t["contrast"] < 4.5] == []
    assert report.page.evaluate(OVERLAPS) == []
    for box in seen["boxes"]:
        assert bool(box["hint"]) is box["scrolls"], box


def test_paper_shows_it_whole(report: Opened) -> None:
    seen = report.seen(PAPER, "dark", "print")
    assert seen["width"] <= PAPER
    assert seen["cut"] == []
    assert [t for t in seen["texts"] if t["contrast"] < 4.5] == []


def test_the_english_page_leaves_no_sentence_in_japanese(report: Opened) -> None:
    texts = report.seen(language="en")["texts"]
    left = [t["text"] for t in texts if re.search(r"[ぁ-ヿ]", t["text"]) and not t["quoted"]]
    assert left == []


def test_the_japanese_page_has_its_own_words_in_japanese(report: Opened) -> None:
    texts = report.seen(language="ja")["texts"]
    japanese = [t for t in texts if re.search(r"[ぁ-ヿ一-龥]", t["text"])]
    assert len(japanese) > 60
    sentences = re.compile(r"[a-z]{4,} [a-z]{2,} [a-z]{2,}")  # of English, as results hold them, marked as such
    own = [t["text"] for t in texts if t["lang"] == "ja" and not t["text"].startswith("edgellm ")]  # commands
    assert [text for text in own if sentences.search(text)] == []


def test_headings_and_tables_can_be_told_apart_without_seeing_them(report: Opened) -> None:
    seen = report.seen()
    levels = seen["headings"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert seen["headless"] == 0
