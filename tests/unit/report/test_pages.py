"""Reports on results and claims: every number of the files, invalid ones marked, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench_results import BUSY, GPU, dense, load_result, mixture, records, sweep_result, write_all
from demo_results import MARKUP, sample
from edgellm.build.reporting import report_on
from edgellm.errors import BadInput, UsageError
from edgellm.records.bench import EngineBench
from edgellm.report.collected import letter
from edgellm.store.results import load_all, save


def page(folder: Path, *, for_claims: bool = False) -> str:
    out = folder.parent / "report.html"
    report_on([folder], out, for_claims=for_claims)
    return out.read_text(encoding="utf-8")


def test_every_number_of_the_engine_results_is_on_the_page_exactly(tmp_path: Path) -> None:
    html = page(write_all(tmp_path / "results"))
    shown = {float(value) for value in re.findall(r'<data value="([^"]+)"', html)}
    found = [s.result for s in load_all(tmp_path / "results").results]
    rates = [t.tokens_per_s for r in found if isinstance(r, EngineBench) for t in r.results]
    assert len(rates) > 10
    assert {v for rate in rates for v in (rate.median, rate.low, rate.high)} <= shown


def test_a_result_that_is_not_valid_is_shown_and_marked_with_its_reason(tmp_path: Path) -> None:
    save(dense({1: 5.0}), tmp_path / "results")
    save(dense({1: 7.0}, reasons=[BUSY], created="2026-11-23T00:00:00Z"), tmp_path / "results")
    html = page(tmp_path / "results")
    assert BUSY in html
    assert '<th scope="row">B<sup>※</sup></th>' in html
    assert '<th scope="row">A</th>' in html
    assert "7.00" in html


def test_the_state_of_a_gpu_is_told(tmp_path: Path) -> None:
    save(dense({1: 150.0}, GPU), tmp_path / "results")
    assert f"{GPU}, 1755 MHz at the lowest, 1980 MHz at the highest, 64 °C, 700 W allowed" in page(tmp_path / "results")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    html = page(write_all(tmp_path / "results"))
    assert "notes.json" in html
    assert 'id="unreadable"' in html


@pytest.mark.parametrize("for_claims", [False, True])
def test_no_address_of_elsewhere_is_on_a_page(tmp_path: Path, for_claims: bool) -> None:
    html = page(write_all(tmp_path / "results"), for_claims=for_claims)
    assert not re.search(r'(src|href)="(https?:)?//|@import|url\(|<script|<img|<iframe', html)
    for link in re.findall(r'href="([^"#]+)"', html):
        assert (tmp_path / link.replace("%40", "@")).is_file()


def test_markup_in_a_result_stays_text(tmp_path: Path) -> None:
    hostile = dense({1: 5.0}, target=MARKUP, machine={"cpu": MARKUP, MARKUP: MARKUP}, conditions={"governor": MARKUP})
    assert hostile.model is not None
    hostile = hostile.model_copy(update={"model": hostile.model.model_copy(update={"name": MARKUP, "recipe": None})})
    save(hostile, tmp_path / "results")
    for for_claims in (False, True):
        html = page(tmp_path / "results", for_claims=for_claims)
        assert "<script>" not in html
        assert "<img" not in html


def test_each_kind_of_result_has_its_section_and_only_that(tmp_path: Path) -> None:
    save(sweep_result(), tmp_path / "load")
    html = page(tmp_path / "load")
    assert 'id="load"' in html
    assert 'id="engine"' not in html
    save(sample(), tmp_path / "demo")
    html = page(tmp_path / "demo")
    assert 'id="types"' in html
    assert 'id="load"' not in html


def test_a_load_without_answers_is_shown_with_dashes(tmp_path: Path) -> None:
    nothing = load_result([], ttft_ms=None, tpot_ms=None, output_tokens_per_s=None, goodput_per_s=None)
    save(nothing, tmp_path / "results")
    assert page(tmp_path / "results").count("<td>—</td>") >= 5


def test_the_claims_page_shows_status_and_value_of_every_case(tmp_path: Path) -> None:
    html = page(write_all(tmp_path / "results"), for_claims=True)
    assert html.count('class="status missed"') > 2
    assert html.count('class="status met"') > 5
    assert "llmjp4-cost" in html
    assert 'id="not-counted"' in html
    assert BUSY in html


def test_claims_without_any_result_are_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert page(tmp_path / "results", for_claims=True).count('class="status unmeasured"') > 10


def test_a_report_on_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(UsageError, match="holds no result"):
        page(tmp_path / "results")
    with pytest.raises(BadInput, match=r"none\.json"):
        report_on([tmp_path / "none.json"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_model_of_each_letter_is_told_beside_the_plots(tmp_path: Path) -> None:
    save(mixture({1: 12.0}), tmp_path / "results")
    letters = page(tmp_path / "results").partition('id="letters"')[2]
    assert "llm-jp-4-32b-a3b" in letters
    assert "18.25 GB" in letters


def test_letters_go_on_after_z() -> None:
    assert [letter(n) for n in (0, 25, 26, 27, 51, 52, 701, 702)] == ["A", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]


def test_one_record_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = save(load_result(records(5, 0.2, 0.03)), tmp_path / "one.json")
    assert report_on([path], tmp_path / "report.html") == 1
