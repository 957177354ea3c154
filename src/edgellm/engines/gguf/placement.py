"""Where a model goes before it is loaded: how much context there is memory for, and which layers a GPU takes."""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp
from llama_cpp._ggml import libggml

from edgellm.engines.cores import threads_in_words, usable_cores
from edgellm.engines.gguf import library
from edgellm.engines.gguf.cache_size import cache_bytes
from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.loading import CELLS_STEP, DEFAULT_CONTEXT_LIMIT, GgufOptions
from edgellm.engines.memory import free_memory_bytes
from edgellm.engines.protocol import RuntimeOptions

LEAST_CONTEXT = 512  # what is tried however little memory there is
LOGIT_BYTES = 4
GPU_MARGIN_BYTES = 512 * 1024 * 1024  # for the GPU's driver and buffers that no header tells
GPU_KINDS = (1, 2)  # of enum ggml_backend_dev_type: with memory of its own, or with the processor's


@dataclass(frozen=True)
class Room:
    memory_bytes: int
    gpu_bytes: int = 0


@dataclass(frozen=True)
class Placement:
    context_tokens: int  # of one sequence
    gpu_layers: int  # as llama.cpp counts them: the output counts as the last one
    words: str
    gpu_share: float = 0.0  # of all layers, counted so


def free_room() -> Room:
    return Room(free_memory_bytes(), free_gpu_bytes() if llama_cpp.llama_supports_gpu_offload() else 0)


def placement_for(header: Header, options: GgufOptions, room: Room) -> Placement:
    """What is asked for as it is, and for what is left open as much as there is room for."""
    wanted = options.context_tokens or min(header.context_tokens, DEFAULT_CONTEXT_LIMIT)
    layers = layers_of(header)
    if options.gpu_layers is None:
        gpu_layers = layers_that_fit(header, options, wanted, room.gpu_bytes)
    else:
        gpu_layers = min(options.gpu_layers, layers)
    context = options.context_tokens
    if not context:
        spare = room.memory_bytes if gpu_layers < layers else room.gpu_bytes
        context = context_that_fits(header, options, wanted, spare)
    words = in_words(header, options, context, wanted, gpu_layers)
    return Placement(context, gpu_layers, words, gpu_layers / layers)


def memory_bytes(artifact: Path, options: RuntimeOptions) -> int:
    """About what the model takes when it is loaded: its weights, the KV cache, and the largest result."""
    header = read_header(artifact)
    chosen = GgufOptions(**vars(options))
    context = chosen.context_tokens or min(header.context_tokens, DEFAULT_CONTEXT_LIMIT)
    size = header.size_bytes + cache_bytes_of(header, chosen, context) + compute_bytes(header, chosen)
    if chosen.second_weights:
        own = replace(chosen, sequences=1)
        size += header.size_bytes + cache_bytes_of(header, own, context) + compute_bytes(header, own)
    return size


def context_that_fits(header: Header, options: GgufOptions, wanted: int, spare_bytes: int) -> int:
    """`wanted`, or if the memory does not suffice the largest multiple of 256 for which it does, at least 512."""
    left = spare_bytes - header.weight_bytes - compute_bytes(header, options)
    context = wanted
    while context > LEAST_CONTEXT and cache_bytes_of(header, options, context) > left:
        context = max(LEAST_CONTEXT, (context - 1) // CELLS_STEP * CELLS_STEP)
    return context


def layers_that_fit(header: Header, options: GgufOptions, context: int, gpu_bytes: int) -> int:
    """How many layers, counted from the output, fit a GPU's free memory with their part of the KV cache."""
    layers = layers_of(header)
    left = gpu_bytes - GPU_MARGIN_BYTES - compute_bytes(header, options)
    cache = cache_bytes_of(header, options, context) // max(1, layers - 1)
    sizes: Counter[int] = Counter()
    for tensor in header.tensors:
        if not (options.cpu_moe and "_exps." in tensor.name):
            sizes[layer_of(tensor.name, layers)] += tensor.size_bytes
    count = 0
    for layer in reversed(range(layers)):
        left -= sizes[layer] + (cache if layer < layers - 1 else 0)
        if left < 0:
            break
        count += 1
    return count


def layer_of(name: str, layers: int) -> int:
    """The number of a tensor's layer; the output, and whatever is in no layer, counts as the last one."""
    return int(name.split(".")[1]) if name.startswith("blk.") else layers - 1


def layers_of(header: Header) -> int:
    return (header.of_architecture("block_count") or 0) + 1


def compute_bytes(header: Header, options: GgufOptions) -> int:
    """Of the logits of one computation, which are by far the largest of its results."""
    return options.ubatch_tokens * header.vocab_tokens * LOGIT_BYTES


def cache_bytes_of(header: Header, options: GgufOptions, context_tokens: int) -> int:
    return cache_bytes(header, context_tokens, options.sequences, options.type_k, options.type_v)


def in_words(header: Header, options: GgufOptions, context: int, wanted: int, gpu_layers: int) -> str:
    types = options.type_k if options.type_k == options.type_v else f"{options.type_k}/{options.type_v}"
    cache = cache_bytes_of(header, options, context) / 1e9
    reduced = f" (memory does not suffice for {wanted})" if context < wanted else ""
    on_gpu = f", {gpu_layers} of {layers_of(header)} layers on the GPU" if gpu_layers else ""
    return (
        f"{options.sequences} × {context} tokens of context{reduced}, {types} KV cache of {cache:.2f} GB, "
        f"{threads_in_words(options.threads or usable_cores())}{on_gpu}"
    )


def free_gpu_bytes() -> int:
    """Free memory of all GPUs together."""
    library.start()
    libggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    total_free = 0
    for number in range(libggml.ggml_backend_dev_count()):
        device = ctypes.c_void_p(libggml.ggml_backend_dev_get(ctypes.c_size_t(number)))
        if libggml.ggml_backend_dev_type(device) in GPU_KINDS:
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            libggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
            total_free += free.value
    return total_free
