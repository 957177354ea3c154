"""report.html as a reader meets it: opened by a real browser, on several screens and on paper."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from demo_results import MARKUP, hard_to_show
from edgellm.report.html import write_report
from opened_page import Opened, opened

SCREENS = {
    "phone": (390, "light"), "narrow phone": (320, "light"), "dark phone": (390, "dark"), "tablet": (820, "light"),
    "desktop": (1280, "light"), "dark desktop": (1280, "dark"),
}  # fmt: skip
PAPER = 672  # CSS pixels between the margins of A4
NUMBER = re.compile(r"([+-]?\d[\d,]*(?:\.(\d+))?)(?:×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?")
DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@pytest.fixture(scope="module", params=["demo", "hard to show"])
def report(request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    if request.param == "demo":
        folder, document, _ = request.getfixturevalue("demo")
    else:
        folder = tmp_path_factory.mktemp("hard-to-show")
        write_report(hard_to_show(), folder / "report.html")
        document = json.loads(hard_to_show().model_dump_json())
    return opened(browser, folder / "report.html", document)


def shown(text: str) -> list[tuple[float, float]]:
    """Each number of a text, with the worth of one unit in its last place."""
    found = []
    for digits, decimals, power in NUMBER.findall(text):
        factor = 10.0 ** int(power.translate(DIGITS) or 0)
        found.append((float(digits.replace(",", "")) * factor, factor * 10.0 ** -len(decimals)))
    return found


def says(text: str, values: list[float]) -> bool:
    """Whether a text shows just these numbers, in this order, each rounded to the last place shown."""
    numbers = shown(text)
    return len(numbers) == len(values) and all(
        abs(number - value) <= 0.5001 * place for (number, place), value in zip(numbers, values, strict=True)
    )


def ends(found: dict[str, float]) -> list[float]:
    return [found.get("value", found.get("median", 0.0)), found["low"], found["high"]]


def expected_cells(row: dict[str, Any]) -> dict[str, list[list[float]]]:
    """The numbers of one rung of the JSON, table by table and column by column."""
    fidelity, tests = row["fidelity"], {t["test"][:2]: t for t in row["bench"]["results"]}
    conditions, characters = row["bench"]["conditions"], tests["tg"]["characters_per_s"]
    measured = [conditions[name] for name in ("other_load_before", "clock_mhz_before", "free_memory_bytes_before")]
    units = (100, 1, 2**-30)
    return {
        "fidelity": [
            [row["mean_kld"], *ends(fidelity["mean_kld"])[1:]], ends(fidelity["p999_kld"]),
            [row["same_top_percent"], *ends(fidelity["same_top_percent"])[1:]], ends(fidelity["perplexity_ratio"]),
            [row["bits_per_byte"], *ends(fidelity["bits_per_byte"])[1:]],
        ],
        "speed": [
            [row["size_bytes"] / 1e6], [row["bits_per_weight"]],
            [row["decode_tokens_per_s"], *ends(tests["tg"]["tokens_per_s"])[1:]],
            [] if characters is None else [characters], ends(tests["pp"]["tokens_per_s"]),
        ],
        "conditions": [[], *([] if v is None else [v * u] for v, u in zip(measured, units, strict=True))],
    }  # fmt: skip


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_tables_show_every_number_of_the_json_in_its_place(report: Opened, language: str) -> None:
    tables = report.seen(language=language)["tables"]
    formats = report.document["formats"]
    for name in ("fidelity", "speed", "conditions"):
        assert len(tables[name]) == len(formats)
        for cells, row in zip(tables[name], formats, strict=True):
            assert cells[0].removesuffix("※") == row["type"]
            for text, values in zip(cells[1:], expected_cells(row)[name], strict=True):
                assert says(text, values), (name, row["type"], text, values)


def test_the_checks_and_the_steps_show_their_numbers(report: Opened) -> None:
    tables, document = report.seen()["tables"], report.document
    checks = document["verdict"]["checks"]
    for cells, check in zip(tables["checks"], checks, strict=True):
        for text, value in zip(cells[2:], (check["value"], check["limit"]), strict=True):
            assert says(text, [value]) if isinstance(value, float) else value is not None or text == "—"
    for (_, text), seconds in zip(tables["steps"], document["steps"].values(), strict=True):
        assert says(text, [seconds])


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_reply_and_the_counts_of_tokens_can_be_read(report: Opened, language: str) -> None:
    text, document = report.seen(language=language)["text"], report.document
    for said in (document["reply"], document["question"], document["reasoning"], document["bundle"]):
        assert said in text
    counts = [v for v in document["tokenization"].values() if isinstance(v, int)]
    assert len(counts) == 4
    assert {float(count) for count in counts} <= {number for number, _ in shown(text)}


def test_the_verdict_is_said_as_it_is(report: Opened) -> None:
    passed = report.document["verdict"]["passed"]
    assert ("不合格" in report.seen(language="ja")["text"]) is not passed
    assert ("failed" in report.seen(language="en")["text"]) is not passed


def test_nothing_but_the_file_is_asked_for_and_the_browser_has_no_complaint(report: Opened) -> None:
    report.page.reload()
    report.seen()
    assert set(report.requests) == {report.url}
    assert report.complaints == []


def test_no_markup_of_the_result_becomes_an_element(browser: Browser, tmp_path: Path) -> None:
    write_report(hard_to_show(), tmp_path / "report.html")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("script, img").count() == 0
    assert page.title().startswith("edgellm")
    assert page.inner_text(".reply").startswith(MARKUP)


def test_the_page_itself_forbids_what_is_not_in_the_file(browser: Browser, tmp_path: Path) -> None:
    slipped = '<img src="picture.png"><link rel="stylesheet" href="style.css"><script>document.title = "run"</script>'
    write_report(hard_to_show(), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.html").write_text(html.replace("</main>", slipped + "</main>"), encoding="utf-8")
    for name in ("picture.png", "style.css"):
        (tmp_path / name).write_bytes(b"")
    found = opened(browser, tmp_path / "report.html", {})
    assert len([c for c in found.complaints if "Content Security Policy" in c]) == 3
    assert found.page.title() != "run"


def readable(seen: Any, pixels: float) -> None:
    small = [t for t in seen["texts"] if t["pixels"] < (10 if t["svg"] else pixels)]
    faint = [t for t in seen["texts"] if t["contrast"] < 4.5]
    assert len(seen["texts"]) > 100
    assert small == []
    assert faint == []
    assert seen["outside"] == []


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_screen_shows_it_whole_and_legibly(report: Opened, screen: str, language: str) -> None:
    width, scheme = SCREENS[screen]
    seen = report.seen(width, scheme, language=language)
    assert seen["width"] <= width
    assert set(seen["cut"]) <= {"scroll"}
    readable(seen, 14)
    for box in seen["boxes"]:
        assert bool(box["hint"]) is box["scrolls"], box
        assert (box["role"], box["tab"]) == ("region", 0)
        assert box["name"]


@pytest.mark.parametrize("report", ["demo"], indirect=True)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_no_number_or_word_of_a_table_is_broken_over_lines(report: Opened, language: str) -> None:
    for width, scheme in SCREENS.values():
        assert report.seen(width, scheme, language=language)["broken"] == []


def test_paper_shows_it_whole_and_legibly_even_from_a_dark_screen(report: Opened) -> None:
    seen = report.seen(PAPER, "dark", "print")
    assert seen["width"] <= PAPER
    assert seen["cut"] == []
    assert not any(box["hint"] for box in seen["boxes"])
    readable(seen, 12)  # 9 pt
    assert report.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_one_language_is_shown_at_a_time_and_marked_as_such(report: Opened) -> None:
    visible = "e => e.checkVisibility()"
    for language, other in (("ja", "en"), ("en", "ja")):
        report.seen(390, language=language)  # where the scroll boxes' hints are shown, too
        own, hidden = report.page.locator(f".{language}"), report.page.locator(f".{other}")
        assert report.page.locator(f".{language}:not([lang={language}], svg *)").count() == 0
        assert own.count() > 40
        assert own.evaluate_all(f"all => all.every({visible})")
        assert not hidden.evaluate_all(f"all => all.some({visible})")


@pytest.mark.parametrize("report", ["demo"], indirect=True)
def test_the_english_page_leaves_no_sentence_in_japanese(report: Opened) -> None:
    texts = report.seen(language="en")["texts"]
    left = [t["text"] for t in texts if re.search(r"[ぁ-ヿ一-龥]", t["text"]) and not t["quoted"]]
    assert left == ["日本語"]  # the switch back


def test_the_keyboard_reaches_the_language_switch_and_scrolls_a_wide_table(report: Opened) -> None:
    report.seen(390, language="ja")
    page = report.page
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "show-ja"
    page.keyboard.press("ArrowRight")
    assert page.is_checked("#show-en")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.firstElementChild.id") == "fidelity"
    # Listened for, because the page's policy forbids the polling of wait_for_function.
    page.evaluate("() => { scrolled = new Promise(done => document.activeElement.addEventListener('scroll', done)) }")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("scrolled.then(() => document.activeElement.scrollLeft)") > 0


def test_headings_tables_and_figures_can_be_told_apart_without_seeing_them(report: Opened) -> None:
    seen = report.seen()
    levels = seen["headings"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert seen["headless"] == 0
    assert report.document["model"]["name"] in report.page.title()
    assert report.page.get_by_role("img", name="KLD").count() == 1
    assert report.page.get_by_role("img", name="Bits per weight").count() == 1
    assert report.page.get_by_role("table").count() == 5
