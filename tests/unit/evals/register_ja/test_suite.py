"""The suite `register`: our forty prompts, and the share of answers without a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.evals.journal import Journal
from edgellm.evals.local_model import LocalModel
from edgellm.evals.model import Model, Reply
from edgellm.evals.options import SuiteOptions
from edgellm.evals.register_ja.faults import DETECTORS
from edgellm.evals.register_ja.suite import RegisterJa, own_prompts
from edgellm.evals.run import Outcome, Run
from edgellm.inference.target import Target
from edgellm.store.catalogue import TEXTS, read_documents
from scripted_model import Heard, ScriptedModel
from tiny_checkpoints import TINY_JA

POLITE, PLAIN = (read_documents(TEXTS / "calibration" / f"{name}.txt")[0] for name in ("administration", "technical"))


def run(model: Model, folder: Path, limit: int | None = None) -> Outcome:
    journal = Journal(folder / "journal.jsonl", "run")
    try:
        return RegisterJa(SuiteOptions()).run(Run(model, journal, limit=limit))
    finally:
        journal.close()


def good(heard: Heard) -> str:
    """Real Japanese of the style and about the length that is asked for."""
    asked = next(one for one in own_prompts() if one.prompt == heard.text)
    text = PLAIN if asked.style == "plain" else POLITE
    return text[: asked.max_characters].rsplit("。", 1)[0] + "。"


def test_our_prompts_are_forty_different_ones_of_many_registers() -> None:
    prompts = own_prompts()
    assert len(prompts) == len({one.prompt for one in prompts}) == len({one.id for one in prompts}) == 40
    assert len({one.category for one in prompts}) == 8
    for one in prompts:
        assert one.style in ("polite", "plain", None)
        assert one.min_characters < one.max_characters
        if one.style == "polite":
            assert "です・ます調" in one.prompt or "丁寧" in one.prompt
        if one.style == "plain":
            assert "である調" in one.prompt


def test_whole_answers_have_no_fault_and_broken_ones_are_named(tmp_path: Path) -> None:
    def say(heard: Heard) -> str:
        answer = good(heard)
        return answer[:60] + "这" + answer[60:] if heard.text == own_prompts()[2].prompt else answer

    found = run(ScriptedModel(say), tmp_path)
    assert found.score is not None
    assert found.score.mean == pytest.approx(39 / 40), [r.reason for r in found.records if r.reason]
    assert found.records[2].detail["faults"] == {"chinese": ["这"]}
    assert found.measures["chinese_percent"] == pytest.approx(2.5)
    assert found.measures["korean_percent"] == found.measures["korean_percent_high"] == 0


def test_every_detector_is_a_measure_with_an_interval(tmp_path: Path) -> None:
    measures = run(ScriptedModel(good), tmp_path, limit=6).measures
    for name in DETECTORS:
        low, value, high = (measures[f"{name}_percent{end}"] for end in ("_low", "", "_high"))
        assert low <= value <= high
    assert measures["mean_japanese_share_low"] <= measures["mean_japanese_share_high"] <= 1


def test_silence_and_refusals_are_counted_apart_and_are_not_without_fault(tmp_path: Path) -> None:
    said = iter(["", "申し訳ありませんが、お答えできません。", Reply("これから述べます", finish_reason="length")])
    found = run(ScriptedModel(lambda heard: next(said)), tmp_path, limit=3)
    assert [record.status for record in found.records] == ["empty", "refused", "ok"]
    assert [record.score for record in found.records] == [0, 0, 0]
    assert found.measures["cut_at_limit_percent"] == 100
    assert found.measures["wrong_length_percent"] == 100


def test_a_model_that_says_nothing_at_all_has_a_score_of_nothing(tmp_path: Path) -> None:
    found = run(ScriptedModel(lambda heard: ""), tmp_path, limit=2)
    assert found.score is not None
    assert (found.score.mean, found.measures) == (0.0, {})


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="--mode means nothing to the suite register"):
        RegisterJa(SuiteOptions(mode="likelihood"))


def test_the_real_model_is_measured(tmp_path: Path, tiny_ja_f16: Path) -> None:
    target = Target("tiny-ja", "gguf", tiny_ja_f16, "gguf", tiny_ja_f16, TINY_JA)
    with LocalModel(target, RuntimeOptions(context_tokens=160)) as model:  # a small model does not stop by itself
        found = run(model, tmp_path, limit=2)
    assert [record.id for record in found.records] == ["letter-01", "letter-02"]
    assert all(record.answer for record in found.records)
    assert 0.5 < found.measures["mean_japanese_share"] <= 1
