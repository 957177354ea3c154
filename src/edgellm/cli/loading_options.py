"""How a model is loaded: the options of every verb that does, with the names that users of llama.cpp know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.option_groups import option_group
from edgellm.cli.verb import threads_option

if TYPE_CHECKING:
    from edgellm.engines.protocol import RuntimeOptions

MANY = 2**31 - 1  # more layers than any model has
CACHE_TYPES = ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "iq4_nl", "q4_1", "q4_0"]
SWITCH: dict[str, bool | None] = {"on": True, "off": False, "auto": None}


@dataclass(frozen=True)
class Loading:
    threads: int
    gpu_layers: int | None
    cpu_moe: bool
    cache_type_k: str
    cache_type_v: str
    flash_attention: str
    second_weights: str

    def options(
        self, context: int = 0, sequences: int = 1, *, serving: bool = False, adapters: Mapping[str, Path] | None = None
    ) -> RuntimeOptions:
        """`serving`: for so long that trying out what is left open pays, and for many, whose answers shall not differ
        by company."""
        from edgellm.engines.protocol import RuntimeOptions

        second = SWITCH[self.second_weights]
        return RuntimeOptions(
            context, sequences, self.threads, serving, adapters or {}, self.gpu_layers, self.cpu_moe,
            self.cache_type_k, self.cache_type_v, SWITCH[self.flash_attention],
            second if second is not None or serving else False,
        )  # fmt: skip


def layer_count(text: str) -> int:
    if text != "all" and not text.isdecimal():
        raise click.BadParameter(f"{text!r} is neither a number of layers nor `all`")
    return MANY if text == "all" else min(int(text), MANY)


loading_options = option_group("loading", Loading, [
    threads_option,
    click.option(
        "--gpu-layers", "-ngl", type=layer_count, metavar="N|all", show_default="as many as its memory holds",
        help="Layers that a GPU computes, counted from the output; GGUF, and a build for that GPU.",
    ),
    click.option(
        "--cpu-moe", is_flag=True, help="Leave the weights of experts in the machine's memory, and the rest to the GPU."
    ),
    click.option(
        "--cache-type-k", "-ctk", type=click.Choice(CACHE_TYPES), default="f16", show_default=True,
        help="Type of the keys in the KV cache; q8_0 halves them.",
    ),
    click.option(
        "--cache-type-v", "-ctv", type=click.Choice(CACHE_TYPES), default="f16", show_default=True,
        help="Type of the values in the KV cache; other than a float it needs flash attention.",
    ),
    click.option(
        "--flash-attention", "-fa", type=click.Choice(list(SWITCH)), default="auto", show_default=True,
        help="Whether attention is computed in blocks; auto: where llama.cpp finds that it can.",
    ),
    click.option(
        "--second-weights", type=click.Choice(list(SWITCH)), default="auto", show_default=True,
        help="Whether prompts are read with a second set of weights, as the file holds them, beside those that "
        "llama.cpp rearranges for single tokens; auto: in `serve`, where it is found to be faster and memory suffices.",
    ),
])  # fmt: skip
