"""Rules over a plan: which pattern decides which tensor, what is refused, how large the file will be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgellm.engines.gguf import types
from edgellm.engines.gguf.imatrix_file import Floats
from edgellm.engines.gguf.quantize_log import Plan, PlannedTensor
from edgellm.engines.gguf.reader import padded
from edgellm.engines.gguf.types import TENSOR_TYPES, FileType, TensorType
from edgellm.errors import BadInput, UsageError

Patterns = Mapping[re.Pattern[str], TensorType]

PACKED = "MXFP4"  # the only quantized type that checkpoints hold and engines take over bit for bit
EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")


def is_packed(plan: Plan) -> bool:
    """Whether some weights are published in four bits, so that there is nothing to quantize from."""
    return any(t.source == PACKED for t in plan.values())


def with_packed_kept(plan: Plan) -> Plan:
    """The plan in which weights that are published in four bits stay as they are."""
    return {
        name: replace(t, target=PACKED, wanted=PACKED) if t.source == PACKED else t for name, t in plan.items()
    }  # fmt: skip


def by_pattern(tensor_types: Mapping[str, str]) -> Patterns:
    """Compile patterns and look up types; raises UsageError for either that is none."""
    patterns = {}
    for pattern, name in tensor_types.items():
        try:
            patterns[re.compile(pattern)] = types.tensor_type(name)
        except re.error as e:
            raise UsageError(f"the tensor pattern {pattern!r} is no regular expression ({e}); correct it") from e
    return patterns


def deciding_patterns(names: Iterable[str], patterns: Patterns) -> dict[str, re.Pattern[str]]:
    """For each of these tensors that any pattern matches, the first that does."""
    firsts = {name: next((p for p in patterns if p.search(name)), None) for name in names}
    return {name: first for name, first in firsts.items() if first is not None}


def with_types(plan: Plan, chosen: Mapping[str, TensorType]) -> Plan:
    """The plan with the chosen types, or what they fall back to; raises UsageError where nothing fits."""

    def one(t: PlannedTensor) -> PlannedTensor:
        wanted = chosen.get(t.name)
        if wanted is None:
            return t
        return replace(t, target=types.fitting(wanted, t.name, t.shape[0]).name, wanted=wanted.name)

    return {name: one(t) for name, t in plan.items()}


def settle(
    mixture: Plan, asked: Plan, confirmed: Plan, deciding: Mapping[str, re.Pattern[str]], patterns: Patterns
) -> Plan:  # fmt: skip
    """The asked plan where llama.cpp confirmed it; tensors that it never quantizes stay as they are.

    Raises UsageError for a pattern that decides no tensor at all.
    """
    obeyed = {name for name in deciding if confirmed[name].target == asked[name].target}
    idle = set(patterns) - {deciding[name] for name in obeyed}
    if idle:
        raise UsageError(
            f"the pattern {min(p.pattern for p in idle)!r} decides no tensor: none is called so, an earlier "
            "pattern takes it, or llama.cpp never quantizes it; `edgellm show` lists the names"
        )
    return {name: mixture[name] if name in deciding and name not in obeyed else t for name, t in asked.items()}


def check_widths(plan: Plan) -> None:
    """Raise UsageError for tensors that would silently get another type, because their rows do not fit the blocks."""
    fallen = [t for t in plan.values() if t.wanted != t.target]
    if not fallen:
        return
    first = min(fallen, key=lambda t: (TENSOR_TYPES[t.wanted].bits_per_weight, t.name))
    width, others = first.shape[0], len(fallen) - 1
    wanted = ", ".join(sorted({t.wanted for t in fallen}))
    got = ", ".join(sorted({t.target for t in fallen}))
    pattern = re.sub(r"^blk\.\d+\.|\.weight$", "", first.name)
    raise UsageError(
        f"{first.name}{f' and {others} more' if others else ''} would be {wanted}, whose blocks do not fit rows of "
        f"{width}: name a type that does, for example --tensor-type "
        f"{pattern}={types.instead_of(TENSOR_TYPES[first.wanted], width).name} (rows of {width} fit "
        f"{', '.join(t.name for t in types.types_for(width))}), or take llama.cpp's replacement ({got}) with "
        "--allow-fallback"
    )


def has_values(tensor: PlannedTensor, values: Mapping[str, Floats]) -> bool:
    """Whether an importance matrix has one value for each input of each of the tensor's matrices."""
    found = values.get(tensor.name)
    return found is not None and found.size == tensor.shape[0] * tensor.shape[2]


def check_floats(plan: Plan) -> None:
    """Raise BadInput for a tensor that would be quantized a second time."""
    for t in plan.values():
        if t.target != t.source and TENSOR_TYPES[t.source].is_quantized:
            raise BadInput(f"{t.name} is {t.source} already; quantize from the F16, BF16 or F32 file instead")


def check_importance(plan: Plan, file_type: FileType, values: Mapping[str, Floats]) -> None:
    """Raise BadInput for a matrix of another model or a quantized source, UsageError for a missing entry."""
    if values and not values.keys() & plan.keys():
        raise BadInput("the importance matrix names no tensor of this model; calibrate this model")
    check_floats(plan)
    for t in plan.values():
        if t.target == t.source or has_values(t, values):
            continue
        if t.name in values and t.name not in EMBEDDINGS:
            raise BadInput(
                f"the importance matrix has {values[t.name].size} values for {t.name} and the tensor "
                f"{t.shape[0] * t.shape[2]} inputs: it was made for another model; calibrate this one"
            )
        if needs_values(t, file_type):
            raise UsageError(
                f"{t.name} as {t.target} needs an importance matrix that covers it; calibrate, "
                "or choose another type for it"
            )


def needs_values(tensor: PlannedTensor, file_type: FileType) -> bool:
    target = TENSOR_TYPES[tensor.target]
    if tensor.name in (*EMBEDDINGS, "output.weight"):
        return target.dies_without_imatrix
    return target.needs_imatrix or (file_type.name == "Q2_K_S" and target.name == "Q2_K")


def planned_bytes(plan: Plan, source_bytes: Mapping[str, int]) -> int:
    """Bytes of all tensors as they will lie in the file; `source_bytes` has those of each in the source."""

    def one(t: PlannedTensor) -> int:
        if t.target == t.source:
            return source_bytes[t.name]
        return TENSOR_TYPES[t.target].size_bytes(t.shape[0], t.weights // t.shape[0])

    return sum(padded(one(t)) for t in plan.values())
