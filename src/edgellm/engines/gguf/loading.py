"""From a GGUF file and options to llama.cpp's model and context, or to a sentence that says why not."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp._ggml import libggml

from edgellm.engines.cores import usable_cores
from edgellm.engines.gguf import library
from edgellm.engines.gguf.adapter_check import check_adapter
from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.soundness import check_model_file, unknown_architecture
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, UsageError

# The types that llama.cpp accepts for a KV cache, by its names, with its numbers (enum ggml_type).
CACHE_TYPES = {
    "f32": 0, "f16": 1, "bf16": 30, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20,
}  # fmt: skip
FLOAT_CACHE_TYPES = ("f32", "f16", "bf16")
ALL_LAYERS = -1  # for llama.cpp
EXPERT_WEIGHTS = rb"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
SEQUENCES_LIMIT = 256  # LLAMA_MAX_SEQ
CELLS_STEP = 256  # llama.cpp rounds the cells of a sequence up to this
DEFAULT_CONTEXT_LIMIT = 4096  # some families declare ten million tokens: never allocate what nobody asked for


@dataclass(frozen=True)
class GgufOptions(RuntimeOptions):
    """What can be chosen for this engine beyond what every engine takes."""

    step_tokens: int = 2048  # the most tokens of one step (n_batch)
    ubatch_tokens: int = 512  # how many of them are computed at once; more cost memory


def check_options(options: GgufOptions) -> None:
    """Raises UsageError for options that llama.cpp would refuse, or abort the process over."""
    if not 1 <= options.sequences <= SEQUENCES_LIMIT:
        raise UsageError(f"llama.cpp holds 1 to {SEQUENCES_LIMIT} sequences, not {options.sequences}")
    if options.context_tokens < 0 or options.threads < 0:
        raise UsageError("context_tokens and threads cannot be negative; 0 chooses a default")
    if options.step_tokens < options.sequences or options.ubatch_tokens < 1:
        raise UsageError("step_tokens must be at least the number of sequences, and ubatch_tokens at least 1")
    if options.gpu_layers and not llama_cpp.llama_supports_gpu_offload():
        raise UsageError(
            "this llama.cpp was built without support for a GPU, so it has no place for --gpu-layers; leave the option "
            "out, or install a build of llama-cpp-python for your GPU"
        )
    if options.gpu_layers is not None and options.gpu_layers < 0:
        raise UsageError(f"gpu_layers is {options.gpu_layers}; it must be 0 or more")
    for name in (options.type_k, options.type_v):
        if name not in CACHE_TYPES:
            raise UsageError(f"a KV cache cannot be of type {name!r}; it can be {', '.join(CACHE_TYPES)}")
    if flash_attention_type(options) == 0 and options.type_v not in FLOAT_CACHE_TYPES:
        raise UsageError(
            f"a {options.type_v} V cache needs flash attention, which is off here; "
            "allow it and take no f32 for K, or use f16 for V"
        )


class BufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override of llama.h."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def experts_in_memory() -> Any:
    """A list that keeps the weights of experts where the processor is; it ends with an empty entry."""
    libggml.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p
    entry = BufferOverride(EXPERT_WEIGHTS, libggml.ggml_backend_cpu_buffer_type())
    return (BufferOverride * 2)(entry, BufferOverride(None, None))


def checked_header(artifact: Path) -> Header:
    """The header of a model that llama.cpp can be given; raises BadInput and UsageError as `load_model`."""
    if not artifact.is_file():
        raise BadInput(f"there is no file at {artifact}; give the path of a .gguf file")
    header = read_header(artifact)
    check_model_file(header)
    return header


def load_model(header: Header, options: RuntimeOptions, *, rearranged: bool = True) -> Any:
    """The `llama_model *` of a file whose header was checked; the caller frees it. `gpu_layers` None takes all.

    `rearranged`: whether llama.cpp may rearrange weights for the processor; otherwise they stay in the file's pages.

    Raises BadInput if the file is missing or damaged, UsageError if it holds no model, UnknownFamily (one of these)
    if llama.cpp does not know its architecture.
    """
    library.start()
    artifact = header.path
    library.log.clear()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = rearranged
    if llama_cpp.llama_supports_gpu_offload():
        parameters.n_gpu_layers = ALL_LAYERS if options.gpu_layers is None else options.gpu_layers
        # Without a GPU they are in memory anyway, and naming the place would keep them from being repacked for speed.
        overrides = experts_in_memory() if options.cpu_moe else None
        parameters.tensor_buft_overrides = overrides and ctypes.addressof(overrides)
    model = llama_cpp.llama_model_load_from_file(os.fsencode(artifact), parameters)
    if not model:
        reason = library.log.reason()
        raise unknown_architecture(artifact, reason) or BadInput(
            f"{artifact} cannot be loaded ({reason or 'llama.cpp gave no reason'}); fetch or make the file again"
        )
    return model


def load_adapters(artifact: Path, model: Any, adapters: Mapping[str, Path]) -> dict[str, Any]:
    """The `llama_adapter_lora *` of each adapter file; they are freed with the model.

    Must come before the context is made, which makes room for them. Raises as `check_adapter`.
    """
    base = read_header(artifact)
    found = {}
    for name, path in adapters.items():
        if not path.is_file():
            raise BadInput(f"there is no adapter file at {path}; give a PEFT folder or a GGUF adapter")
        check_adapter(read_header(path), base)
        library.log.clear()
        found[name] = llama_cpp.llama_adapter_lora_init(model, os.fsencode(path))
        if not found[name]:
            raise BadInput(f"llama.cpp cannot load the adapter {path} ({library.log.reason()}); make the file again")
    return found


def check_model(artifact: Path, model: Any) -> None:
    """Raises BadInput for a model that cannot continue text, or that would make llama.cpp hang."""
    if llama_cpp.llama_model_has_encoder(model) or not llama_cpp.llama_model_has_decoder(model):
        raise BadInput(f"{artifact} is not a model that continues text; edgellm runs decoder-only models")
    first_layer_heads = llama_cpp.llama_model_n_head(model)
    if first_layer_heads == 0 and metadata(model, "general.architecture") == "plamo2":
        # RoPE then gets no dimensions: llama_decode never returns on a CPU, and rotates nothing on a GPU.
        raise BadInput(
            f"{artifact} gives 0 attention heads for its first layer, which makes llama.cpp hang; "
            "`edgellm quantize` makes a cured copy of it and leaves the file as it is"
        )


def context_tokens_of(artifact: Path, model: Any, asked: int) -> int:
    """The context of one sequence: `asked`, or for 0 what the model declares, at most 4,096.

    Raises UsageError if more is asked than the model declares.
    """
    declared = int(llama_cpp.llama_model_n_ctx_train(model))
    if asked > declared:
        raise UsageError(f"{artifact} holds at most {declared} tokens of context, not {asked}; ask for less")
    return asked or min(declared, DEFAULT_CONTEXT_LIMIT)


def make_context(artifact: Path, model: Any, options: GgufOptions, context_tokens: int) -> Any:
    """The `llama_context *` for a model, which the caller frees before the model.

    Raises EngineFailed if there is no room for it, BadInput if the model keeps no memory of a text.
    """
    threads = options.threads or usable_cores()
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = options.sequences * -(-context_tokens // CELLS_STEP) * CELLS_STEP
    settings.n_batch = options.step_tokens
    settings.n_ubatch = options.ubatch_tokens
    settings.n_seq_max = options.sequences
    settings.n_threads = settings.n_threads_batch = threads
    settings.type_k = CACHE_TYPES[options.type_k]
    settings.type_v = CACHE_TYPES[options.type_v]
    settings.flash_attn_type = flash_attention_type(options)
    settings.kv_unified = False
    library.log.clear()
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise EngineFailed(
            f"llama.cpp cannot hold {options.sequences} sequences of {context_tokens} tokens for {artifact} "
            f"({library.log.reason() or 'it gave no reason'}); ask for less context or fewer sequences"
        )
    if not llama_cpp.llama_get_memory(context):
        llama_cpp.llama_free(context)
        raise BadInput(f"{artifact} is not a model that continues text; edgellm runs decoder-only models")
    return context


def flash_attention_type(options: GgufOptions) -> int:
    """Of `enum llama_flash_attn_type`: -1 as llama.cpp likes, 0 off, 1 on."""
    if options.flash_attention is None:
        return 0 if "f32" in (options.type_k, options.type_v) else -1
    return int(options.flash_attention)


def metadata(model: Any, key: str) -> str:
    """A value of the file's metadata as text; "" where the file has no such key."""
    size = llama_cpp.llama_model_meta_val_str(model, key.encode(), None, 0)
    if size < 0:
        return ""
    value = ctypes.create_string_buffer(size + 1)
    llama_cpp.llama_model_meta_val_str(model, key.encode(), value, len(value))
    return value.value.decode("utf-8", "replace")
