"""From a GGUF file to a runtime: where it goes, which of llama.cpp's ways it takes, and what company changes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import llama_cpp

from edgellm.engines.gguf.grouping import (
    PROBE_TOKENS,
    answers_are_as_prompts,
    by_kind,
    company_is_harmless,
    lone_differs,
    one_by_one,
    together,
)
from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.info import FLASH_PIECE, SHORT_PIECE, GgufInfo, can_cut, info_of
from edgellm.engines.gguf.loading import (
    FLOAT_CACHE_TYPES,
    GgufOptions,
    check_model,
    check_options,
    checked_header,
    context_tokens_of,
    flash_attention_type,
    load_adapters,
    load_model,
    make_context,
)
from edgellm.engines.gguf.placement import Placement, cache_bytes_of, free_room, placement_for
from edgellm.engines.gguf.prompt_reader import LEAST_GAIN, PromptReader, worth_trying
from edgellm.engines.gguf.reader_trial import TRIED_TOKENS, gain_of
from edgellm.engines.gguf.runtime import GgufRuntime
from edgellm.engines.gguf.sequence_state import state_digest
from edgellm.engines.memory import free_memory_bytes
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput, EdgellmError, EngineFailed, UsageError

# llama.cpp mixes up the states of plamo2 sequences that share a llama_decode: one at a time is right.
ONE_SEQUENCE_A_DECODE = ("plamo2",)
# Without flash attention the scores of a step take heads × context × its tokens × 4 bytes, so prompts get no more
# than this beside one token for every sequence.
INVARIANT_PROMPT_TOKENS = 256
SHORT_CONTEXT_TOKENS = 2048
SCORES_LIMIT_BYTES = 512 * 1024 * 1024
MARGIN_BYTES = 512 * 1024 * 1024  # that a second set of weights leaves free


def open_runtime(artifact: Path, options: RuntimeOptions) -> GgufRuntime:
    """Load a GGUF file; `options` may be a `GgufOptions`.

    Raises BadInput for a file that is missing, damaged or no generating model, UsageError for options that
    cannot be met, EngineFailed if llama.cpp cannot make room for the KV cache.
    """
    chosen = options if isinstance(options, GgufOptions) else GgufOptions(**asdict(options))
    check_options(chosen)
    header = checked_header(artifact)
    try:
        placement = placement_for(header, chosen, free_room())
    except BadInput:
        llama_cpp.llama_model_free(load_model(header, chosen))  # raises what llama.cpp itself says of such a file
        raise
    chosen = replace(chosen, context_tokens=placement.context_tokens, gpu_layers=placement.gpu_layers)
    model = load_model(header, chosen)
    try:
        check_model(artifact, model)
        context_tokens = context_tokens_of(artifact, model, chosen.context_tokens)
        adapters = load_adapters(artifact, model, chosen.adapters) if chosen.adapters else {}
        if chosen.batch_invariant and not chosen.second_weights:
            runtime = _invariant_runtime(artifact, model, adapters, chosen, context_tokens, placement)
            if runtime is not None:
                return runtime
        chosen = _for_short_pieces(model, chosen, context_tokens)
        context = make_context(artifact, model, chosen, context_tokens)
    except BaseException:
        llama_cpp.llama_model_free(model)
        raise
    digest = state_digest(artifact, chosen, batch_invariant=False)
    flash = flash_attention_type(chosen) != 0 and not chosen.gpu_layers
    pieces = FLASH_PIECE if flash else SHORT_PIECE
    info = info_of(
        model, context, adapters, context_tokens, digest, setup=placement.words, gpu_share=placement.gpu_share,
        piece_tokens=pieces,
    )  # fmt: skip
    grouping = one_by_one if info.architecture in ONE_SEQUENCE_A_DECODE else together
    runtime = GgufRuntime(model, context, info, grouping, adapters)
    try:
        _find_reader(runtime, header, chosen)
    except BaseException:
        runtime.close()
        raise
    return runtime


def _find_reader(runtime: GgufRuntime, header: Header, options: GgufOptions) -> None:
    """Let a second set of weights read the prompts, where that is asked for, or is left open and found to pay."""
    asked, info = options.second_weights, runtime.info
    if asked is False or (asked is None and not _may_have_reader(header, options, info)):
        return
    if not info.can_cut or options.gpu_layers or info.context_tokens < TRIED_TOKENS:
        raise UsageError(
            f"{header.path} cannot be read with a second set of weights: that takes a processor, a model whose memory "
            f"of a text can be cut, and a context of {TRIED_TOKENS} tokens; leave the option out"
        )
    try:
        reader = PromptReader(header, options, info.context_tokens, info.vocab_tokens)
    except EdgellmError:
        if asked:
            raise
        return
    with ThreadPoolExecutor(1, "edgellm-probe") as thread:  # see `_invariant_runtime`
        gain = thread.submit(gain_of, runtime, reader).result()
    if gain is None and asked:
        reader.close()
        raise EngineFailed(
            f"{header.path} cannot be read with a second set of weights: llama.cpp's memory of a text is of another "
            "kind for it, or the results differ; leave the option out"
        )
    if gain is None or (asked is None and gain < LEAST_GAIN):
        reader.close()
        return
    runtime.read_with(reader)
    runtime.tell("prompts read with the file's own weights")


def _may_have_reader(header: Header, options: GgufOptions, info: GgufInfo) -> bool:
    if not info.can_cut or options.gpu_layers or info.context_tokens < TRIED_TOKENS or not worth_trying(header):
        return False
    context_bytes = cache_bytes_of(header, replace(options, sequences=1), info.context_tokens)
    return free_memory_bytes() > header.weight_bytes + context_bytes + MARGIN_BYTES


def _for_short_pieces(model: Any, options: GgufOptions, context_tokens: int) -> GgufOptions:
    """Flash attention off where it is left open and a processor serves several long sequences.

    There llama.cpp has a way of its own for fewer than 64 tokens of a sequence, which takes twice as long deep in a
    text; and while others are answered, prompts are read in such pieces. Up to some thousand tokens, flash attention
    is the faster of the two (figures in docs/design/batching.md).
    """
    if context_tokens <= SHORT_CONTEXT_TOKENS:
        return options
    scores_bytes = 4 * llama_cpp.llama_model_n_head(model) * context_tokens * options.ubatch_tokens
    left_open = options.flash_attention is None and not options.gpu_layers
    if not left_open or options.sequences == 1 or scores_bytes > SCORES_LIMIT_BYTES:
        return options
    return replace(options, flash_attention=False) if options.type_v in FLOAT_CACHE_TYPES else options


def _invariant_runtime(
    artifact: Path, model: Any, adapters: Mapping[str, Any], options: GgufOptions, context_tokens: int,
    placement: Placement,
) -> GgufRuntime | None:  # fmt: skip
    """A runtime whose sequences do not feel each other, or None where this model on this machine has none.

    Whether it holds is tried out, since it depends on types, kernels and processor. Flash attention is off: it
    adds up in blocks that depend on where a prompt was cut. A context too short to try, or without room in memory
    for what it takes, has none either.
    """
    if options.sequences == 1 or not can_cut(model) or options.flash_attention or context_tokens < PROBE_TOKENS:
        return None
    if options.type_v not in FLOAT_CACHE_TYPES:
        return None  # such a cache needs flash attention
    step_tokens = INVARIANT_PROMPT_TOKENS + options.sequences
    strict = replace(options, flash_attention=False, step_tokens=step_tokens, ubatch_tokens=step_tokens)
    try:
        context = make_context(artifact, model, strict, context_tokens + 1)  # one more: room for a companion
    except EngineFailed:
        return None
    digest = state_digest(artifact, options, batch_invariant=True)
    info = info_of(
        model, context, adapters, context_tokens, digest, setup=placement.words, gpu_share=placement.gpu_share,
        batch_invariant=True,
    )  # fmt: skip
    runtime = GgufRuntime(model, context, info, by_kind, adapters)
    try:
        # OpenMP keeps the helpers of every thread that has ever decoded, and once it counts more of them than cores,
        # they sleep at each barrier instead of spinning: a decode would take 1.4 times as long ever after. Those of a
        # thread that has ended are gone.
        with ThreadPoolExecutor(1, "edgellm-probe") as thread:
            if thread.submit(_probed, runtime, (None, *adapters)).result():
                return runtime
    except BaseException:
        llama_cpp.llama_free(context)
        raise
    llama_cpp.llama_free(context)
    return None


def _probed(runtime: GgufRuntime, adapters: Sequence[str | None]) -> bool:
    """Whether company leaves every sequence's results as they are; what that takes is set in the runtime."""
    if not all(company_is_harmless(runtime, adapter) for adapter in adapters):
        return False
    runtime.gives_company = any(lone_differs(runtime, adapter) for adapter in adapters)
    # Where kernels differ for a lone token they do for a few beside a prompt, though a short probe may miss it.
    runtime.answers_reusable = not runtime.gives_company and all(
        answers_are_as_prompts(runtime, adapter) for adapter in adapters
    )
    return True
