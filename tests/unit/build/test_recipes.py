"""What `quantize RECIPE` with its options comes to, and where a recipe's weights come from."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgellm.build.family_rules import without_overruled
from edgellm.build.order import Order, settle
from edgellm.build.recipes import config_of
from edgellm.build.sources import source_of
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.quantize import quantize
from edgellm.errors import BadRecipe, NetworkNeeded, UsageError
from edgellm.inference.target import resolve
from edgellm.stages import Report
from edgellm.stages.coverage import CoverageRule
from edgellm.store import catalogue
from tiny_checkpoints import random_llama

RECIPE = """
name = "mine"
title = "mine"
{top}

[source]
checkpoint = "{place}"
licence = "MIT"
family = "llama"
{source}

[quantization]
type = "Q4_K_M"

[[quantization.rules]]
pattern = 'ffn_down'
type = "Q6_K"
reason = "measured"

[[quantization.rules]]
pattern = 'attn_v'
type = "F16"
reason = "bears nothing"

[quantization.tensor_types]
attn_k = "Q8_0"

[variants.small]
device = "phone-8gb"
type = "Q3_K_M"
reason = "small"

[[variants.small.rules]]
pattern = 'ffn_down'
type = "Q4_K"
reason = "small"
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def writer(place: str = "hub:maker/model", source: str = "", top: str = "") -> str:
        path = tmp_path / "mine.toml"
        path.write_text(RECIPE.format(place=place, source=source, top=top), encoding="utf-8")
        return str(path)

    return writer


def cached(tmp_path: Path, repository: str, revision: str) -> Path:
    folder = tmp_path / "hub-home" / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    convert(
        random_llama(folder / "checkpoint", layers=1, hidden=64, heads=2, kv_heads=1, ffn=64), folder / "m.gguf", "F16"
    )
    return folder / "m.gguf"


@dataclass
class Recorder:
    notes: list[str] = field(default_factory=list)

    def work(self, label: str) -> AbstractContextManager[Report]:
        pytest.fail(f"{label} takes no work")

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_rules_and_types_without_reasons_hold_together(write, tmp_path: Path) -> None:
    plan = settle(Order("x", tmp_path), catalogue.load_recipe(write()))
    assert plan.type == "Q4_K_M"
    assert list(plan.tensor_types.items()) == [("ffn_down", "Q6_K"), ("attn_v", "F16"), ("attn_k", "Q8_0")]


def test_a_variant_has_its_type_and_its_rules_come_first(write, tmp_path: Path) -> None:
    plan = settle(Order("x", tmp_path, variant="small"), catalogue.load_recipe(write()))
    assert plan.type == "Q3_K_M"
    assert plan.tensor_types == {"ffn_down": "Q4_K", "attn_v": "F16", "attn_k": "Q8_0"}


def test_under_another_type_only_rules_against_quantization_hold(write, tmp_path: Path) -> None:
    plan = settle(Order("x", tmp_path, type="Q8_0"), catalogue.load_recipe(write()))
    assert plan.tensor_types == {"attn_v": "F16", "attn_k": "Q8_0"}


def test_types_that_are_asked_for_come_before_the_recipe_s(write, tmp_path: Path) -> None:
    order = Order("x", tmp_path, tensor_types={"attn_k": "Q4_K", "blk.0": "Q8_0"})
    plan = settle(order, catalogue.load_recipe(write()))
    assert list(plan.tensor_types.items()) == [
        ("attn_k", "Q4_K"), ("blk.0", "Q8_0"), ("ffn_down", "Q6_K"), ("attn_v", "F16")
    ]  # fmt: skip


def test_rules_that_an_asked_one_overrules_are_dropped_and_slips_stay(gguf: Path) -> None:
    rules = {"blk.*ffn": "Q8_0", "typo": "Q8_0", "ffn_down": "Q6_K", "attn_v": "F16", "slip": "Q8_0"}
    asked = {pattern: rules[pattern] for pattern in ("blk.*ffn", "typo")}
    assert list(without_overruled(gguf, asked, rules)) == ["blk.*ffn", "typo", "attn_v", "slip"]
    assert without_overruled(gguf, {}, rules) == rules


def test_a_float_type_with_float_rules_is_not_calibrated(write, tmp_path: Path) -> None:
    recipe = catalogue.load_recipe("sarashina2.2-3b")
    plan = settle(Order("x", tmp_path, type="BF16"), recipe)
    assert (plan.calibration, set(plan.tensor_types.values())) == ("none", {"F32"})
    with pytest.raises(UsageError, match="BF16 is not quantized, so it takes no --calibration"):
        settle(Order("x", tmp_path, type="BF16", calibration="self"), recipe)
    assert settle(Order("x", tmp_path, type="BF16", tensor_types={"ffn": "Q8_0"}), recipe).calibration == "shipped"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"variant": "small", "target_size": "4GB"}, "--variant and --target-size each decide the types"),
        ({"variant": "small", "target_bpw": 4.5}, "--variant and --target-bpw each"),
        ({"variant": "small", "fit": "phone-8gb"}, "--variant and --fit each"),
        ({"context": 8192}, "give --fit too, or leave --context out"),
        ({"format": "onnx", "allow_fallback": True}, "takes no --allow-fallback"),
        ({"format": "onnx", "coverage": CoverageRule(required=0.5)}, "or --context; leave them out"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(write, asked: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        settle(Order("x", tmp_path, **asked), catalogue.load_recipe(write()))


def test_a_context_is_of_4096_tokens_unless_it_is_named(write, tmp_path: Path) -> None:
    recipe = catalogue.load_recipe(write())
    for asked, found in ((None, 4096), (8192, 8192)):
        goal = settle(Order("x", tmp_path, fit="phone-8gb", context=asked), recipe).goal
        assert goal is not None
        assert goal.context_tokens == found


def test_an_embedded_model_that_there_is_not_is_named(write) -> None:
    with pytest.raises(BadRecipe, match=r"'embedded:nope', and no such model is embedded; write embedded:tiny-ja"):
        config_of(catalogue.load_recipe(write("embedded:nope")))


def test_a_variant_and_a_type_contradict_each_other(write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"leave out --variant or --type"):
        settle(Order("x", tmp_path, variant="small", type="Q8_0"), catalogue.load_recipe(write()))


def test_an_unknown_variant_lists_the_known_ones(write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no variant 'big'; it has small"):
        settle(Order("x", tmp_path, variant="big"), catalogue.load_recipe(write()))


def test_weights_that_are_not_here_need_the_network(write) -> None:
    name = write(source='revision = "abc"')
    with pytest.raises(NetworkNeeded, match=r"maker/model at abc, which is not in .*--checkpoint FOLDER") as caught:
        source_of(resolve(name), catalogue.load_recipe(name))
    assert caught.value.exit_code == 4


def test_a_gated_repository_says_which_licence_to_accept_where(write) -> None:
    name = write(source='gated = "https://example.org/licence"')
    with pytest.raises(NetworkNeeded, match=r"accept the MIT at https://example\.org/licence first; .* HF_TOKEN"):
        source_of(resolve(name), catalogue.load_recipe(name))


def test_what_the_hub_s_tools_fetched_is_used(write, tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "maker/model", "abc")
    random_llama(snapshot)
    for source in ("", 'revision = "abc"'):
        name = write(source=source)
        found = source_of(resolve(name), catalogue.load_recipe(name))
        assert (found.kind, found.path, found.name) == ("checkpoint", snapshot, "model")


def test_another_revision_than_the_pinned_one_is_not_used(write, tmp_path: Path) -> None:
    random_llama(cached(tmp_path, "maker/model", "abc"))
    name = write(source='revision = "def"')
    with pytest.raises(NetworkNeeded):
        source_of(resolve(name), catalogue.load_recipe(name))


def test_the_makers_gguf_is_used_where_the_checkpoint_is_not_here(write, gguf: Path, tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "maker/model-gguf", "abc")
    snapshot.mkdir(parents=True)
    shutil.copy(gguf, snapshot / "model.gguf")
    for pinned in ("", '\ngguf_revision = "abc"'):
        name = write(source=f'gguf = "hub:maker/model-gguf"{pinned}')
        noted = Recorder()
        found = source_of(resolve(name), catalogue.load_recipe(name), progress=noted)
        assert found.path == snapshot / "model.gguf"
        assert noted.notes == [f"maker/model is not in the hub's cache: starting from the makers' {found.path}"]
    name = write(source='gguf = "hub:maker/model-gguf"\ngguf_revision = "def"')
    with pytest.raises(NetworkNeeded):
        source_of(resolve(name), catalogue.load_recipe(name))


def test_a_quantized_gguf_of_the_makers_is_no_source(write, gguf: Path, tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "maker/model-gguf", "abc")
    snapshot.mkdir(parents=True)
    quantize(gguf, snapshot / "model.gguf", "Q8_0", threads=1)
    name = write(source='gguf = "hub:maker/model-gguf"')
    with pytest.raises(UsageError, match=r"model\.gguf is quantized already \(.*weight is Q8_0\).*--checkpoint"):
        source_of(resolve(name), catalogue.load_recipe(name))


def test_own_weights_are_brought(write, tmp_path: Path) -> None:
    name = write("own", 'needs = "a contract"\nopen_weights = false')
    recipe = catalogue.load_recipe(name)
    with pytest.raises(UsageError, match=r"not published; bring a contract"):
        source_of(resolve(name), recipe)
    random_llama(tmp_path / "bought")
    assert source_of(resolve(name), recipe, tmp_path / "bought").path == tmp_path / "bought"


def test_weights_beside_weights_are_refused(tmp_path: Path) -> None:
    random_llama(tmp_path / "one")
    target = resolve(str(tmp_path / "one"))
    with pytest.raises(UsageError, match=r"leave out --checkpoint"):
        source_of(target, catalogue.load_recipe("default"), tmp_path)
