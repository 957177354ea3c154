"""Recipes for models that no machine here can run: what their rules do to the full model's tensors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgellm.build.recipe_check import check
from edgellm.build.recipes import choose, config_of
from edgellm.engines.gguf.full_shape import Shaped, ShapePlanner, data_bytes
from edgellm.errors import BadRecipe
from edgellm.records.recipe import Recipe
from edgellm.store import catalogue

GB = 1e9


def planned(name: str, variant: str | None = None) -> list[Shaped]:
    recipe = catalogue.load_recipe(name)
    choice = choose(recipe, variant)
    with ShapePlanner(config_of(recipe), name) as planner:
        return planner.plan(choice.type, choice.tensor_types, calibrated=True)


def parameters(tensors: list[Shaped]) -> int:
    return sum(t.elements for t in tensors)


def types(tensors: list[Shaped], pattern: str) -> set[str]:
    return {t.type.name for t in tensors if re.search(pattern, t.name)}


def changed(tmp_path: Path, old: str, new: str) -> Recipe:
    text = (catalogue.RECIPES / "llm-jp-4-32b-a3b.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "r.toml").write_text(text.replace(old, new), encoding="utf-8")
    return catalogue.load_recipe(str(tmp_path / "r.toml"))


@pytest.mark.parametrize("name", catalogue.model_recipes())
def test_every_rule_and_variant_of_a_shipped_recipe_holds(name: str) -> None:
    recipe = catalogue.load_recipe(name)
    rows = check(recipe)
    assert [row.variant for row in rows] == ([None, *recipe.variants] if recipe.formats else [])
    for row in rows:
        print(name, row)
        if row.cache_bytes is not None:
            assert row.file_bytes + row.cache_bytes <= row.room_bytes <= catalogue.load_device(row.device).usable_bytes


@pytest.mark.parametrize("name", catalogue.model_recipes())
def test_a_recipe_says_what_it_awaits_and_what_one_has_to_bring(name: str) -> None:
    recipe = catalogue.load_recipe(name)
    if name != "tiny-ja" and recipe.formats:
        assert "awaits the real weights" in recipe.quantization.reason
    assert bool(recipe.source.needs) == (recipe.source.checkpoint == "own")
    assert bool(recipe.source.gated) <= (not recipe.source.open_weights)
    assert all(v.device in catalogue.device_names() for v in recipe.variants.values())


def test_the_targets_of_recipes_are_claims(shared: Path) -> None:
    claims = set(re.findall(r"^\| ([a-z0-9-]+) \|", (shared / "design" / "CLAIMS.md").read_text(), re.MULTILINE))
    assert len(claims) > 10
    for name in catalogue.model_recipes():
        targets = catalogue.load_recipe(name).targets
        assert targets
        assert set(targets) <= claims


def test_the_experts_of_llm_jp_4_get_a_type_that_fits_their_width() -> None:
    tensors = planned("llm-jp-4-32b-a3b")
    assert parameters(tensors) == 32_139_028_992
    assert data_bytes(tensors) <= 18.4 * GB
    assert types(tensors, r"ffn_down_exps") == {"IQ4_NL"}
    assert types(tensors, r"ffn_gate_inp|_norm") == {"F32"}


def test_the_stock_mixture_of_llm_jp_4_falls_back_to_more_bits() -> None:
    recipe = catalogue.load_recipe("llm-jp-4-32b-a3b")
    with ShapePlanner(config_of(recipe), recipe.name) as planner:
        stock = planner.plan("Q4_K_M", {}, calibrated=True, allow_fallback=True)
    assert types(stock, r"ffn_down_exps") == {"Q5_0", "Q8_0"}
    assert data_bytes(stock) == pytest.approx(21.40 * GB, abs=0.01 * GB)


@pytest.mark.parametrize(
    ("name", "count", "size"), [("llm-jp-4-8b", 8_590_200_832, 5.30), ("llm-jp-4-33b", 33_219_548_160, 20.16)]
)
def test_the_dense_models_have_their_published_size(name: str, count: int, size: float) -> None:
    tensors = planned(name)
    assert parameters(tensors) == count
    assert data_bytes(tensors) == pytest.approx(size * GB, abs=0.01 * GB)


@pytest.mark.parametrize("variant", [None, *catalogue.load_recipe("plamo-2.1-8b").variants])
def test_plamo_keeps_its_state_matrices_in_16_bits(variant: str | None) -> None:
    tensors = planned("plamo-2.1-8b", variant)
    assert types(tensors, r"ssm_out") == {"F16"}
    assert types(tensors, r"ssm_conv1d") == {"F32"}


def test_gpt_oss_keeps_its_published_blocks() -> None:
    assert types(planned("gpt-oss-20b"), r"_exps\.weight") == {"MXFP4"}


def test_a_rule_that_decides_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"llm-jp-4-32b-a3b: the pattern 'ffn_down_expz.*decides no tensor"):
        check(changed(tmp_path, "pattern = 'ffn_down_exps", "pattern = 'ffn_down_expz"))


def test_a_type_whose_blocks_do_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"ffn_down_exps.* would be Q4_K, whose blocks do not fit rows of 960"):
        check(changed(tmp_path, 'type = "IQ4_NL"', 'type = "Q4_K"'))


def test_a_variant_that_is_too_large_for_its_machines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"its variant gpu-24gb takes .* and gpu-24gb has room for"):
        check(changed(tmp_path, "context = 49152", "context = 65536"))


def test_a_context_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"asks for 131,072 tokens of a model that takes 65,536"):
        check(changed(tmp_path, "context = 49152", "context = 131072"))
