"""Every quantization type of llama.cpp by name: numbers, block shapes, what each one needs, what replaces it.

A **tensor type** says how one tensor is stored (`Q4_K`). A **file type** is a mixture that llama.cpp chooses
for a whole model (`Q4_K_M`: mostly Q4_K, some Q6_K). Numbers and rules are those of `ggml_type`,
`llama_ftype`, `tensor_type_fallback` and `tensor_requires_imatrix` of the pinned llama-cpp-python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from edgellm.errors import UsageError


@dataclass(frozen=True)
class TensorType:
    """How one tensor is stored. `number` is its `ggml_type`."""

    name: str
    number: int
    block_weights: int  # a row's width must be a multiple of this
    block_bytes: int
    fallback: str | None = None  # what llama.cpp takes where the width does not fit; None: it has no rule
    needs_imatrix: bool = False  # refused without one, except for token_embd and output
    dies_without_imatrix: bool = False  # for token_embd and output too: an assertion ends the process
    uses_imatrix: bool = True  # whether an importance matrix changes the bytes at all

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.block_bytes / self.block_weights

    @property
    def is_quantized(self) -> bool:
        return self.block_weights > 1

    def size_bytes(self, width: int, rows: int) -> int:
        """Bytes of `rows` rows of `width` weights each."""
        return rows * (width // self.block_weights) * self.block_bytes


@dataclass(frozen=True)
class FileType:
    """A mixture for a whole file. `number` is its `llama_ftype`."""

    name: str
    number: int
    default: str  # the tensor type that most tensors get
    needs_imatrix: bool = False


T = TypeVar("T", TensorType, FileType)


def _by_name(*rows: T) -> Mapping[str, T]:
    return {row.name: row for row in rows}


TENSOR_TYPES: Mapping[str, TensorType] = _by_name(
    TensorType("F32", 0, 1, 4, uses_imatrix=False),
    TensorType("F16", 1, 1, 2, uses_imatrix=False),
    TensorType("BF16", 30, 1, 2, uses_imatrix=False),
    TensorType("Q8_0", 8, 32, 34, "F16", uses_imatrix=False),
    TensorType("Q6_K", 14, 256, 210, "Q8_0"),
    TensorType("Q5_K", 13, 256, 176, "Q5_1"),
    TensorType("Q5_1", 7, 32, 24, "F16"),
    TensorType("Q5_0", 6, 32, 22, "F16"),
    TensorType("Q4_K", 12, 256, 144, "Q5_0"),
    TensorType("Q4_1", 3, 32, 20, "F16"),
    TensorType("Q4_0", 2, 32, 18, "F16"),
    TensorType("IQ4_NL", 20, 32, 18, "F16"),
    TensorType("IQ4_XS", 23, 256, 136, "IQ4_NL"),
    TensorType("MXFP4", 39, 32, 17, "F16", uses_imatrix=False),
    TensorType("NVFP4", 40, 64, 36, uses_imatrix=False),
    TensorType("Q3_K", 11, 256, 110, "Q4_0"),
    TensorType("IQ3_S", 21, 256, 110, "IQ4_NL"),
    TensorType("IQ3_XXS", 18, 256, 98, "IQ4_NL", needs_imatrix=True),
    TensorType("Q2_K", 10, 256, 84, "Q4_0"),
    TensorType("IQ2_S", 22, 256, 82, "IQ4_NL", needs_imatrix=True),
    TensorType("IQ2_XS", 17, 256, 74, "IQ4_NL", needs_imatrix=True, dies_without_imatrix=True),
    TensorType("IQ2_XXS", 16, 256, 66, "IQ4_NL", needs_imatrix=True, dies_without_imatrix=True),
    TensorType("Q2_0", 42, 64, 18, "Q4_0", uses_imatrix=False),
    TensorType("TQ2_0", 35, 256, 66, "Q4_0", uses_imatrix=False),
    TensorType("TQ1_0", 34, 256, 54, "Q4_0", uses_imatrix=False),
    TensorType("IQ1_M", 29, 256, 56, "IQ4_NL", needs_imatrix=True),
    TensorType("IQ1_S", 19, 256, 50, "IQ4_NL", needs_imatrix=True, dies_without_imatrix=True),
    TensorType("Q1_0", 41, 128, 18, uses_imatrix=False),
)

# Names of ggml types that are no storage for weights: asking llama.cpp for one ends the process.
NOT_FOR_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")

FILE_TYPES: Mapping[str, FileType] = _by_name(
    FileType("F32", 0, "F32"),
    FileType("F16", 1, "F16"),
    FileType("BF16", 32, "BF16"),
    FileType("Q8_0", 7, "Q8_0"),
    FileType("Q6_K", 18, "Q6_K"),
    FileType("Q5_K_M", 17, "Q5_K"),
    FileType("Q5_K_S", 16, "Q5_K"),
    FileType("Q5_1", 9, "Q5_1"),
    FileType("Q5_0", 8, "Q5_0"),
    FileType("Q4_K_M", 15, "Q4_K"),
    FileType("Q4_K_S", 14, "Q4_K"),
    FileType("Q4_1", 3, "Q4_1"),
    FileType("Q4_0", 2, "Q4_0"),
    FileType("IQ4_NL", 25, "IQ4_NL"),
    FileType("IQ4_XS", 30, "IQ4_XS"),
    FileType("MXFP4_MOE", 38, "MXFP4"),
    FileType("Q3_K_L", 13, "Q3_K"),
    FileType("Q3_K_M", 12, "Q3_K"),
    FileType("Q3_K_S", 11, "Q3_K"),
    FileType("IQ3_M", 27, "IQ3_S"),
    FileType("IQ3_S", 26, "IQ3_S"),
    FileType("IQ3_XS", 22, "IQ3_S", needs_imatrix=True),
    FileType("IQ3_XXS", 23, "IQ3_XXS", needs_imatrix=True),
    FileType("Q2_K", 10, "Q2_K"),
    FileType("Q2_K_S", 21, "Q2_K", needs_imatrix=True),
    FileType("IQ2_M", 29, "IQ2_S", needs_imatrix=True),
    FileType("IQ2_S", 28, "IQ2_XS", needs_imatrix=True),
    FileType("IQ2_XS", 20, "IQ2_XS", needs_imatrix=True),
    FileType("IQ2_XXS", 19, "IQ2_XXS", needs_imatrix=True),
    FileType("Q2_0", 41, "Q2_0"),
    FileType("TQ2_0", 37, "TQ2_0"),
    FileType("TQ1_0", 36, "TQ1_0"),
    FileType("IQ1_M", 31, "IQ1_M", needs_imatrix=True),
    FileType("IQ1_S", 24, "IQ1_S", needs_imatrix=True),
    FileType("Q1_0", 40, "Q1_0"),
)

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # as llama-quantize reads them


def file_type(name: str) -> FileType:
    """The file type of that name, in any case; raises UsageError with the nearest spellings."""
    upper = name.upper()
    found = FILE_TYPES.get(ALIASES.get(upper, upper))
    if found is None:
        if upper in TENSOR_TYPES:
            raise UsageError(
                f"{upper} is a type for single tensors, not for a whole file; choose a file type "
                f"such as Q4_K_M and give {upper} by tensor"
            )
        raise UsageError(unknown("quantization type", name, FILE_TYPES))
    return found


def tensor_type(name: str) -> TensorType:
    """The tensor type of that name, in any case; raises UsageError with the nearest spellings."""
    upper = name.upper()
    if upper in NOT_FOR_WEIGHTS:
        raise UsageError(f"{upper} cannot hold weights in a model file; choose another type, such as Q8_0 or Q4_K")
    found = TENSOR_TYPES.get(upper)
    if found is None:
        if upper in FILE_TYPES:
            raise UsageError(
                f"{upper} is a mixture for whole files; for one tensor name its tensor type, "
                f"{FILE_TYPES[upper].default}"
            )
        raise UsageError(unknown("tensor type", name, TENSOR_TYPES))
    return found


def unknown(what: str, name: str, known: Mapping[str, TensorType] | Mapping[str, FileType]) -> str:
    near = get_close_matches(name.upper(), known, n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"there is no {what} called {name!r}; {advice}"


def fitting(wanted: TensorType, tensor: str, width: int) -> TensorType:
    """What the tensor of that name, with rows of `width` weights, is stored as when `wanted` is asked for.

    Raises UsageError where it has no rule and refuses the whole file.
    """
    if width % wanted.block_weights == 0:
        return wanted
    if wanted.fallback is None:
        raise UsageError(
            f"{wanted.name} stores weights in blocks of {wanted.block_weights} and cannot hold the rows "
            f"of {width} of {tensor}; choose another type for it"
        )
    replacement = TENSOR_TYPES[wanted.fallback]
    return replacement if width % replacement.block_weights == 0 else TENSOR_TYPES["F16"]


def types_for(width: int) -> list[TensorType]:
    """The types whose blocks fit rows of `width` weights, quantized ones before floats, more bits first."""
    fits = [t for t in TENSOR_TYPES.values() if width % t.block_weights == 0]
    return sorted(fits, key=lambda t: (not t.is_quantized, -t.bits_per_weight))


def instead_of(wanted: TensorType, width: int) -> TensorType:
    """What to advise where `wanted` does not fit: the smallest common type of at least its bits that does, else F16."""
    common = [TENSOR_TYPES[name] for name in ("IQ4_NL", "Q5_0", "Q5_1", "Q8_0")]
    enough = (t for t in common if width % t.block_weights == 0 and t.bits_per_weight >= wanted.bits_per_weight)
    return next(enough, TENSOR_TYPES["F16"])
