"""What would make llama.cpp end the process over a LoRA adapter in GGUF, or leave a part of it out without a word."""

from __future__ import annotations

import math
import re

from edgellm.engines.gguf.header import Header
from edgellm.errors import BadInput, UsageError

# Weights that llama.cpp's graphs use without looking for an adapter (every weight of each family was tried).
DEAF = {
    "deepseek2": re.compile(r"\.attn_(q|q_a|q_b|kv_a_mqa|k_b|v_b)\.weight$|^output\.weight$"),
    "plamo2": re.compile(r"\.(ssm_conv1d|attn_[qk]_norm)\.weight$"),
}
INVOCATION_TOKENS = "adapter.alora.invocation_tokens"  # from which on the adapter would hold


def is_deaf(architecture: str, weight: str) -> bool:
    """Whether llama.cpp computes this weight of a base of this architecture without any adapter."""
    pattern = DEAF.get(architecture)
    return pattern is not None and pattern.search(weight) is not None


def check_adapter(adapter: Header, base: Header) -> None:
    """Raises UsageError for a GGUF that is no LoRA adapter or one that llama.cpp cannot compute, BadInput for a damaged
    one or one for another base.

    llama.cpp ends the process over some of these.
    """
    path, metadata = adapter.path, adapter.metadata
    if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
        raise UsageError(f"{path} is no LoRA adapter; give a PEFT folder, or a GGUF that was made of one")
    if INVOCATION_TOKENS in metadata:
        raise UsageError(
            f"{path} is an activated LoRA, which holds only after certain tokens, and edgellm applies adapters to all; "
            "give a plain LoRA adapter"
        )
    alpha = metadata.get("adapter.lora.alpha")
    if not isinstance(alpha, float) or not 0 < alpha < math.inf:
        raise BadInput(f"adapter.lora.alpha in {path} is {alpha}, no number above 0; make the file again")
    if adapter.architecture != base.architecture:
        raise BadInput(
            f"{path} is for a base of architecture {adapter.architecture!r}, and {base.path} is {base.architecture!r}; "
            "give an adapter that was trained on it"
        )
    check_parts(adapter, base)


def check_parts(adapter: Header, base: Header) -> None:
    path = adapter.path
    weights = {tensor.name: tensor.shape for tensor in base.tensors}
    parts = {tensor.name: tensor.shape for tensor in adapter.tensors}
    for name in parts:
        weight = re.sub(r"\.lora_[ab]$", "", name)
        a, b = parts.get(f"{weight}.lora_a", ()), parts.get(f"{weight}.lora_b", ())
        if weight == name or not a or not b:
            raise BadInput(f"{path} holds {name} alone or by a wrong name; make the file again")
        if weight == "token_embd.weight":
            # llama.cpp wants these two the other way round, and with a tied output ends the process over them.
            raise UsageError(f"{path} adapts the embedding, which edgellm does not support; give an adapter without it")
        if weight == "output.weight" and weight not in weights:
            raise UsageError(
                f"{path} adapts the output matrix, which {base.path} shares with the embedding; "
                "give an adapter without it"
            )
        if is_deaf(base.architecture, weight):
            raise UsageError(f"{path} adapts {weight}, which llama.cpp computes without adapters; give one without it")
        if (*b[:-1], a[-1]) != weights.get(weight) or a[:-1] != (*b[:-2], b[-1]):
            raise BadInput(
                f"{path} adapts {weight} with matrices that do not fit {base.path}: it was trained on another base; "
                "give an adapter that was trained on this one"
            )
    if not parts:
        raise BadInput(f"{path} holds no weights; make the file again")
