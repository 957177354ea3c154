"""The suite `long-ja`: lengths by the model's own tokens, scores by number, refusal of what does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgellm.errors import UsageError
from edgellm.evals.journal import Journal
from edgellm.evals.local_model import LocalModel
from edgellm.evals.long_ja.suite import LongJa
from edgellm.evals.model import Model
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from scripted_model import Heard, ScriptedModel


def run(suite: LongJa, model: Model, folder: Path, limit: int | None = None) -> Outcome:
    journal = Journal(folder / "journal.jsonl", "run")
    try:
        return suite.run(Run(model, journal, concurrency=2, limit=limit))
    finally:
        journal.close()


def knows_single(heard: Heard) -> str:
    """Finds a number that stands alone in its kind, and says so of everything else."""
    store = re.search(r"【質問】\n(\S+?)を開けるための暗証番号", heard.text)
    found = re.search(rf"{store[1]}を開けるための暗証番号は(\d+)である", heard.text) if store else None
    return f"{found[1]}です。" if found else "文書には書かれていません。"


@dataclass
class Counting(ScriptedModel):
    """A model of this process, with a tokenizer of one token for two characters."""

    def count_tokens(self, text: str) -> int:
        return (len(text) + 1) // 2

    def context_tokens(self) -> int:
        return 2048


def test_scores_are_by_task_length_and_depth(tmp_path: Path) -> None:
    found = run(LongJa(SuiteOptions(lengths=(1024, 1536))), ScriptedModel(knows_single), tmp_path)
    assert found.items == 36
    assert found.score is not None
    assert found.score.mean == pytest.approx(20 / 36)
    assert {name: score.mean for name, score in found.categories.items()} == pytest.approx(
        {"single": 1, "similar": 1, "combined": 0, "count": 0, "sum": 0, "latest": 0, "1024 tokens": 10 / 18,
         "1536 tokens": 10 / 18}
    )  # fmt: skip
    assert found.measures["accuracy_at_depth_50_percent"] == pytest.approx(2 / 3)


def test_behind_a_url_lengths_are_characters_and_the_ratio_is_told(tmp_path: Path) -> None:
    found = run(LongJa(SuiteOptions(lengths=(1024,))), ScriptedModel(knows_single), tmp_path, limit=2)
    assert "characters, at 1 a token" in found.notes[0]
    assert found.measures["characters_per_token"] == 1


def test_lengths_are_measured_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    model = Counting(knows_single)
    found = run(LongJa(SuiteOptions(lengths=(2048,))), model, tmp_path, limit=3)
    assert "the model's own tokenizer" in found.notes[0]
    assert all(3300 < len(heard.text) <= 2 * (2048 - 256) for heard in model.heard)


def test_a_length_beyond_the_context_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    model = Counting(knows_single)
    with pytest.raises(UsageError, match="context is 2,048 tokens and 4,096 were asked"):
        run(LongJa(SuiteOptions(lengths=(1024, 4096))), model, tmp_path)
    assert not model.heard


def test_models_with_other_tokenizers_have_other_items(tmp_path: Path) -> None:
    digests = []
    for name, kind in (("a", ScriptedModel), ("b", Counting), ("c", Counting)):
        suite = LongJa(SuiteOptions(lengths=(1024,)))
        (tmp_path / name).mkdir()
        run(suite, kind(knows_single), tmp_path / name, limit=4)
        digests.append(suite.digests()[0])
    assert digests[0] != digests[1] == digests[2]


def test_a_run_that_was_killed_asks_nothing_twice(tmp_path: Path) -> None:
    model = ScriptedModel(knows_single)
    run(LongJa(SuiteOptions(lengths=(1024,))), model, tmp_path, limit=5)
    run(LongJa(SuiteOptions(lengths=(1024,))), model, tmp_path)
    assert len(model.heard) == 18


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="--lengths 100 is too short"):
        LongJa(SuiteOptions(lengths=(100,)))
    with pytest.raises(UsageError, match="--shots means nothing to the suite long-ja"):
        LongJa(SuiteOptions(shots=1))


def test_the_real_model_is_asked_within_its_context(tmp_path: Path, tiny_ja_model: LocalModel) -> None:
    context = tiny_ja_model.context_tokens()
    found = run(LongJa(SuiteOptions(lengths=(context,))), tiny_ja_model, tmp_path, limit=1)
    (record,) = found.records
    assert record.prompt_tokens is not None
    assert 0.7 * context < record.prompt_tokens < context
    with pytest.raises(UsageError, match="leave these out or give a larger --context"):
        run(LongJa(SuiteOptions(lengths=(context + 1,))), tiny_ja_model, tmp_path)
