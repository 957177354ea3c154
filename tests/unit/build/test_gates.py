"""Limits that nothing could ever be held to are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.build.order import Order, settle
from edgellm.errors import BadRecipe
from edgellm.store import catalogue


@pytest.mark.parametrize("name", catalogue.recipe_names())
def test_the_gates_of_shipped_recipes_are_those_of_types(name: str, tmp_path: Path) -> None:
    recipe = catalogue.load_recipe(name)
    assert settle(Order("tiny-ja", tmp_path / "out"), recipe).type == recipe.quantization.type


@pytest.mark.parametrize("name", ["Q4_K", "q4_k_m", "Q4KM"])
def test_limits_for_a_misspelt_type_are_named_with_the_nearest_one(name: str, tmp_path: Path) -> None:
    text = (catalogue.RECIPES / "tiny-ja.toml").read_text(encoding="utf-8")
    (tmp_path / "r.toml").write_text(text.replace("[gates.Q4_K_M]", f"[gates.{name}]"), encoding="utf-8")
    recipe = catalogue.load_recipe(str(tmp_path / "r.toml"))
    with pytest.raises(BadRecipe, match=rf"\[gates\.{name}\].*did you mean .*Q4_K_M"):
        settle(Order("tiny-ja", tmp_path / "out"), recipe)


@pytest.mark.parametrize(
    ("key", "value"), [("max_mean_kld", "-0.1"), ("max_mean_kld", "nan"), ("min_same_top_percent", "101.0")]
)
def test_a_limit_out_of_range_is_refused(key: str, value: str, tmp_path: Path) -> None:
    text = (catalogue.RECIPES / "tiny-ja.toml").read_text(encoding="utf-8")
    (tmp_path / "r.toml").write_text(f"{text}\n[gates.Q4_0]\n{key} = {value}\n", encoding="utf-8")
    with pytest.raises(BadRecipe, match=rf"gates\.Q4_0\.{key}"):
        catalogue.load_recipe(str(tmp_path / "r.toml"))
