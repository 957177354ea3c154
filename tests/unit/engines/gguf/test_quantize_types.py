from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
import pytest
from llama_cpp._ggml import libggml

from edgellm.engines.gguf import types
from edgellm.engines.gguf.types import ALIASES, FILE_TYPES, NOT_FOR_WEIGHTS, TENSOR_TYPES, TensorType
from edgellm.errors import UsageError


@pytest.fixture(scope="module")
def ggml() -> ctypes.CDLL:
    libggml.ggml_type_name.restype = ctypes.c_char_p
    libggml.ggml_type_size.restype = ctypes.c_size_t
    libggml.ggml_blck_size.restype = ctypes.c_int64
    libggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    libggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    libggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    return libggml


@pytest.mark.parametrize("name", TENSOR_TYPES)
def test_a_tensor_type_has_the_number_name_and_block_of_the_library(ggml: ctypes.CDLL, name: str) -> None:
    t = TENSOR_TYPES[name]
    assert ggml.ggml_type_name(t.number).decode().upper() == name
    assert (ggml.ggml_blck_size(t.number), ggml.ggml_type_size(t.number)) == (t.block_weights, t.block_bytes)
    assert ggml.ggml_quantize_requires_imatrix(t.number) == t.dies_without_imatrix


def test_every_type_of_the_library_is_known(ggml: ctypes.CDLL) -> None:
    library = {ggml.ggml_type_name(i).decode().upper() for i in range(43) if ggml.ggml_blck_size(i)}
    assert library == TENSOR_TYPES.keys() | set(NOT_FOR_WEIGHTS)


@pytest.mark.parametrize("name", FILE_TYPES)
def test_a_file_type_has_the_number_of_the_library(name: str) -> None:
    constant = "LLAMA_FTYPE_ALL_F32" if name == "F32" else f"LLAMA_FTYPE_MOSTLY_{name}"
    assert getattr(llama_cpp, constant) == FILE_TYPES[name].number


def test_every_file_type_of_the_library_is_known() -> None:
    constants = {n.removeprefix("LLAMA_FTYPE_MOSTLY_") for n in dir(llama_cpp) if n.startswith("LLAMA_FTYPE_MOSTLY_")}
    # NVFP4 has a number, but the quantizer calls it an invalid output file type.
    assert constants - {"NVFP4"} == FILE_TYPES.keys() - {"F32"}


@pytest.mark.parametrize("name", [n for n, t in TENSOR_TYPES.items() if t.is_quantized and not t.needs_imatrix])
def test_an_importance_matrix_changes_the_bytes_of_just_the_types_that_use_one(ggml: ctypes.CDLL, name: str) -> None:
    t, rng = TENSOR_TYPES[name], np.random.default_rng(0)
    rows = rng.standard_normal((16, 256)).astype(np.float32)

    def quantized(weights: np.ndarray) -> bytes:
        out = np.zeros(t.size_bytes(256, 16), np.uint8)
        ggml.ggml_quantize_chunk(t.number, rows.ctypes.data, out.ctypes.data, 0, 16, 256, weights.ctypes.data)
        return out.tobytes()

    even, uneven = np.ones(256, np.float32), (10 ** rng.uniform(-3, 3, 256)).astype(np.float32)
    assert (quantized(even) != quantized(uneven)) == t.uses_imatrix


def test_names_are_read_in_any_case_and_aliases_as_llama_quantize_reads_them() -> None:
    assert types.file_type("q4_k_m").name == "Q4_K_M"
    assert [types.file_type(alias).name for alias in ALIASES] == ["Q3_K_M", "Q4_K_M", "Q5_K_M"]
    assert types.tensor_type("q4_K").name == "Q4_K"


def test_an_unknown_type_is_refused_with_the_nearest_spellings() -> None:
    with pytest.raises(UsageError, match="did you mean Q4_K_M or"):
        types.file_type("Q4KM")
    with pytest.raises(UsageError, match="known are F32, F16"):
        types.file_type("zzz")


def test_a_tensor_type_is_no_file_type_and_the_other_way_round() -> None:
    with pytest.raises(UsageError, match="NVFP4 is a type for single tensors"):
        types.file_type("NVFP4")
    with pytest.raises(UsageError, match=r"Q4_K_M is a mixture for whole files; .* its tensor type, Q4_K"):
        types.tensor_type("Q4_K_M")


@pytest.mark.parametrize("name", NOT_FOR_WEIGHTS)
def test_types_that_would_abort_llama_cpp_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot hold weights"):
        types.tensor_type(name)


@pytest.mark.parametrize(
    ("wanted", "width", "got"),
    [
        ("Q4_K", 1024, "Q4_K"), ("Q4_K", 960, "Q5_0"), ("Q5_K", 960, "Q5_1"), ("Q6_K", 960, "Q8_0"),
        ("Q3_K", 960, "Q4_0"), ("Q2_K", 960, "Q4_0"), ("TQ1_0", 960, "Q4_0"), ("IQ4_XS", 960, "IQ4_NL"),
        ("IQ1_S", 960, "IQ4_NL"), ("Q2_0", 960, "Q2_0"), ("NVFP4", 960, "NVFP4"), ("Q2_0", 96, "Q4_0"),
        ("Q8_0", 80, "F16"), ("Q4_K", 80, "F16"), ("BF16", 7, "BF16"),
    ],
)  # fmt: skip
def test_a_width_that_does_not_fit_the_block_gets_llama_cpps_fallback(wanted: str, width: int, got: str) -> None:
    assert types.fitting(TENSOR_TYPES[wanted], "blk.0.ffn_down.weight", width).name == got


def test_a_type_without_fallback_is_refused_where_it_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"blocks of 128 and cannot hold the rows of 960 of blk\.0"):
        types.fitting(TENSOR_TYPES["Q1_0"], "blk.0.ffn_down.weight", 960)


def test_bits_per_weight_come_from_the_block() -> None:
    assert TensorType("Q8_0", 8, 32, 34).bits_per_weight == 8.5
    assert TENSOR_TYPES["Q4_K"].bits_per_weight == 4.5
