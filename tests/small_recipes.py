"""Shipped recipes with small numbers in their shapes, so that what is made of them takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgellm.records.recipe import Recipe
from edgellm.store import catalogue

SMALL = {
    "num_hidden_layers": 8, "hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1, "num_experts": 32,
    "num_experts_per_tok": 4, "moe_intermediate_size": 480, "vocab_size": 1024,
}  # fmt: skip


def small_mixture(folder: Path) -> Recipe:
    """LLM-jp-4 32B-A3B with small numbers; 480 falls between blocks as 960 does."""
    text = (catalogue.RECIPES / "llm-jp-4-32b-a3b.toml").read_text(encoding="utf-8")
    lines = [
        f"{key} = {SMALL[key]}" if (key := line.partition(" = ")[0]) in SMALL else line for line in text.splitlines()
    ]
    path = folder / "small.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return catalogue.load_recipe(str(path))


def with_shape(recipe: Recipe, **changed: Any) -> Recipe:
    """The recipe with other numbers for keys that its shape has."""
    return recipe.model_copy(
        update={"shape": dict(recipe.shape) | {key: n for key, n in changed.items() if key in recipe.shape}}
    )
