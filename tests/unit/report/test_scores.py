"""Evaluations in a report: each group that may be compared in a table of its own, with every figure."""

from __future__ import annotations

import re
from pathlib import Path

from edgellm.build.reporting import report_on
from edgellm.store.results import save
from eval_results import JUDGE, evaluation, scores_around


def page(folder: Path) -> str:
    out = folder.parent / "report.html"
    report_on([folder], out)
    return out.read_text(encoding="utf-8")


def test_every_score_and_its_interval_are_on_the_page_exactly(tmp_path: Path) -> None:
    made = evaluation(scores_around(5.0), measures={"mean_answer_characters": 123.25})
    save(made, tmp_path / "results")
    html = page(tmp_path / "results")
    shown = {float(value) for value in re.findall(r'<data value="([^"]+)"', html)}
    assert made.score is not None
    scores = [made.score, *made.categories.values()]
    assert {v for score in scores for v in (score.mean, score.low, score.high)} <= shown
    assert 123.25 in shown
    assert "judge-8b" in html
    assert "<svg" not in html  # one score is no picture


def test_scores_that_may_be_compared_share_a_table_and_a_plot_and_others_do_not(tmp_path: Path) -> None:
    for shift, file_type in ((0.0, "Q8_0"), (-0.5, "Q4_K_M")):
        save(evaluation(scores_around(5.0, shift=shift), file_type=file_type), tmp_path / "results")
    other = JUDGE.model_copy(update={"name": "gpt-4"})
    save(evaluation(scores_around(7.0), judge=other), tmp_path / "results")
    html = page(tmp_path / "results")
    assert sorted(re.findall(r'<table class="ladder" id="(scores-\d)-table"', html)) == ["scores-1", "scores-2"]
    assert html.count("<svg") == 1
    assert len(re.findall(r'<circle [^>]*class="point', html)) == 2


def test_a_result_that_does_not_hold_is_marked_with_its_reason(tmp_path: Path) -> None:
    save(evaluation({"q": (None, None)}), tmp_path / "results")
    html = page(tmp_path / "results")
    assert "nothing could be scored" in html
    assert re.search(r"<th scope=\"row\">A llm-jp-4-8b-Q4_K_M<sup>※</sup></th>\s*<td>—</td>", html)


def test_words_of_a_file_are_no_markup(tmp_path: Path) -> None:
    bad = evaluation(scores_around(5.0), suite="<script>a</script>", notes=("<b>note</b>",))
    save(bad, tmp_path / "results")
    html = page(tmp_path / "results")
    assert "<script" not in html
    assert "<b>note" not in html
