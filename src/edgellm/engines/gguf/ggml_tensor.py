"""ggml_tensor seen through ctypes: its fields, and the numbers that it points to as a numpy array.

The layout belongs to the pinned llama-cpp-python; `check_layout` compares it with the library that is loaded.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from llama_cpp._ggml import libggml
from numpy.typing import NDArray

from edgellm.errors import EngineFailed

OBJECT_BYTES = 32  # ggml_object, which ggml_tensor_overhead() counts in
F32, I32 = 0, 26  # ggml_type
NUMPY_TYPES = {F32: np.dtype(np.float32), I32: np.dtype(np.int32)}


class GgmlTensor(ctypes.Structure):
    """struct ggml_tensor of ggml 0.25. `ne`: elements, innermost first; `nb`: strides in bytes."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    ]


class GgmlStart(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = [
        ("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)
    ]  # fmt: skip


@cache
def functions() -> ctypes.CDLL:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("ggml_tensor_overhead", size, []),
        ("ggml_init", pointer, [GgmlStart]),
        ("ggml_free", None, [pointer]),
        ("ggml_new_tensor_2d", pointer, [pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]),
        ("ggml_set_name", pointer, [pointer, ctypes.c_char_p]),
        ("ggml_mul_mat", pointer, [pointer, pointer, pointer]),
        ("ggml_op_name", ctypes.c_char_p, [ctypes.c_int]),
        ("ggml_nbytes", size, [pointer]),
        ("ggml_get_data", pointer, [pointer]),
        ("ggml_backend_buffer_is_host", ctypes.c_bool, [pointer]),
        ("ggml_backend_tensor_get", None, [pointer, pointer, size, size]),
    ):
        function = getattr(libggml, name)
        function.restype, function.argtypes = result, arguments
    library: ctypes.CDLL = libggml
    return library


def at(address: int) -> GgmlTensor:
    """The tensor at an address; its fields are read when they are asked for."""
    return GgmlTensor.from_address(address)


def check_layout() -> None:
    """Build a small product with ggml and read it back; raises EngineFailed if a field is elsewhere."""
    ggml = functions()
    if ggml.ggml_tensor_overhead() == ctypes.sizeof(GgmlTensor) + OBJECT_BYTES:
        context = ggml.ggml_init(GgmlStart(1 << 16, None, False))
        try:
            if _reads_back(context):
                return
        finally:
            ggml.ggml_free(context)
    raise EngineFailed(
        "this build of llama.cpp lays out its tensors in another way than edgellm reads them and cannot "
        "collect an importance matrix: install the llama-cpp-python that edgellm names in its dependencies"
    )


def _reads_back(context: int) -> bool:
    ggml = functions()
    weight = ggml.ggml_new_tensor_2d(context, F32, 8, 3)
    rows = ggml.ggml_new_tensor_2d(context, F32, 8, 5)
    product = ggml.ggml_mul_mat(context, weight, rows)
    ggml.ggml_set_name(weight, b"blk.0.check.weight")
    found = (
        at(weight).name, at(weight).type, list(at(weight).ne), list(at(rows).nb), list(at(product).ne),
        at(product).op, list(at(product).src[:2]), at(rows).data,
    )  # fmt: skip
    wanted = (
        b"blk.0.check.weight", F32, [8, 3, 1, 1], [4, 32, 160, 160], [3, 5, 1, 1],
        operation("MUL_MAT"), [weight, rows], ggml.ggml_get_data(rows),
    )  # fmt: skip
    if found != wanted:  # nothing may be read through a pointer before this holds
        return False
    values = np.arange(40, dtype=np.float32).reshape(1, 1, 5, 8)
    ctypes.memmove(at(rows).data, values.ctypes.data, values.nbytes)
    return bool((rows_of(rows, on_host=True) == values).all())


@cache
def operation(name: str) -> int:
    """The number of an operation of ggml by its name, such as MUL_MAT."""
    ggml = functions()
    return next(i for i in range(256) if ggml.ggml_op_name(i) == name.encode())


def rows_of(address: int, on_host: bool | None = None) -> NDArray[np.generic]:
    """The tensor's numbers, shape (ne3, ne2, ne1, ne0), with its strides; a copy where they lie on a device.

    A view of ggml's own memory otherwise, good only until the graph goes on. F32 and I32 only.
    """
    ggml, tensor = functions(), at(address)
    size = ggml.ggml_nbytes(address)
    if on_host is None:
        on_host = ggml.ggml_backend_buffer_is_host(tensor.buffer)
    if on_host:
        buffer = (ctypes.c_char * size).from_address(tensor.data)
    else:
        buffer = (ctypes.c_char * size)()
        ggml.ggml_backend_tensor_get(address, buffer, 0, size)
    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    return np.ndarray(shape, NUMPY_TYPES[tensor.type], buffer, strides=strides)
