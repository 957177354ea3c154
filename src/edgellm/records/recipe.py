"""A recipe: one TOML file that makes one bundle, with the quality it must reach."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgellm.records.base import Record

Format = Literal["gguf", "onnx"]


class Source(Record):
    """Where the weights come from, and what goes into the manifest about them."""

    checkpoint: str = Field(
        description="`embedded:NAME` for a model that ships with edgellm, `path:PLACE` for a checkpoint folder or a "
        "`.gguf` on this disk, where a relative place starts at the recipe's folder, `hub:OWNER/NAME` for a repository "
        "of the Hugging Face hub, `own` for weights that are not published: `needs` says what to bring"
    )
    revision: str = Field(
        default="", description="commit of the hub repository; empty until a lock pins one, and then any that is here"
    )
    gguf: str = Field(
        default="",
        description="`hub:OWNER/NAME` where the makers publish a GGUF to start from, where the checkpoint is not here; "
        "a quantized one is refused",
    )
    gguf_revision: str = Field(default="", description="commit of that repository; empty: any that is here")
    licence: str = Field(description="licence of the weights; the manifest of the bundle names it")
    open_weights: bool = Field(default=True, description="whether the weights may be used and passed on by anyone")
    gated: str = Field(
        default="", description="page on which the licence has to be accepted first; empty where anyone may fetch"
    )
    needs: str = Field(default="", description="for weights that are not published: what one has to bring")
    family: str = Field(description="model family, for people: the checkpoint's own `config.json` decides")


class Rule(Record):
    """The type of some tensors, and why; the first rule whose pattern is found in a tensor's name decides.

    Under another `--type` than the recipe's only the rules for F32, F16 and BF16 hold: they say what bears no
    quantization, and the others what fits that one type.
    """

    pattern: str = Field(description="regular expression, searched in the tensor's name as `edgellm show` lists it")
    type: str = Field(description="tensor type, such as `Q6_K` or `F16`")
    reason: str = Field(description="why, in a sentence that a reader can check")


class Quantization(Record):
    """What is made; options of `edgellm quantize` come before it."""

    format: Format = Field(default="gguf", description="format of the artifact; `onnx` is always F32")
    type: str = Field(default="Q4_K_M", description="quantization type of llama.cpp, see below; `onnx` ignores it")
    reason: str = Field(default="", description="why this type, and what is known of its quality")
    rules: tuple[Rule, ...] = Field(default=(), description="types of single tensors, with reasons")
    tensor_types: dict[str, str] = Field(
        default_factory=dict,
        description="the same without reasons, after the rules: regular expression → type; the first that matches "
        "decides",
    )
    calibration: str | tuple[str, ...] = Field(
        default="shipped",
        description="text for the importance matrix: `shipped` (comes with edgellm), `self` (the model generates it), "
        "`none` (no matrix), or a UTF-8 text file, where a relative place starts at the folder that edgellm runs in; "
        'or a list of them, each with a weight if need be: `["shipped=2", "mine.txt"]`',
    )
    fallback: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="what happens where the blocks of a type do not fit a tensor's rows: nothing is made, or "
        "llama.cpp's replacement is taken, which is a larger type",
    )


class Variant(Record):
    """The same bundle for another class of machines: `edgellm quantize RECIPE --variant NAME`.

    Its own rules come before those of `[quantization]`, which hold in every variant.
    """

    device: str = Field(
        description="class of machines that it is cut for, of those that `edgellm recipes --devices` lists"
    )
    type: str | None = Field(default=None, description="quantization type; without one that of `[quantization]`")
    target_size: str | None = Field(
        default=None, description="instead of a type: size of the file, `18.3GB` say, under which types are chosen"
    )
    rules: tuple[Rule, ...] = Field(default=(), description="types of single tensors, with reasons")
    context: int = Field(default=4096, gt=0, description="tokens of context that fit beside the weights")
    reason: str = Field(description="why this choice for this machine")


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
    shape: dict[str, Any] = Field(
        default_factory=dict,
        description="what `config.json` says of the full model, from which its size is predicted and `edgellm synth` "
        "makes a file of that shape",
    )
    quantization: Quantization = Field(default=Quantization(), description="what is made")
    variants: dict[str, Variant] = Field(
        default_factory=dict, description="other choices by name, `[variants.edge-16gb]` say"
    )
    gates: dict[str, Gate] = Field(
        default_factory=dict,
        description="limits by type, `[gates.Q4_K_M]` say; `[gates.default]` holds for a type that has none of its own",
    )
    formats: tuple[Format, ...] = Field(
        default=("gguf",), description="formats that it can be built in; none for a service"
    )
    targets: tuple[str, ...] = Field(
        default=(), description="ids of the public claims that this bundle puts to the test"
    )
