"""`plan` as a user calls it: sizes that are those of the files, and a document with every promised key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.build.order import Order, settle
from edgellm.build.pipeline import make_artifact, make_base
from edgellm.build.planning import Question, plan
from edgellm.build.synth import synth
from edgellm.cli.main import cli
from edgellm.cli.plan import plan as plan_verb
from edgellm.errors import UsageError
from edgellm.inference.target import resolve
from edgellm.store.catalogue import load_recipe
from edgellm.store.work import WorkFolder, default_root
from quick_build import one_core
from small_recipes import with_shape

DEVICE = "h200"  # the one with the most memory
# All rules, types and widths of the recipe; fewer tokens and experts, which would only take time to write.
FEWER = {"vocab_size": 2048, "num_experts": 16, "num_local_experts": 8, "n_routed_experts": 16}
VARIANTS = [
    ("llm-jp-4-8b", None), ("llm-jp-4-8b", "edge-16gb"), ("llm-jp-4-32b-a3b", None), ("llm-jp-4-32b-a3b", "edge-32gb"),
    ("qwen3-swallow-30b-a3b", None), ("gpt-oss-20b", None), ("plamo-2-1b", None), ("plamo-2-1b", "edge-16gb"),
    ("plamo-3-nict-8b", None), ("sarashina2.2-3b", "edge-16gb"), ("tinyswallow-1.5b", None),
    ("tinyswallow-1.5b", "gpu-24gb"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_file_has_the_planned_size(name: str, variant: str | None, tmp_path: Path) -> None:
    recipe = with_shape(load_recipe(name), **FEWER)
    planned = plan(recipe, Question(variant=variant, layers=2), DEVICE)
    made = synth(recipe, tmp_path / "made.gguf", variant=variant, layers=2)
    assert planned.file_bytes == made.size_bytes
    assert (planned.parameters, planned.active_parameters) == (made.parameters, made.active_parameters)
    assert planned.file_bytes_excludes_vocabulary


def test_stock_mixtures_are_planned_too(tmp_path: Path) -> None:
    recipe = with_shape(load_recipe("llm-jp-4-32b-a3b"), **FEWER)
    planned = plan(recipe, Question(stock=True, layers=2), DEVICE)
    made = synth(recipe, tmp_path / "made.gguf", stock=True, layers=2)
    assert planned.file_bytes == made.size_bytes > plan(recipe, Question(layers=2), DEVICE).file_bytes


@pytest.mark.parametrize("type_name", ["F16", "Q8_0", "Q4_K_M", "Q2_K"])
def test_the_embedded_model_has_the_planned_size_with_its_vocabulary(type_name: str) -> None:
    recipe, target = load_recipe("tiny-ja"), resolve("tiny-ja")
    work = WorkFolder(default_root())
    order = settle(Order("tiny-ja", Path("unused"), type=type_name), recipe)
    with one_core():
        made = make_artifact(make_base(target, work), "gguf", order.type, order.tensor_types, order.calibration, work)
    planned = plan(recipe, Question(type_name), DEVICE)
    assert planned.file_bytes == made.artifact.stat().st_size
    assert not planned.file_bytes_excludes_vocabulary


def test_the_document_has_every_promised_key(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["plan", "tiny-ja", "--device", "raspberry-pi-5", "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    for promised in plan_verb.json_keys:
        found = document
        for part in promised.split("."):
            found = found[part]
        assert found is not None, promised


def test_people_are_told_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["plan", "llm-jp-4-8b", "--device", "rtx-4070-ti", "--context", "65536"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "8,590,200,832 parameters" in printed
    assert "bytes without its vocabulary" in printed
    assert "fits        no" in printed
    assert "tokens of context do" in printed
    assert "constants of geforce" in printed
    assert "edgellm serve BUNDLE-OF-llm-jp-4-8b --context" in printed


def test_this_machine_is_planned_by_its_ceilings(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["plan", "tiny-ja", "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    assert document["device"]["name"] == "here"
    assert document["fits"]
    assert document["predicted"]["decode_tokens_per_s"] > 0
    assert "measured" in document["predicted"]["how"]


def test_the_check_prints_every_published_speed_and_both_errors(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["plan", "--check"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "dgx-spark" in printed
    assert "recalled, not read at the source" in printed
    assert "not predicted: Jetson AGX Thor" in printed
    assert "decoding: median " in printed


def test_a_recipe_or_a_check_is_asked_for() -> None:
    for words in (["plan"], ["plan", "tiny-ja", "--check"]):
        with pytest.raises(UsageError, match="give a RECIPE to plan, or --check alone"):
            cli(words, standalone_mode=False)


def test_a_recipe_without_a_shape_cannot_be_planned() -> None:
    with pytest.raises(UsageError, match="tsuzumi-2-byow has no \\[shape\\]"):
        cli(["plan", "tsuzumi-2-byow", "--device", DEVICE], standalone_mode=False)
