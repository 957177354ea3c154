"""Rotary position embedding as config.json states it: its base, and its stretch over a longer context."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgellm.errors import BadInput, UsageError
from edgellm.families.family import Config, Floats, Value, decimal

# Kinds of scaling, and the settings without which each means nothing.
REQUIRED = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
# What a graph of llama.cpp's computes that divides no frequency by a table, so that Llama 3's rule would be lost.
WITHOUT_TABLE: Collection[str] = ("default", "linear", "yarn")
# Optional YaRN settings: name in config.json → name in GGUF metadata.
YARN_SETTINGS = {
    "extrapolation_factor": "rope.scaling.yarn_ext_factor",
    "attention_factor": "rope.scaling.yarn_attn_factor",
    "beta_fast": "rope.scaling.yarn_beta_fast",
    "beta_slow": "rope.scaling.yarn_beta_slow",
}


@dataclass(frozen=True)
class Rope:
    kind: str  # "default", "linear", "llama3", "yarn"
    base: float | None  # None: not stated, 10,000 for both Hugging Face and llama.cpp
    settings: Mapping[str, Any]
    original_context_tokens: int  # what the model was trained on before it was stretched


def rope_of(config: Config, context_tokens: int, kinds: Collection[str] = tuple(REQUIRED)) -> Rope:
    """Read `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).

    `kinds` are the kinds of scaling that the family's graph computes. Raises UsageError for a kind of scaling that
    would be lost in conversion, BadInput for one whose settings are not whole.
    """
    settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(settings, dict):
        raise BadInput("the rope settings in config.json are not an object; give the original file")
    if any(isinstance(value, dict) for value in settings.values()):
        raise UsageError(
            "config.json states rope settings for each kind of layer, which are not supported for this family; "
            "make a GGUF with llama.cpp's convert_hf_to_gguf.py and give that"
        )
    kind = settings.get("rope_type", settings.get("type", "default"))
    if not isinstance(kind, str) or kind not in kinds:
        raise UsageError(
            f"rope scaling of kind {kind!r} is not supported for this family; "
            "make a GGUF with llama.cpp's convert_hf_to_gguf.py and give that"
        )
    given = {key: decimal(settings, key) for key in REQUIRED[kind]}
    if kind == "llama3" and given["low_freq_factor"] >= given["high_freq_factor"]:
        raise BadInput("low_freq_factor in config.json is not below high_freq_factor; give the original file")
    if kind == "yarn":
        check_yarn(settings)
    bases = [decimal(where, "rope_theta") for where in (settings, config) if where.get("rope_theta") is not None]
    original = decimal(settings, "original_max_position_embeddings", context_tokens)
    return Rope(kind, bases[0] if bases else None, settings, int(original))


def without_rope_settings(config: Config, *names: str) -> Config:
    """The same configuration where the rope settings of these names are not stated."""
    settings = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(settings, dict):
        return config
    kept = {name: value for name, value in settings.items() if name not in names}
    return {**config, "rope_parameters": kept, "rope_scaling": None}


def check_yarn(settings: Mapping[str, Any]) -> None:
    """Refuse settings other than the usual ones: llama.cpp reads them for a few architectures only.

    Elsewhere it computes with the usual ones whatever the file says (measured on a Llama with `beta_fast` 16
    against transformers: mean KLD 3.0, with the usual 32 it is 6e-6).
    """
    usual = {
        "extrapolation_factor": 1.0, "attention_factor": 0.1 * math.log(settings["factor"]) + 1.0,
        "beta_fast": 32.0, "beta_slow": 1.0,
    }  # fmt: skip
    stated = {key: decimal(settings, key) for key in usual if settings.get(key) is not None}
    odd = [] if settings.get("truncate") in (None, True) else ["truncate"]
    odd += [key for key, value in stated.items() if not math.isclose(value, usual[key], rel_tol=1e-4)]
    if settings.get("attention_factor") is None and settings.get("mscale") and settings.get("mscale_all_dim"):
        odd.append("mscale")
    if odd:
        raise UsageError(
            f"llama.cpp would compute YaRN with the usual {', '.join(odd)} instead of this checkpoint's own, "
            "and no GGUF can change that; use another engine for it"
        )


def scaling_metadata(rope: Rope) -> dict[str, Value]:
    values: dict[str, Value] = {} if rope.base is None else {"rope.freq_base": rope.base}
    if rope.kind in ("linear", "yarn"):
        values |= {"rope.scaling.type": rope.kind, "rope.scaling.factor": float(rope.settings["factor"])}
    if rope.kind == "yarn":
        values["rope.scaling.original_context_length"] = rope.original_context_tokens
        stated = {ours: rope.settings.get(theirs) for theirs, ours in YARN_SETTINGS.items()}
        values |= {name: float(value) for name, value in stated.items() if value is not None}
    return values


def llama3_factors(rope: Rope, head_dim: int) -> Floats:
    """What each of the head_dim/2 frequencies is divided by, float32.

    Llama 3.1's rule: wavelengths that fit `high_freq_factor` times into the original context stay, those that
    fit fewer than `low_freq_factor` times are stretched by `factor`, and between the two the frequency is
    interpolated. Source: transformers, modeling_rope_utils.py, `_compute_llama3_parameters`.
    Computed in float32, and `a / x` as the reciprocal of x times a, as torch does it, so that bits agree.
    """
    one, base = np.float32(1), np.float64(10000.0 if rope.base is None else rope.base)
    factor = np.float32(rope.settings["factor"])
    low, high = np.float32(rope.settings["low_freq_factor"]), np.float32(rope.settings["high_freq_factor"])
    context = np.float32(rope.original_context_tokens)
    # NumPy's float32 power is off by one bit more often than torch's; rounding the exact one is not.
    powers = base ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)).astype(np.float64)
    frequencies = one / powers.astype(np.float32)
    wavelengths = one / frequencies * np.float32(2 * np.pi)
    share = (one / wavelengths * context - low) / (high - low)
    between = one / ((one - share) / factor + share)
    return np.where(wavelengths < context / high, one, np.where(wavelengths > context / low, factor, between))
