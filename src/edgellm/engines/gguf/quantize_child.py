"""The process in which llama.cpp quantizes: `python -m edgellm.engines.gguf.quantize_child`.

It answers three requests of quantize.py (see child.py for how they travel):
- imatrix: keeps {name: values} for the requests that follow; the payload holds all values, float32, in order
- quantize: one call of llama_model_quantize, a dry run or a real one
- inspect: the tensors of a GGUF file
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

import llama_cpp
from llama_cpp._ggml import libggml

from edgellm.engines.cores import usable_cores
from edgellm.engines.gguf import child, library
from edgellm.engines.gguf.imatrix_file import Floats
from edgellm.engines.gguf.imatrix_transfer import received_values
from edgellm.errors import BadInput, UsageError

MAX_BUFFER_BYTES = 256 << 20  # rows in memory at once; llama.cpp's own 8 GiB is more than an edge machine has
TAG_INT, TAG_STRING = 0, 3  # enum llama_model_kv_override_type
TEXT_BYTES = 127  # of a metadata override, without its closing zero

_imatrix: dict[str, Floats] = {}


class GgufStart(ctypes.Structure):
    """gguf_init_params: without allocation and context, so that only the header is read."""

    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _to_stdout(_level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    child.log(text)


def start() -> None:
    library.start()
    llama_cpp.llama_log_set(_to_stdout, ctypes.c_void_p(0))


def handle(request: dict[str, Any], payload: bytearray) -> Mapping[str, object]:
    match request["do"]:
        case "imatrix":
            return keep_imatrix(request["sizes"], payload)
        case "quantize":
            return {"code": quantize(request)}
        case "inspect":
            return inspect(request["path"])
    raise UsageError(f"there is no request called {request['do']!r}")


def keep_imatrix(sizes: Mapping[str, int], payload: bytearray) -> Mapping[str, object]:
    _imatrix.clear()
    _imatrix.update(received_values(sizes, payload))
    return {}


def quantize(request: dict[str, Any]) -> int:
    """Call llama_model_quantize; 0 is success, 1 a failure that the log explains."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = request["ftype"]
    parameters.nthread = request["threads"] or usable_cores()
    parameters.dry_run = request["dry_run"]
    parameters.max_buf_size = MAX_BUFFER_BYTES
    parameters.imatrix = imatrix_array()
    parameters.tt_overrides = type_array(request["types"])
    parameters.kv_overrides = metadata_array(request["metadata"])
    source, out = request["source"].encode(), request["out"].encode()
    return int(llama_cpp.llama_model_quantize(source, out, ctypes.byref(parameters)))


def imatrix_array() -> ctypes.Array[Any] | None:
    if not _imatrix:
        return None
    item = llama_cpp.llama_model_imatrix_data
    float_pointer = ctypes.POINTER(ctypes.c_float)
    rows = [item(name.encode(), v.ctypes.data_as(float_pointer), v.size) for name, v in _imatrix.items()]
    return (item * (len(rows) + 1))(*rows, item(None, None, 0))


def type_array(types: list[tuple[str, int]]) -> ctypes.Array[Any] | None:
    if not types:
        return None
    item = llama_cpp.llama_model_tensor_override
    rows = [item(pattern.encode(), number) for pattern, number in types]
    return (item * (len(rows) + 1))(*rows, item(None, 0))


def metadata_array(metadata: dict[str, int | str]) -> ctypes.Array[Any] | None:
    """Metadata to set in the output: whole numbers are written as u32, text is cut to 127 bytes."""
    if not metadata:
        return None
    item = llama_cpp.llama_model_kv_override
    rows = (item * (len(metadata) + 1))()  # zeroed: an empty key ends the list
    for row, (key, value) in zip(rows, metadata.items(), strict=False):
        row.key = key.encode()
        if isinstance(value, int):
            row.tag, row.value.val_i64 = TAG_INT, value
        else:
            cut = value.encode()[:TEXT_BYTES].decode("utf-8", "ignore").encode()
            row.tag, row.value.val_str = TAG_STRING, cut
    return rows


@cache
def gguf_functions() -> ctypes.CDLL:
    for name, result, arguments in (
        ("gguf_init_from_file", ctypes.c_void_p, [ctypes.c_char_p, GgufStart]),
        ("gguf_free", None, [ctypes.c_void_p]),
        ("gguf_get_n_tensors", ctypes.c_int64, [ctypes.c_void_p]),
        ("gguf_get_data_offset", ctypes.c_size_t, [ctypes.c_void_p]),
        ("gguf_get_tensor_name", ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int64]),
        ("gguf_get_tensor_type", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int64]),
        ("gguf_get_tensor_size", ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_int64]),
    ):
        function = getattr(libggml, name)
        function.restype, function.argtypes = result, arguments
    library: ctypes.CDLL = libggml
    return library


def inspect(path: str) -> Mapping[str, object]:
    """`header_bytes` of the file, and {name: [ggml_type, bytes]} of its tensors."""
    library = gguf_functions()
    context = library.gguf_init_from_file(path.encode(), GgufStart(True, None))
    if not context:
        raise BadInput(f"{path} is not a GGUF file that llama.cpp can read; convert the checkpoint again")
    try:
        tensors = {
            library.gguf_get_tensor_name(context, i).decode(): [
                library.gguf_get_tensor_type(context, i), library.gguf_get_tensor_size(context, i)
            ]
            for i in range(library.gguf_get_n_tensors(context))
        }  # fmt: skip
        return {"header_bytes": library.gguf_get_data_offset(context), "tensors": tensors}
    finally:
        library.gguf_free(context)


if __name__ == "__main__":
    start()
    child.serve(handle)
