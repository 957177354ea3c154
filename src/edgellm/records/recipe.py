"""A recipe: one TOML file that makes one bundle, with the quality it must reach."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgellm.records.base import Record

Format = Literal["gguf", "onnx"]


class Source(Record):
    """Where the weights come from, and what goes into the manifest about them."""

    checkpoint: str = Field(
        description="`embedded:NAME` for a model that ships with edgellm, `path:PLACE` for a checkpoint folder or a "
        "`.gguf` on this disk, where a relative place starts at the recipe's folder"
    )
    licence: str = Field(description="licence of the weights; the manifest of the bundle names it")
    family: str = Field(description="model family, for people: the checkpoint's own `config.json` decides")


class Quantization(Record):
    """What is made; options of `edgellm quantize` come before it."""

    format: Format = Field(default="gguf", description="format of the artifact; `onnx` is always F32")
    type: str = Field(default="Q4_K_M", description="quantization type of llama.cpp, see below; `onnx` ignores it")
    tensor_types: dict[str, str] = Field(
        default_factory=dict,
        description="types of single tensors: regular expression searched in the tensor's name → type; the first that "
        "matches decides",
    )
    calibration: str = Field(
        default="shipped",
        description="text for the importance matrix: `shipped` (comes with edgellm), `self` (the model generates it), "
        "`none` (no matrix), or a UTF-8 text file, where a relative place starts at the folder that edgellm runs in",
    )


class Gate(Record):
    """Limits for one type, against the original on the verification text; what is not given is not checked.

    The upper end of a 95 % interval must stay below a maximum, its lower end above a minimum.
    """

    max_mean_kld: float | None = Field(default=None, ge=0, description="mean KL divergence, in nats a token")
    min_same_top_percent: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="positions at which the likeliest next token is that of the original, in percent",
    )
    max_perplexity_ratio: float | None = Field(
        default=None, gt=0, description="perplexity of the artifact divided by that of the original"
    )


class Recipe(Record):
    """One bundle: its name, its source, what is made of it, and the limits that it must keep."""

    schema_version: Literal[1] = Field(default=1, description="version of this form")
    name: str = Field(description="name of the recipe; the manifest of the bundle names it")
    title: str = Field(description="one line for people")
    source: Source = Field(description="where the weights come from")
    quantization: Quantization = Field(default=Quantization(), description="what is made")
    gates: dict[str, Gate] = Field(
        default_factory=dict,
        description="limits by type, `[gates.Q4_K_M]` say; `[gates.default]` holds for a type that has none of its own",
    )
