"""The model families, by the class that config.json names. A new family is one more file and one entry."""

from __future__ import annotations

from edgellm.errors import UnknownFamily
from edgellm.families import llama
from edgellm.families.family import Family

FAMILIES = (llama.FAMILY,)
BY_CLASS = {name: family for family in FAMILIES for name in family.classes}


def family_of(architecture: str) -> Family:
    """The family of a checkpoint class such as `LlamaForCausalLM`; raises UnknownFamily, with the way out."""
    try:
        return BY_CLASS[architecture]
    except KeyError:
        raise UnknownFamily(
            f"edgellm cannot convert a checkpoint of class {architecture} (known: {', '.join(BY_CLASS)}); "
            "make a GGUF of it with llama.cpp's convert_hf_to_gguf.py and give that: every verb accepts one "
            "whose vocabulary is of the kind `llama`"
        ) from None
