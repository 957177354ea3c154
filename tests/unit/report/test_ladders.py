"""A ladder in the report: every figure of its tables, the plot, the recommendation and the stock mixtures beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgellm.build.reporting import report_on
from edgellm.records.ladder import LadderResult
from edgellm.report.collected import entries_of
from edgellm.report.ladders import ladder_points
from edgellm.store.results import Saved, save
from ladder_results import ladder


def page(result: LadderResult, folder: Path) -> str:
    save(result, folder / "results" / "ladder.json")
    report_on([folder / "results"], folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(ladder(), tmp_path_factory.mktemp("report"))


def test_every_figure_of_the_tables_is_on_the_page_exactly(html: str) -> None:
    shown = {float(value) for value in re.findall(r'<data value="([^"]+)"', html)}
    result = ladder()
    wanted: set[float] = set()
    for row in result.rows:
        wanted |= {row.mean_kld.value, row.mean_kld.low, row.mean_kld.high, row.same_top_percent.value}
        wanted |= {row.bits_per_byte.value, row.decode_tokens_per_s or 0.0}
        wanted |= {found.mean_kld.value for found in row.by_kind.values()}
    wanted |= {row.mean_kld.value for row in result.stock}
    assert wanted <= shown


def test_the_recommended_type_stands_out_with_its_rule_and_what_fails_with_its_reason(html: str) -> None:
    assert '<th scope="row" class="chosen">Q4_K_M</th>' in html
    assert "the smallest file that keeps the gate" in html
    assert "mean KLD is 0.11, limit 0.02" in html
    assert "Q4_K_M is no larger than Q2_K" in html
    assert "english is not what it was made for" in html


def test_the_plot_has_our_types_and_the_stock_mixtures_that_differ() -> None:
    entries = entries_of([Saved(Path("ladder.json"), ladder())], Path("report.html"))
    names = [(name, chosen) for _, name, _, _, chosen in ladder_points(entries)]
    assert names == [("Q2_K", False), ("Q4_K_M", True), ("Q8_0", False), ("Q2_K†", False), ("Q4_K_M†", False)]


def test_kinds_are_named_in_both_languages(html: str) -> None:
    assert "文芸" in html
    assert "literary" in html


def test_a_ladder_without_stock_speeds_suites_and_kinds_is_shown_too(tmp_path: Path) -> None:
    result = ladder()
    bare = [row.model_copy(update={"by_kind": {}, "flips": None, "decode_tokens_per_s": None, "decode": None,
                                   "decode_valid": None, "scores": {}, "bits_per_character": None})
            for row in result.rows]  # fmt: skip
    base = result.base.model_copy(update={"scores": {}})
    html = page(result.model_copy(update={"rows": bare, "stock": [], "base": base, "recommended": None}), tmp_path)
    assert 'id="ladder-A"' in html
    assert 'id="ladder-stock-A"' not in html
    assert 'id="ladder-kinds-A"' not in html


def test_markup_in_a_ladder_stays_text(tmp_path: Path) -> None:
    assert "<script>" not in page(ladder(notes=["<script>alert(1)</script>"], rule="<script>"), tmp_path)
