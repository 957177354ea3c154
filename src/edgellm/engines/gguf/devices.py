"""What this build of llama.cpp computes with."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import llama_cpp
from llama_cpp._ggml import libggml

from edgellm.engines.gguf import library
from edgellm.records.machine import Engine

KINDS = ("cpu", "gpu", "integrated gpu", "accelerator")  # enum ggml_backend_dev_type


def describe() -> Engine:
    library.start()
    return Engine(
        loads=True, build=library.build(), backends=tuple(backends()), instruction_sets=tuple(instruction_sets()),
        devices=tuple(devices()),
    )  # fmt: skip


def instruction_sets() -> list[str]:
    """As llama.cpp names what its processor code was compiled with and finds here: AVX512_VNNI, NEON."""
    system = llama_cpp.llama_print_system_info().decode()
    processor = system.partition("CPU :")[2] or system
    return [name.split()[-1] for name in re.findall(r"[\w :]+(?= = 1\b)", processor)]


def backends() -> list[str]:
    """CPU, and CUDA, Vulkan, Metal … as far as they were compiled in."""
    libggml.ggml_backend_reg_count.restype = ctypes.c_size_t
    libggml.ggml_backend_reg_get.restype = ctypes.c_void_p
    return [
        words("ggml_backend_reg_name", libggml.ggml_backend_reg_get(ctypes.c_size_t(number)))
        for number in range(libggml.ggml_backend_reg_count())
    ]


def devices() -> list[dict[str, Any]]:
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    libggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    found = []
    for number in range(libggml.ggml_backend_dev_count()):
        device = libggml.ggml_backend_dev_get(ctypes.c_size_t(number))
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        libggml.ggml_backend_dev_memory(ctypes.c_void_p(device), ctypes.byref(free), ctypes.byref(total))
        kind = libggml.ggml_backend_dev_type(ctypes.c_void_p(device))
        found.append(
            {
                "name": words("ggml_backend_dev_name", device),
                "description": words("ggml_backend_dev_description", device),
                "kind": KINDS[kind] if kind < len(KINDS) else "other",
                "memory_bytes": total.value,
                "free_memory_bytes": free.value,
            }
        )
    return found


def words(function: str, handle: int) -> str:
    call = getattr(libggml, function)
    call.restype, call.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    said: bytes = call(handle)
    return said.decode("utf-8", "replace")
