"""What is inside a target, told from headers and small files alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from edgellm.errors import EngineFailed, UnknownFamily
from edgellm.families import family_of
from edgellm.inference.target import Target, read_manifest, resolve
from edgellm.language.tokenizer import Tokenizer
from edgellm.language.tokenizer_files import tokenizer_file
from edgellm.records.inspection import Inspection, TensorEntry, TokenizerFacts
from edgellm.store.checkpoint import Checkpoint, open_checkpoint

LAYER_NUMBER = re.compile(r"\.\d+\.")


def inspect(name: str) -> Inspection:
    """Look into the target called `name`; a recipe stands for its checkpoint. No weight is read.

    Raises UsageError if there is no such target, BadInput if a file in it is damaged.
    """
    target = resolve(name)
    if target.kind == "recipe":
        from edgellm.build.sources import weights_behind

        target = weights_behind(target)
    found: dict[str, Any] = {"name": target.name, "kind": target.kind}
    if target.kind == "bundle":
        manifest = read_manifest(target.path)
        found |= {"type": manifest.type, "licence": manifest.licence, "passed": manifest.verdict.passed}
    if target.engine == "gguf":
        found |= gguf_facts(target)
    elif target.engine == "onnx":
        found |= onnx_facts(target)
    elif target.kind == "checkpoint":
        found |= checkpoint_facts(target)
    else:
        tokenizer = target.tokenizer()
        facts = tokenizer_facts(target, tokenizer)
        found |= {"vocab_tokens": tokenizer.vocab_tokens, "tokenizer": facts}
    return Inspection(**found)


def gguf_facts(target: Target) -> dict[str, Any]:
    from edgellm.engines.gguf.header import read_header

    assert target.artifact is not None
    header = read_header(target.artifact)
    tokenizer = None
    if target.tokenizer_folder is not None or header.tokens:
        try:
            tokenizer = tokenizer_facts(target, target.tokenizer())
        except (EngineFailed, UnknownFamily) as error:
            # What this llama.cpp cannot load is still looked into.
            tokenizer = TokenizerFacts(
                kind=header.tokenizer_model, source="", reason=str(error), tokens=len(header.tokens),
                special=header.special_ids, stop_ids=[], adds_bos=header.add_bos,
                chat_template=header.chat_template is not None,
            )  # fmt: skip
    return {
        "architecture": header.architecture or None, "parameters": header.parameters,
        "active_parameters": header.active_parameters, "context_tokens": header.context_tokens or None,
        "vocab_tokens": header.vocab_tokens or None, "size_bytes": header.size_bytes,
        "bits_per_weight": header.bits_per_weight, "tensors": entries(header.tensors), "tokenizer": tokenizer,
    }  # fmt: skip


def onnx_facts(target: Target) -> dict[str, Any]:
    from edgellm.engines.onnx.header import read_header
    from edgellm.measures.sizing import size_of

    assert target.artifact is not None
    header, size = read_header(target.artifact), size_of(target.artifact, "onnx")
    return {
        "architecture": header.architecture, "parameters": header.parameters,
        "context_tokens": header.context_tokens, "vocab_tokens": header.vocab_tokens,
        "size_bytes": size.size_bytes, "bits_per_weight": size.bits_per_weight,
        "tensors": entries(header.tensors), "tokenizer": tokenizer_facts(target, target.tokenizer()),
    }  # fmt: skip


def checkpoint_facts(target: Target) -> dict[str, Any]:
    checkpoint = open_checkpoint(target.path)
    config = checkpoint.config
    has_tokenizer = tokenizer_file(target.path) is not None
    tensors = [TensorEntry(name=t.name, type=t.dtype, shape=list(t.shape)) for t in checkpoint.tensors.values()]
    return {
        "architecture": checkpoint.architecture, "parameters": checkpoint.parameters,
        "active_parameters": active_parameters(checkpoint),
        "context_tokens": config.get("max_position_embeddings"), "vocab_tokens": config.get("vocab_size"),
        "size_bytes": checkpoint.size_bytes,
        "bits_per_weight": 8 * checkpoint.size_bytes / max(checkpoint.parameters, 1), "tensors": tensors,
        "tokenizer": tokenizer_facts(target, target.tokenizer()) if has_tokenizer else None,
    }  # fmt: skip


def active_parameters(checkpoint: Checkpoint) -> int | None:
    """Parameters that take part in one token; None for a class that edgellm has no family of."""
    try:
        sizes = family_of(checkpoint.architecture).sizes(checkpoint.config)
    except UnknownFamily:
        return None
    if not sizes.experts:
        return checkpoint.parameters
    of_experts = sum(checkpoint.weights_in(name) for name in checkpoint.tensors if ".experts." in name)
    return checkpoint.parameters - of_experts * (sizes.experts - sizes.experts_used) // sizes.experts


def entries(tensors: Iterable[Any]) -> list[TensorEntry]:
    return [TensorEntry(name=t.name, type=t.type, shape=list(t.shape)) for t in tensors]


def tokenizer_facts(target: Target, tokenizer: Tokenizer) -> TokenizerFacts:
    roles = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "unk": tokenizer.unk_id}
    return TokenizerFacts(
        kind=tokenizer.kind,
        source=tokenizer.origin.source,
        reason=tokenizer.origin.reason,
        tokens=tokenizer.vocab_tokens,
        special={role: i for role, i in roles.items() if i is not None},
        stop_ids=sorted(tokenizer.stop_ids),
        adds_bos=tokenizer.specials.adds_bos,
        chat_template=target.chat_template() is not None,
    )


def grouped(tensors: Iterable[TensorEntry]) -> list[tuple[str, str, str, int]]:
    """(name, type, shape, how many) with the layers' tensors of one name, type and shape taken together."""
    counts = Counter((LAYER_NUMBER.sub(".N.", t.name, 1), t.type, " × ".join(map(str, t.shape))) for t in tensors)
    return [(*key, count) for key, count in counts.items()]
