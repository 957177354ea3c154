"""A recipe: one TOML file that makes one bundle, with the quality it must reach."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgellm.records.base import Record

Format = Literal["gguf", "onnx"]


class Source(Record):
    """Where the checkpoint comes from: `embedded:NAME` ships with edgellm, `path:FOLDER` is on this disk."""

    checkpoint: str
    licence: str
    family: str


class Quantization(Record):
    format: Format = "gguf"
    type: str = "Q4_K_M"
    tensor_types: dict[str, str] = Field(default_factory=dict)  # pattern (regex, first match wins) → type
    calibration: str = "shipped"  # "shipped", "self", "none", or a text file


class Gate(Record):
    """Limits that `verify` holds an artifact to; a limit of None is not checked.

    The upper end of a 95 % interval must stay below a maximum, its lower end above a minimum.
    """

    max_mean_kld: float | None = None
    min_same_top_percent: float | None = None
    max_perplexity_ratio: float | None = None


class Recipe(Record):
    schema_version: Literal[1] = 1
    name: str
    title: str
    source: Source
    quantization: Quantization = Quantization()
    gates: dict[str, Gate] = Field(default_factory=dict)  # by type; "default" for the rest
