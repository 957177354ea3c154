"""How a model's makers say its tokens should be drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.sampling import check_ranges
from edgellm.inference.target import Target

GENERATION_CONFIG = "generation_config.json"
GGUF_NAMES = {"temp": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}


def advised_sampling(target: Target) -> SamplingOptions:
    """Settings of generation_config.json, or of a GGUF that stands alone; edgellm's own for the rest.

    Raises BadInput if the file is damaged or advises what cannot be.
    """
    if target.tokenizer_folder is not None:
        return from_generation_config(target.tokenizer_folder / GENERATION_CONFIG)
    if target.kind != "gguf":
        return SamplingOptions()
    from edgellm.engines.gguf.header import read_header

    metadata = read_header(target.path).metadata
    found = {ours: metadata[f"general.sampling.{theirs}"] for theirs, ours in GGUF_NAMES.items()
             if f"general.sampling.{theirs}" in metadata}  # fmt: skip
    return sampling_from(found, target.path)


def from_generation_config(path: Path) -> SamplingOptions:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return SamplingOptions()
    except ValueError:
        raise BadInput(f"{path} is not JSON; fetch the model's files again") from None
    if not isinstance(config, dict):
        raise BadInput(f"{path} holds no JSON object; fetch the model's files again")
    found = {name: config[name] for name in GGUF_NAMES.values() if config.get(name) is not None}
    if config.get("do_sample") is False:
        found["temperature"] = 0.0  # what transformers' generate() does then
    return sampling_from(found, path)


def sampling_from(found: Mapping[str, Any], path: Path) -> SamplingOptions:
    try:
        values = {name: int(value) if name == "top_k" else float(value) for name, value in found.items()}
        sampling = replace(SamplingOptions(), **values)  # type: ignore[arg-type]
        check_ranges(sampling)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path} advises sampling settings that are no numbers ({error}); correct the file") from None
    return sampling
