"""What of a model can be quantized, in groups that get one type together, and which types fit each group."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgellm.engines.gguf import quantize_plan, types
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.imatrix_file import Floats, Imatrix
from edgellm.engines.gguf.imatrix_transfer import send_values
from edgellm.engines.gguf.quantize import CHILD, Order, check_files, plan_types
from edgellm.engines.gguf.quantize_log import PlannedTensor
from edgellm.engines.gguf.reader import IndexReader, padded
from edgellm.engines.gguf.types import TENSOR_TYPES
from edgellm.errors import BadInput, UsageError

# From the largest to the smallest. Rows of other widths than a multiple of 256 cannot hold the first kind. IQ2_S is
# left out: it is as large as Q2_K and as good, and ggml needs seconds to build its tables in every process.
FOR_256 = (
    "F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_XS", "IQ2_XXS",
)  # fmt: skip
FOR_32 = ("F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "MXFP4")
SMALLEST = FOR_256[-1]
# What PLaMo 2's rules keep (families/plamo2.py) is kept in every recurrent family, most of which have no rules here.
KEPT = re.compile(r"\.ssm_(out|dt)\.")
KEPT_TYPE = "F16"
LAYER = re.compile(r"^blk\.(\d+)\.")


@dataclass(frozen=True)
class TensorGroup:
    name: str  # of its first tensor, without `.weight`: blk.3.ffn_gate for gate and up
    role: str  # what groups of other layers share with it: name and shapes, without the number of the layer
    layer: int | None
    tensors: tuple[PlannedTensor, ...]
    types: tuple[str, ...]  # that fit its rows, and its importance values where a type cannot do without

    @property
    def names(self) -> list[str]:
        return [t.name for t in self.tensors]

    def size_bytes(self, type_name: str) -> int:
        """In a file, with the padding between tensors."""
        return sum(padded(stored_bytes(t, type_name)) for t in self.tensors)

    def tensor_bytes(self, type_name: str) -> int:
        """Without the padding."""
        return sum(stored_bytes(t, type_name) for t in self.tensors)


@dataclass(frozen=True)
class Layout:
    """A model as the quantizer sees it."""

    groups: tuple[TensorGroup, ...]
    fixed: dict[str, str]  # tensors that the quantizer would take and that have a given type
    rest_bytes: int  # of the file without the groups: header, fixed tensors, and those that are never quantized
    rest_tensor_bytes: int  # the tensors among them, without padding
    parameters: int


def stored_bytes(tensor: PlannedTensor, type_name: str) -> int:
    return TENSOR_TYPES[type_name].size_bytes(tensor.shape[0], tensor.weights // tensor.shape[0])


def layout_of(source: Path, imatrix: Imatrix | None, tensor_types: Mapping[str, str]) -> Layout:
    """Group the tensors of a GGUF in F32, F16 or BF16; those that `tensor_types` names (pattern → type) are fixed.

    llama.cpp itself is asked, in a dry run, what it would quantize. Raises what `quantize` raises for the same file,
    BadInput for one that is quantized already, UsageError where `tensor_types` leave nothing to choose.
    """
    check_files(source, source.with_name(f"{source.name}-quantized"))
    order = Order(source, types.file_type("Q8_0"), quantize_plan.by_pattern(tensor_types), imatrix, 0)
    with Child(CHILD, f"looking into {source}") as child:
        send_values(child, order.values)
        plan = plan_types(child, order, source.with_name(f"{source.name}-quantized"))
    quantize_plan.check_floats(plan)
    header = read_header(source)
    touched = {name: t for name, t in plan.items() if t.target != t.source}
    decided = quantize_plan.deciding_patterns(plan, order.patterns)
    fixed = {name: plan[name].target for name in touched if name in decided}
    free: dict[str, list[PlannedTensor]] = {}
    for name, tensor in touched.items():
        if name in fixed:
            continue
        if KEPT.search(name) or tensor.shape[0] % 32:
            fixed[name] = KEPT_TYPE
        else:
            free.setdefault(group_name(name), []).append(tensor)
    if not touched:
        raise BadInput(f"{source} is quantized already; give the F16, BF16 or F32 file")
    if not free:
        raise UsageError(f"every tensor of {source} has a given type, which leaves none to choose; leave the size out")
    groups = tuple(group_of(name, tensors, order.values) for name, tensors in free.items())
    in_groups = {t.name for g in groups for t in g.tensors}
    sizes = [
        stored_bytes(plan[t.name], fixed[t.name]) if t.name in fixed else t.size_bytes
        for t in header.tensors
        if t.name not in in_groups
    ]
    rest_bytes = header_bytes(header, order.metadata) + sum(map(padded, sizes))
    return Layout(groups, fixed, rest_bytes, sum(sizes), header.parameters)


def group_name(tensor: str) -> str:
    """The two halves of a gated layer see the same inputs and are multiplied, so they go together."""
    return tensor.removesuffix(".weight").replace("ffn_up", "ffn_gate")


def group_of(name: str, tensors: list[PlannedTensor], values: Mapping[str, Floats]) -> TensorGroup:
    layer = LAYER.match(name)
    shapes = ",".join("x".join(map(str, t.shape)) for t in tensors)
    fitting = FOR_256 if all(t.shape[0] % 256 == 0 for t in tensors) else FOR_32
    covered = all(quantize_plan.has_values(t, values) for t in tensors)
    return TensorGroup(
        name=name,
        role=f"{LAYER.sub('', name)} {shapes}",
        layer=int(layer[1]) if layer else None,
        tensors=tuple(tensors),
        types=tuple(t for t in fitting if covered or not TENSOR_TYPES[t].needs_imatrix),
    )


def index_end(file: Path) -> int:
    with open(file, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = IndexReader(file, data)
        reader.read()
        return reader.at


def header_bytes(header: Header, metadata: Mapping[str, int | str]) -> int:
    """Of the file that quantizing writes: the source's header and the keys that the quantizer adds, or fewer bytes
    where the source has such a key already."""
    end = sum(map(index_end, header.files))
    added: dict[str, int | str] = {"general.quantization_version": 0, "general.file_type": 0, **metadata}
    for key, value in added.items():
        if key not in header.metadata:
            # A key is its length, its text and a kind; a text has a length too, a number four bytes.
            end += 8 + len(key) + 4 + (4 if isinstance(value, int) else 8 + len(value.encode()))
    return padded(end)
