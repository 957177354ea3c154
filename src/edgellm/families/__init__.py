"""The model families, by the class that config.json names. A new family is one more file and one entry."""

from __future__ import annotations

from edgellm.errors import UnknownFamily
from edgellm.families import deepseek, gpt_oss, llama, mistral, mixtral, plamo2, plamo3, qwen2, qwen3, qwen3_moe
from edgellm.families.family import Family

FAMILIES = (
    llama.FAMILY,
    mistral.FAMILY,
    mixtral.FAMILY,
    plamo2.FAMILY,
    plamo3.FAMILY,
    qwen2.FAMILY,
    qwen3.FAMILY,
    qwen3_moe.FAMILY,
    gpt_oss.FAMILY,
    deepseek.FAMILY,
)
BY_CLASS = {name: family for family in FAMILIES for name in family.classes}


def default_tensor_types(gguf_architecture: str) -> dict[str, str]:
    """Pattern of names → type that tensors of this architecture have in every quantized file."""
    families = [family for family in FAMILIES if family.gguf_architecture == gguf_architecture]
    return {pattern: kind for family in families for pattern, kind in family.tensor_types.items()}


def family_of(architecture: str) -> Family:
    """The family of a checkpoint class such as `LlamaForCausalLM`; raises UnknownFamily, with the way out."""
    try:
        return BY_CLASS[architecture]
    except KeyError:
        raise UnknownFamily(
            f"edgellm cannot convert a checkpoint of class {architecture} (known: {', '.join(BY_CLASS)}); "
            "make a GGUF of it with llama.cpp's convert_hf_to_gguf.py and give that: "
            "a GGUF made by llama.cpp is accepted by every verb"
        ) from None
